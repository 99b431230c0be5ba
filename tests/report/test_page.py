"""The page as a reader's browser sees it."""

import re
import shutil
from html.parser import HTMLParser
from typing import Any

import pytest

from partlabel.errors import ImageError, LabelError
from partlabel.evaluation import evaluate
from partlabel.files import write_json
from partlabel.labels import LabelTable
from partlabel.report import write_report

pytestmark = pytest.mark.slow

VOID = {"meta", "img", "br", "link", "input", "hr"}
SECTIONS = ["overview", "curves", "classes", "calibration", "probabilities", "recovered", "errors", "maps"]


class Page(HTMLParser):
    """Text by section, all tags, and a check that tags are closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.section = ""
        self.text: dict[str, str] = {"": ""}
        self.rows: dict[str, list[list[str]]] = {}
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        self.section = dict(attrs).get("id") or self.section
        self.text[self.section] = self.text.get(self.section, "") + " "
        if tag == "tr":
            self.rows.setdefault(self.section, []).append([])
        if tag in {"td", "th"}:
            self.rows[self.section][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text[self.section] += data
        if {"td", "th"} & set(self.open):
            self.rows[self.section][-1][-1] += data

    def words(self, section: str) -> str:
        return " ".join(self.text[section].split())


def page_of(case: Any, **given: Any) -> Page:
    return Page(write_report(case.run, **{"images": case.images, **given}).read_text(encoding="utf-8"))


@pytest.fixture
def evaluation(case: Any) -> dict[str, Any]:
    from partlabel.api.evaluate import evaluate as judge_run

    judge_run(case.run, case.truth, images=case.images)
    written: dict[str, Any] = case.run.evaluation()
    return written


@pytest.fixture
def full(case: Any, evaluation: dict[str, Any]) -> Page:
    return page_of(case, evaluation=evaluation, suggestions=case.suggestions, truth=case.truth)


def test_every_section_is_there_and_none_is_left_out(full: Page) -> None:
    assert [attributes["id"] for tag, attributes in full.tags if tag == "section" and "id" in attributes] == SECTIONS
    assert not any("Left out" in text for text in full.text.values())
    alone = [attributes for tag, attributes in full.tags if tag in {"html", "title", "main", "h1"}]
    assert len(alone) == 4
    assert alone[0] == {"lang": "en"}
    links = [attributes["href"] for tag, attributes in full.tags if tag == "a"]
    assert links == [f"#{name}" for name in SECTIONS[1:]]


def test_the_page_needs_nothing_from_outside_and_runs_nothing(case: Any, full: Page) -> None:
    for tag, attributes in full.tags:
        assert tag not in {"script", "link", "iframe", "object", "base", "form"}
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert re.match(r"data:image/(jpeg|svg\+xml);base64,[A-Za-z0-9+/=]+$", attributes["src"] or "")
            assert attributes["alt"]
    source = (case.run.path / "report.html").read_text(encoding="utf-8")
    without_data = re.sub(r"data:image/[^\"]*", "", source)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|srcset", without_data)


def test_names_are_text_and_never_tags(case: Any, full: Page) -> None:
    red, green, _ = case.truth.classes
    for section in ("classes", "recovered"):
        assert red in full.text[section]
        assert green in full.text[section]
    assert not any(tag in {"script", "b", "i"} for tag, _ in full.tags)
    image = case.truth.images[4]
    rest = case.suggestions.image_index == 4
    assert rest.any()
    assert image in full.text["recovered"]
    assert image in [attributes.get("alt") for tag, attributes in full.tags if tag == "img"]


def test_same_run_same_bytes_and_no_other_file(case: Any) -> None:
    before = {path.name for path in case.run.path.iterdir()}
    first = write_report(case.run, images=case.images, suggestions=case.suggestions).read_bytes()
    assert write_report(case.run, images=case.images, suggestions=case.suggestions).read_bytes() == first
    assert {path.name for path in case.run.path.iterdir()} == before | {"report.html"}


def test_headline_says_what_the_numbers_stand_on(case: Any, full: Page, evaluation: dict[str, Any]) -> None:
    words = full.words("overview")
    held_out = case.run.info["held_out"]
    cells = held_out["present"] + held_out["absent"]
    signs = f"({held_out['present']} present, {held_out['absent']} absent)"
    stands_on = f"raw; {held_out['classes']} of 3 classes, {cells} known cells {signs}"
    assert f"mAP on held-out cells {100 * held_out['mAP']:.1f} % {stands_on}" in words
    assert f"mAP on test {100 * evaluation['mAP']['raw']:.1f} % raw; 3 of 3 classes, 96 known cells" in words
    counts = [int(part.sum()) for part in case.run.labels().counts_by_class()]
    assert f"32 images × 3 classes: {counts[0]} present, {counts[1]} absent, {counts[2]} unknown" in words
    assert "test_resnet, random weights" in words
    assert "trained once more on all known cells" in words
    assert f"torch {case.run.info['versions']['torch']}" in words
    assert ["lr", "0.01"] in full.rows["overview"]
    assert ["OF1", f"{100 * evaluation['OF1']:.1f}\xa0%"] in full.rows["overview"]


def test_table_of_classes_follows_the_test_and_else_the_held_out_cells(
    case: Any, full: Page, evaluation: dict[str, Any]
) -> None:
    counts = case.run.labels().counts_by_class()

    def expected(judged: list[tuple[float, int, int]]) -> list[list[str]]:
        order = sorted(range(3), key=lambda column: judged[column][0])
        return [
            [f"{100 * judged[c][0]:.1f}\xa0%", *map(str, judged[c][1:]), str(counts.present[c]), str(counts.absent[c])]
            for c in order
        ]

    by_test = [(entry["AP"]["raw"], entry["present"], entry["absent"]) for entry in evaluation["per_class"]]
    assert "that of the test" in full.words("classes")
    assert [row[1:6] for row in full.rows["classes"][1:]] == expected(by_test)
    assert full.rows["classes"][1][0].endswith(" (worst)")

    held_out = case.run.held_out(case.truth.classes)
    logits, states, columns = held_out.logits, held_out.states, held_out.class_index
    by_cells = []
    for column in range(3):
        mine = columns == column
        measured = evaluate(logits[mine][:, None], states[mine][:, None], ["one"])
        by_cells.append((float(measured.ranking.raw[0]), int((states[mine] > 0).sum()), int((states[mine] < 0).sum())))
    page = page_of(case)
    assert "that of the held-out cells" in page.words("classes")
    assert [row[1:6] for row in page.rows["classes"][1:]] == expected(by_cells)


def test_cells_of_the_test_are_counted_by_their_probability(case: Any, full: Page) -> None:
    rows = full.rows["probabilities"]
    assert rows[0] == ["probability", "present", "absent", "unknown"]
    present, absent, unknown = (int(part.sum()) for part in case.truth.counts_by_class())
    assert rows[-1] == ["all", str(present), str(absent), str(unknown)]
    assert "Cells of the test" in full.words("probabilities")


def test_recovered_labels_are_marked_by_the_truth(case: Any, full: Page) -> None:
    found = case.suggestions
    judged = case.truth.states_at(found.image_index, found.class_index).tolist()
    right, wrong = judged.count(1), judged.count(-1)
    assert f"{right} right, {wrong} wrong, 0 not annotated" in full.words("recovered")
    tiles = [attributes["class"] for tag, attributes in full.tags if tag == "figure" and "class" in attributes]
    assert {"tile right", "tile wrong"} <= set(tiles)
    assert "right" not in page_of(case, suggestions=case.suggestions).words("recovered")


def test_maps_stand_beside_the_backbone_and_are_marked_by_the_truth(case: Any, full: Page) -> None:
    assert "backbone alone, class-free" in full.words("maps")
    assert "● observed" in full.words("maps")
    assert "observed" not in page_of(case).words("maps")


def test_what_is_missing_is_said(case: Any) -> None:
    page = page_of(case, images=None)
    assert "Left out: no suggestions were given" in page.words("recovered")
    assert "Left out: no image folder was given." in page.words("errors")
    assert "Left out: no image folder was given." in page.words("maps")
    assert "Images left out" in page_of(case, images=None, suggestions=case.suggestions).words("recovered")


def test_a_run_that_just_began_has_a_report(case: Any) -> None:
    shutil.rmtree(case.run.model)
    (case.run.path / "held_out.parquet").unlink()
    (case.run.path / "log.csv").unlink()
    write_json(case.run.path / "run.json", {**case.run.info, "status": "training"})
    page = page_of(case)
    assert "not finished" in page.words("overview")
    assert "held-out cells" not in page.words("overview")
    assert "Left out: no epoch was logged." in page.words("curves")
    assert "no class has an average precision" in page.words("classes")
    for section in ("calibration", "errors"):
        assert "Left out: the run has no held-out cells." in page.words(section)
    assert "holds no model bundle" in page.words("maps")
    assert "Left out: no cells were counted" in page.words("probabilities")


def test_broken_images_become_grey_tiles(case: Any) -> None:
    for number, name in enumerate(case.truth.images):
        path = case.images / name
        if number % 2:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:60])
    page = page_of(case, suggestions=case.suggestions)
    tiles = [
        attributes["class"] for tag, attributes in page.tags if tag == "span" and attributes.get("class") == "broken"
    ]
    assert len(tiles) > 20
    assert not any((attributes.get("src") or "").startswith("data:image/jpeg") for tag, attributes in page.tags)


def test_wrong_folder_and_foreign_truth_are_errors(case: Any) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        write_report(case.run, images=case.images / "elsewhere")
    foreign = LabelTable.from_dense(["x.png"], case.truth.classes, [[1, 1, 1]])
    with pytest.raises(LabelError, match="no image of the completed table is in the truth"):
        write_report(case.run, images=case.images, suggestions=case.suggestions, truth=foreign)
    assert not (case.run.path / "report.html").exists()
