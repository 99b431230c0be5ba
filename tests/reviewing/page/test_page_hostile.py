"""Names that would like to be more than names."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

CLASSES = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "quo\"te' & <b>bold</b>",
    "\u202eevil\u202d turned",
    "שקיעה",
    "long " + "n" * 300,
    "${alert(3)} {{4}} javascript:alert(5)",
    "https://example.org/a?b=c#d",
    "a&amp;b\u2066c",
]
IMAGES = [
    "100%.png",
    "a#b.png",
    "who?.png",
    "with space.png",
    "%3Cscript%3E.png",
    "<svg onload=alert(6)>.png",
    "שמש.png",
]
HEADER = "image,class,state,source,probability,logit,rule"


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[Path, Path]:
    """(suggestions of every class for every image, the folder of images)."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for place, name in enumerate(IMAGES):
        Image.fromarray(np.full((40, 60, 3), 20 + 30 * place, np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    source = tmp_path / "suggestions.csv"
    lines = [
        ",".join([_quoted(image), _quoted(name), "present", "recovered", "0.9", "2", "own"])
        for image in [*IMAGES, "broken.png"]
        for name in CLASSES
    ]
    source.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return source, folder


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def test_hostile_names_stay_names(served: Any, visit: Any, hostile: tuple[Path, Path]) -> None:
    source, folder = hostile
    server = served(source, folder)
    wide = visit(server.url)
    names = wide.page.locator(".class-line:visible .name").all_inner_texts()
    assert names[1:] == CLASSES
    for name in CLASSES:
        wide.page.wait_for_selector(".tile.active.loaded")
        assert wide.page.locator("#question .name").first.get_attribute("title") == name
        wide.keys("p")
        wide.saved()
        wide.keys("n")
        wide.page.wait_for_timeout(50)
    narrow = visit(server.base, like=wide, viewport={"width": 360, "height": 740})
    for window, width in ((wide, 1280), (narrow, 360)):
        _look_around(window, width)


def _look_around(window: Any, width: int) -> None:
    page = window.page
    assert page.locator("main script, main img[src=x]").count() == 0
    window.keys("i")
    page.wait_for_selector(".stage.loaded .big")
    assert page.inner_text(".single-name") in [*IMAGES, "broken.png"]
    assert sorted(page.locator(".label .name").all_inner_texts()) == sorted(CLASSES)
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    window.keys("g")
    page.goto(page.url.split("#")[0] + "#queue=probability&class=all&show=all")
    page.reload()
    window.ready()
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    isolated = page.evaluate("[...document.querySelectorAll('.name')].map(n => getComputedStyle(n).unicodeBidi)")
    assert set(isolated) == {"isolate"}
