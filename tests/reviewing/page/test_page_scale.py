"""A hundred thousand suggestions: the first screen, scrolling through all of it, and what is left in memory."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

IMAGES, CLASSES, CELLS = 2_500, 40, 100_000

BLANK = """() => {
  const frame = document.getElementById('scroller').getBoundingClientRect();
  const tiles = [...document.querySelectorAll('.row:not([hidden]) .tile:not([hidden])')].filter((tile) => {
    const box = tile.getBoundingClientRect();
    return box.bottom > frame.top + 1 && box.top < frame.bottom - 1;
  });
  const whole = (tile) => tile.classList.contains('loaded') && ['open', 'saved'].includes(tile.dataset.state);
  const blank = tiles.filter((tile) => !whole(tile));
  const rows = [...new Set(tiles.map((tile) => tile.getBoundingClientRect().top))].sort((one, other) => one - other);
  const gap = tiles.length ? Math.max(rows[0] - frame.top, frame.bottom - rows.at(-1) - tiles[0].offsetHeight) : 9999;
  return { tiles: tiles.length, blank: blank.length, gap };
}"""

SCROLL = """(speed) => new Promise((resolve) => {
  const scroller = document.getElementById('scroller');
  const times = [];
  let last = performance.now();
  const step = (now) => {
    times.push(now - last);
    last = now;
    scroller.scrollTop += speed;
    if (times.length < 60) requestAnimationFrame(step);
    else resolve(times.sort((one, other) => one - other));
  };
  requestAnimationFrame(step);
})"""

MEMORY = """async () => {
  for (let turn = 0; turn < 3; turn += 1) {
    window.gc();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return [performance.memory.usedJSHeapSize / 2 ** 20, document.querySelectorAll('*').length];
}"""


@pytest.fixture
def many(tmp_path: Path) -> tuple[Path, Path]:
    """(100,000 suggestions, a folder of some thousands of small pictures)."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(IMAGES):
        Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(folder / f"{number:05d}.png")
    source = tmp_path / "suggestions.csv"
    with source.open("w", encoding="utf-8") as lines:
        lines.write("image,class,state,source,probability,logit,rule\n")
        for place in range(CELLS):
            image, name = place % IMAGES, place // IMAGES
            lines.write(f"{image:05d}.png,class {name},present,recovered,{1 - place / CELLS / 2:.6f},2,own\n")
    return source, folder


def _settled(page: Any) -> dict[str, float]:
    """What is on the screen, once no tile is blank; the last look if some stay blank for five seconds."""
    until = time.monotonic() + 5
    while True:
        seen: dict[str, float] = page.evaluate(BLANK)
        if (seen["tiles"] and not seen["blank"]) or time.monotonic() > until:
            return seen
        page.wait_for_timeout(50)


def test_a_hundred_thousand_suggestions(served: Any, visit: Any, many: tuple[Path, Path]) -> None:
    source, folder = many
    server = served(source, folder)
    window = visit(server.url)
    page = window.page
    page.goto(f"{server.base}/#queue=probability&class=all&show=open")
    began = time.monotonic()
    page.reload()
    window.ready()
    assert time.monotonic() - began < 20
    assert page.inner_text("#overall-text") == "0 / 100,000"
    height = page.evaluate("document.getElementById('scroller').scrollHeight")
    assert height > 1_000_000
    heap, nodes = page.evaluate(MEMORY)
    for part in np.random.default_rng(1).random(8):
        page.evaluate(f"document.getElementById('scroller').scrollTop = {int(part * height)}")
        seen = _settled(page)
        assert seen["blank"] == 0, seen
        assert seen["tiles"] >= 6
        assert seen["gap"] < 60, seen
    for speed in (40, 900, -4000):  # slower and faster than pictures can come
        frames = page.evaluate(SCROLL, speed)
        seen = _settled(page)
        assert seen["blank"] == 0, (speed, seen)
        assert frames[30] < 250, frames  # 17 ms on a free machine; half of them in a quarter of a second on any
    window.keys("End")
    assert _settled(page)["blank"] == 0
    assert window.active() == CELLS - 1
    window.keys("p", "Home")
    window.saved()
    assert _settled(page)["blank"] == 0
    heap_after, nodes_after = page.evaluate(MEMORY)
    print(f"heap {heap:.1f} -> {heap_after:.1f} MB, nodes {nodes} -> {nodes_after}, frame {frames[30]:.1f} ms")
    assert nodes_after < 4000
    assert heap_after < heap + 20
