"""Judging with the keyboard, in a real browser; what counts is what stands in the journal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Read = Callable[[Path], list[tuple[str, str, str]]]
HEADER = "image,class,state,source,probability,logit,rule"


def _order(suggestions: Path, name: str) -> list[str]:
    """Image names of a class, most probable first, as they stand in the file."""
    lines = [line.split(",") for line in suggestions.read_text().splitlines()[1:]]
    return [image for image, found, *_ in lines if found == name]


def test_keys_write_verdicts_and_move_on(
    served: Any, visit: Any, suggestions: Path, photos: Path, verdicts_in: Read
) -> None:
    server = served(suggestions, photos)
    window = visit(server.url)
    images = _order(suggestions, "sea")
    assert "sea" in window.page.text_content("#question")
    assert window.tile(0).get_attribute("aria-label") == f"sea? 99.0 %, image {images[0]}, not judged"
    window.keys("p", "a", "u", "s", "Enter", "2", "3", "Space")
    window.saved()
    expected = list(zip(images[:3], ["present", "absent", "unsure"], strict=True))
    expected += list(zip(images[4:7], ["present", "absent", "unsure"], strict=True))
    assert verdicts_in(server.journal) == [(image, "sea", verdict) for image, verdict in expected]
    assert [window.tile(index).get_attribute("data-verdict") for index in range(4)] == [
        "present",
        "absent",
        "unsure",
        None,
    ]
    assert window.tile(0).inner_text().splitlines()[0] == "present"  # not by colour alone
    assert "6 of 8 judged" in window.page.inner_text("#list-progress")

    window.keys("z", "Control+z")
    window.saved()
    assert [verdict for *_, verdict in verdicts_in(server.journal)[6:]] == ["none", "none"]
    assert window.active() == 5
    assert "4 of 8 judged" in window.page.inner_text("#list-progress")


def test_undo_goes_on_after_a_reload(
    served: Any, visit: Any, suggestions: Path, photos: Path, verdicts_in: Read
) -> None:
    server = served(suggestions, photos)
    window = visit(server.url)
    window.keys("p", "ArrowLeft", "a", "Shift+ArrowRight", "u")
    window.saved()
    window.page.reload()
    window.ready()
    window.keys("z")
    window.page.wait_for_selector('#toast:has-text("Undone: 2 verdicts")')
    window.saved()
    assert "1 of 8 judged" in window.page.inner_text("#list-progress")
    window.page.reload()  # what was taken back is not given again
    window.ready()
    window.keys("z", "z", "z")
    window.saved()
    assert "0 of 8 judged" in window.page.inner_text("#list-progress")
    assert "Nothing to undo" in window.page.text_content("#toast")
    first = _order(suggestions, "sea")[0]
    assert [verdict for image, _, verdict in verdicts_in(server.journal) if image == first] == [
        "present", "absent", "present", "none",
    ]  # fmt: skip
    window.keys("p")
    window.saved()
    other = visit(server.base, like=window)
    other.keys("z")  # of another browser, to which this window's verdict is not its own
    other.page.wait_for_selector('#toast:has-text("Nothing to undo")')


def test_a_range_is_one_verdict_and_one_undo(
    served: Any, visit: Any, suggestions: Path, photos: Path, verdicts_in: Read
) -> None:
    server = served(suggestions, photos)
    window = visit(server.url)
    window.keys("ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight")
    assert window.page.locator(".tile.chosen:visible").count() == 3
    window.page.wait_for_selector('#question:has-text("these 3 pictures")')
    window.keys("a")
    window.saved()
    images = _order(suggestions, "sea")
    assert verdicts_in(server.journal) == [(image, "sea", "absent") for image in images[1:4]]
    assert window.active() == 4
    window.tile(7).click(modifiers=["Shift"])
    window.keys("p")
    window.saved()
    assert verdicts_in(server.journal)[3:] == [(image, "sea", "present") for image in images[4:8]]
    window.keys("z")
    window.saved()
    assert sorted(verdicts_in(server.journal)[7:]) == sorted((image, "sea", "none") for image in images[4:8])
    assert window.page.locator(".tile[data-verdict]:visible").count() == 3


def test_all_on_the_screen_but_the_marked_ones(
    served: Any, visit: Any, suggestions: Path, photos: Path, verdicts_in: Read
) -> None:
    server = served(suggestions, photos)
    window = visit(server.url)
    window.keys("u", "x", "ArrowRight", "ArrowRight", "x")
    assert window.page.locator(".tile.marked:visible").count() == 2
    window.page.wait_for_selector('.allSeen:has-text("5 present, 2 not")')
    window.keys("Shift+Enter")
    window.saved()
    given = {image: verdict for image, _, verdict in verdicts_in(server.journal)}
    images = _order(suggestions, "sea")
    wanted = ["unsure", "absent", "present", "absent", "present", "present", "present", "present"]
    assert given == dict(zip(images, wanted, strict=True))
    assert "All of sea judged" in window.page.text_content("#toast")
    window.keys("z")
    window.saved()
    assert window.page.locator(".tile[data-verdict]:visible").count() == 1


def test_where_nothing_is_suggested_not_all_can_be_right(
    served: Any, visit: Any, tmp_path: Path, photos: Path, verdicts_in: Read
) -> None:
    (tmp_path / "classes.txt").write_text("sky\nsea\n")
    server = served(tmp_path / "classes.txt", photos)
    window = visit(server.url)
    assert window.page.locator('#bar [data-action="allSeen"]').is_disabled()
    window.keys("x", "Shift+Enter")
    window.page.wait_for_selector('#toast:has-text("Nothing is suggested here")')
    window.keys("p")
    window.saved()
    assert len(verdicts_in(server.journal)) == 1


def test_suggestions_of_absence_ask_for_absence(
    served: Any, visit: Any, tmp_path: Path, photos: Path, verdicts_in: Read
) -> None:
    source = tmp_path / "absences.csv"
    lines = [f"{image:02d}.png,boat,absent,recovered,0.9{image + 3},-3,own" for image in range(4)]
    source.write_text("\n".join([HEADER, *lines]) + "\n")
    server = served(source, photos)
    window = visit(server.url)
    assert window.page.text_content("#question").startswith("Is boat absent from the picture?")
    assert "boat absent? 4.0 % present" in window.tile(0).get_attribute("aria-label")
    assert "absent?" in window.tile(0).inner_text()
    window.keys("ArrowRight", "x", "Shift+Enter")
    window.saved()
    assert sorted(verdict for *_, verdict in verdicts_in(server.journal)) == ["absent"] * 3 + ["present"]


def test_a_single_image_with_all_its_labels(
    served: Any, visit: Any, suggestions: Path, photos: Path, verdicts_in: Read
) -> None:
    server = served(suggestions, photos)
    window = visit(server.url)
    page, images = window.page, _order(suggestions, "sea")
    window.keys("i")
    page.wait_for_selector(".stage.loaded .big")
    assert page.inner_text(".single-name") == images[0]
    assert page.locator(".label-group").first.inner_text().startswith("Suggested (2)")
    window.keys("p", "a")
    window.saved()
    assert {verdict for *_, verdict in verdicts_in(server.journal)} == {"present", "absent"}
    assert {image for image, *_ in verdicts_in(server.journal)} == {images[0]}
    window.keys("/")
    shown = {label.strip() for label in page.locator(".label .name").all_inner_texts()}
    missing = ({"sky", "sea", "boat"} - {name for _, name, _ in verdicts_in(server.journal)}).pop()
    assert missing in shown
    window.keys("Enter")  # nothing is sought, so that nothing is judged
    assert len(verdicts_in(server.journal)) == 2
    window.keys("/")
    page.keyboard.type(missing)
    window.keys("Enter")  # at once, before the list follows
    window.saved()
    assert verdicts_in(server.journal)[-1] == (images[0], missing, "present")
    window.keys("Escape", "ArrowRight")
    page.wait_for_selector(f'.single-name:has-text("{images[1]}")')
    window.keys("g")
    assert window.active() == 1


def test_classes_filters_search_and_the_end_of_a_class(
    served: Any, visit: Any, suggestions: Path, photos: Path, verdicts_in: Read
) -> None:
    server = served(suggestions, photos)
    window = visit(server.url)
    page = window.page
    window.keys("Shift+End", "p")
    window.saved()
    assert page.locator(".tile:visible").count() == 8  # what is judged stays where it is
    window.keys("r")
    page.wait_for_selector(".state-title")
    assert page.inner_text(".state-title") == "All 8 for sea are judged"
    assert "done" in page.inner_text("#class-0")
    window.keys("n")
    page.wait_for_selector('#question:has-text("boat")')
    window.keys("b")
    page.wait_for_selector('#question:has-text("sky")')
    window.ready()
    window.keys("/")
    page.keyboard.type("01.")
    page.wait_for_selector('#scroller[aria-rowcount="1"]')
    assert page.locator(".tile:visible").count() == 1
    window.keys("Enter", "a")
    window.saved()
    assert verdicts_in(server.journal)[-1] == ("01.png", "sky", "absent")
    page.click('#show [data-show="absent"]')
    page.wait_for_selector('.tile[data-verdict="absent"]')
    assert "class=2" in page.url
    page.reload()
    page.wait_for_selector('.tile[data-verdict="absent"]')


def test_every_action_has_a_button_and_help_lists_the_keys(
    served: Any, visit: Any, suggestions: Path, photos: Path, verdicts_in: Read
) -> None:
    server = served(suggestions, photos)
    window = visit(server.url)
    page = window.page
    for action in ("present", "absent", "unsure", "skip", "mark", "undo"):
        page.click(f'#bar [data-action="{action}"]')
    window.tile(6).hover()
    window.tile(6).locator('[data-verdict="absent"]').click()
    window.saved()
    assert [verdict for *_, verdict in verdicts_in(server.journal)] == ["present", "absent", "unsure", "none", "absent"]
    before = window.tile(0).bounding_box()["width"]
    window.keys("+")
    assert window.tile(0).bounding_box()["width"] > before
    window.keys("?")
    page.wait_for_selector("#help[open]")
    assert {"p", "a", "u", "x", "z", "Shift Enter"} <= set(page.locator("#help kbd").all_inner_texts())
    page.click("#link button")
    page.wait_for_selector("#link input:visible")
    other = visit(page.input_value("#link input"))
    assert "sea" in other.page.text_content("#question")
    window.keys("p", "Escape")
    assert not page.is_visible("#help")
    assert len(verdicts_in(server.journal)) == 5
