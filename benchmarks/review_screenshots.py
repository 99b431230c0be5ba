"""Two pictures of the page of `partlabel review`: the grid, and one image with its labels.

    python benchmarks/review_screenshots.py docs/images
    python benchmarks/review_screenshots.py docs/images --source suggestions.csv --images photos --table tags.csv

Without --source, scenes of handwritten digits are composed, and a third of their labels is suggested with probabilities
that are drawn, not learnt: true labels tend to have high ones. Needs playwright and chromium or google-chrome.
"""

import argparse
import csv
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from partlabel.datasets.digit_scenes import CLASSES, write_scenes

LARGEST = 300_000
HEADER = ("image", "class", "state", "source", "probability", "logit", "rule")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for review-grid.png and review-image.png")
    parser.add_argument("--source", type=Path, help="file of suggestions; by default scenes of digits are composed")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source, images, table = (given.source, given.images, given.table) if given.source else compose(folder)
        words = [str(source), "--images", str(images), "--journal", str(folder / "verdicts.jsonl"), "--no-open"]
        with serving(words + (["--table", str(table)] if table else [])) as address, page(given.dark) as window:
            window.goto(address)
            given.out.mkdir(parents=True, exist_ok=True)
            grid(window, given.out / "review-grid.png")
            single(window, given.out / "review-image.png")


def compose(folder: Path) -> tuple[Path, Path, Path]:
    """(suggestions, images, what is known) of 400 scenes of digits."""
    scenes = write_scenes(folder, train=400, test=0, size=128)
    random = np.random.default_rng(0)
    truth = scenes.train
    states = truth.dense()
    known, suggested = [], []
    for row, image in enumerate(truth.images):
        for column, name in enumerate(CLASSES):
            present, draw = states[row, column] == 1, random.random()
            if draw < 0.3:
                known.append((image, name, "present" if present else "absent"))
            elif present or draw > 0.985:
                probability = random.beta(9, 1.2) if present else random.beta(4, 2)
                suggested.append((image, name, "present", "recovered", f"{probability:.4f}", "", "own"))
    suggested.sort(key=lambda line: -float(line[4]))
    write(folder / "digits.csv", [HEADER, *suggested])
    write(folder / "known.csv", [("image", "class", "state"), *known])
    return folder / "digits.csv", scenes.images, folder / "known.csv"


def write(path: Path, lines: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(lines)


@contextmanager
def serving(words: list[str]) -> Iterator[str]:
    """Its address."""
    command = [sys.executable, "-m", "partlabel", "review", *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def page(dark: bool) -> Iterator[Any]:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        yield chromium.new_page(
            viewport={"width": 1280, "height": 820}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
        )
        chromium.close()


def grid(window: Any, path: Path) -> None:
    """A screen half judged, with an exception marked and a range chosen."""
    window.wait_for_selector(".tile.active.loaded")
    window.keyboard.press("-")
    for key in ("p", "p", "a", "p", "u", "p", "ArrowRight", "x", "ArrowDown"):
        window.keyboard.press(key)
    window.keyboard.press("Shift+ArrowRight")
    window.keyboard.press("Shift+ArrowRight")
    window.wait_for_selector('#save-state[data-state="saved"]')
    window.wait_for_timeout(500)
    save(window, path)


def single(window: Any, path: Path) -> None:
    for key in ("Escape", "Escape", "i"):
        window.keyboard.press(key)
    for _ in range(40):  # an image with several suggestions
        window.wait_for_selector(".single-view:has(.stage.loaded) .label")
        if window.locator('.label-group[aria-label="Suggested"] .label').count() >= 3:
            break
        window.keyboard.press("ArrowRight")
        window.wait_for_timeout(150)
    window.keyboard.press("p")
    window.wait_for_selector('#save-state[data-state="saved"]')
    window.evaluate("document.getElementById('toast').hidden = true")
    window.wait_for_timeout(300)
    save(window, path)


def save(window: Any, path: Path) -> None:
    """As a PNG below 300 kB: with fewer colours, if that is what it takes."""
    content = window.screenshot()
    if len(content) > LARGEST:
        stream = io.BytesIO()
        drawn = Image.open(io.BytesIO(content)).convert("RGB").quantize(255, dither=Image.Dither.FLOYDSTEINBERG)
        drawn.save(stream, "PNG", optimize=True)
        content = stream.getvalue()
    path.write_bytes(content)
    print(f"{path}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
