"""What follows from a verdict, on the page: settled at once, passed over, taken back; and what cannot be, said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Read = Callable[[Path], list[tuple[str, str, str]]]


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "relations.csv").write_text(
        "class,relation,other\ndog,implies,animal\nday,excludes,night\ndog,implies,thing\n"
    )
    rows = [
        f"{image:02d}.png,{name},unknown"
        for image in range(12)
        for name in ("dog", "animal", "day", "night", "thing")
        if (image, name) != (2, "thing")
    ]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["image,class,state", *rows, "02.png,thing,absent"]) + "\n")
    return {"source": table, "relations": tmp_path / "relations.csv"}


def _note(window: Any, index: int) -> str:
    return str(window.tile(index).locator(".probability").inner_text())


def _settled(window: Any, index: int, state: str) -> None:
    window.page.wait_for_selector(f'#tile-{index}[data-state="{state}"]')


def test_what_follows_is_settled_at_once_and_taken_back(
    served: Any, visit: Any, photos: Path, options: dict[str, Path], verdicts_in: Read
) -> None:
    server = served(options["source"], photos, relations=options["relations"])
    window = visit(f"{server.url}#class=all", tolerate=("ERR_CONNECTION_REFUSED",))
    assert window.active() == 0
    window.keys("p")  # dog of the first picture
    _settled(window, 1, "implied")
    assert window.tile(1).get_attribute("data-verdict") is None
    assert window.tile(1).locator(".sign").inner_text() == "present"
    assert _note(window, 1) == "implied by dog"
    assert window.tile(1).get_attribute("aria-label") == "animal?, image 00.png, present, implied by dog"
    window.page.wait_for_selector('#scroller[aria-activedescendant="tile-2"]')  # what was settled is passed over
    window.page.wait_for_selector('#list-progress:has-text("1 of 58 judged, 2 implied")')
    window.keys("p")
    _settled(window, 3, "implied")
    assert window.tile(3).locator(".sign").inner_text() == "absent"
    window.page.wait_for_selector('#scroller[aria-activedescendant="tile-5"]')
    window.keys("ArrowLeft", "ArrowLeft")
    window.page.wait_for_selector('#question:has-text("night: absent, implied by day.")')
    window.saved()
    assert verdicts_in(server.journal) == [("00.png", "dog", "present"), ("00.png", "day", "present")]

    server.kill()
    again = served(options["source"], photos, relations=options["relations"])
    window = visit(f"{again.url}#class=all")
    window.page.click('#show [data-show="implied"]')
    _settled(window, 2, "implied")
    names = [window.tile(index).locator(".name").inner_text() for index in range(3)]
    assert names == ["animal", "night", "thing"]
    window.keys("i")
    window.page.wait_for_selector('.group-title:has-text("Implied (3)")')
    line = window.page.locator(".label", has_text="animal")
    assert line.locator(".label-facts").inner_text().split("\n") == ["present", "implied by dog"]


def test_undo_takes_back_what_followed(served: Any, visit: Any, photos: Path, options: dict[str, Path]) -> None:
    server = served(options["source"], photos, relations=options["relations"])
    window = visit(f"{server.url}#class=all")
    other = visit(f"{server.base}/?#class=all", like=window)
    window.keys("p")
    for page in (window, other):  # another window hears of it
        _settled(page, 1, "implied")
    window.keys("z")
    for page in (window, other):
        _settled(page, 1, "open")
    window.page.wait_for_selector('#list-progress:has-text("0 of 58 judged")')


def test_a_contradiction_is_said_at_once(
    served: Any, visit: Any, photos: Path, options: dict[str, Path], verdicts_in: Read
) -> None:
    server = served(options["source"], photos, relations=options["relations"])
    window = visit(f"{server.url}#class=all")
    window.keys("ArrowRight", "ArrowRight", "p")
    _settled(window, 3, "implied")
    window.tile(3).click()
    window.keys("p")  # night, though day is there
    window.page.wait_for_selector('#toast:has-text("night: present contradicts day: present.")')
    for index in (2, 3):
        _settled(window, index, "against")
    assert _note(window, 3) == "against day"
    window.page.wait_for_selector('#conflicts-button:has-text("2 contradictions")')
    window.page.click("#conflicts-button")
    window.page.wait_for_selector('#question.warn:has-text("contradicts")')
    window.tile(2).click()
    window.keys("a")
    for index in (2, 3):
        _settled(window, index, "saved")
    window.page.wait_for_selector("#conflicts-button", state="hidden")
    window.saved()
    assert verdicts_in(server.journal)[-1] == ("00.png", "day", "absent")
