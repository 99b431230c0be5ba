"""From verdicts to labels: what is added, what is left, what contradicts, and what is never overwritten."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from partlabel import LabelTable, Source, read_table, reviewed
from partlabel.api.review import _export_command
from partlabel.errors import LabelError, UsageError
from partlabel.progress import SILENT
from partlabel.reviewing.journal import Journal
from partlabel.reviewing.queues import asked_of
from partlabel.reviewing.source import open_subject
from partlabel.reviewing.verdicts import Decision, Verdicts

TABLE = "image,class,state\n00.png,sea,present\n01.png,boat,absent\nother.png,sea,absent\nother.png,hill,present\n"


@pytest.fixture
def table(suggestions: Path) -> Path:
    path = suggestions.with_name("table.csv")
    path.write_text(TABLE)
    return path


@contextmanager
def reviewing(source: Path, table: Path | None = None, images: Path = Path()) -> Iterator[Verdicts]:
    subject, _ = open_subject(source, table, images, SILENT, {})
    with Journal(Path(f"{source}.verdicts.jsonl"), subject) as journal:
        yield Verdicts(subject, asked_of(subject, learns=False), journal)


def decide(verdicts: Verdicts, given: dict[tuple[str, str], str]) -> None:
    cells = {verdicts.subject.cell(*names): verdict for names, verdict in given.items()}
    verdicts.decide("tab", "Ann", [Decision(cell, verdict) for cell, verdict in cells.items() if cell is not None])


def states(table: LabelTable) -> dict[tuple[str, str], tuple[int, int]]:
    cells = table.cells()
    return {
        (table.images[row], table.classes[column]): (state, source)
        for row, column, state, source in zip(*(part.tolist() for part in cells), strict=True)
    }


def test_verdicts_alone(suggestions: Path) -> None:
    with reviewing(suggestions) as verdicts:
        decide(verdicts, {("00.png", "sea"): "present", ("01.png", "sky"): "absent", ("02.png", "sky"): "unsure"})
        decide(verdicts, {("03.png", "sea"): "present"})
        decide(verdicts, {("03.png", "sea"): "none", ("01.png", "sky"): "present"})
    out = suggestions.with_name("out.csv")
    found = reviewed(suggestions, out=out)
    assert states(found.table) == {
        ("00.png", "sea"): (1, Source.REVIEW),
        ("01.png", "sky"): (1, Source.REVIEW),
        ("02.png", "sky"): (0, Source.UNSURE),
    }
    assert states(read_table(out).table) == states(found.table)
    assert list(found.lines()) == [
        "sea: +1 present, +0 absent ('00.png')",
        "sky: +1 present, +0 absent ('01.png')",
        "in all: +2 present, +0 absent in 2 classes",
        "1 cell unsure: known ones stay so, the others are not asked again",
    ]


def test_verdicts_on_a_table(suggestions: Path, table: Path) -> None:
    with reviewing(suggestions, table) as verdicts:
        given = {("00.png", "boat"): "absent", ("02.png", "sea"): "present", ("00.png", "sea"): "present"}
        decide(verdicts, given | {("01.png", "boat"): "unsure"})
    found = reviewed(suggestions, table=table)
    assert states(found.table) == {
        ("00.png", "sea"): (1, Source.IMPORT),  # known before, and a person agrees
        ("00.png", "boat"): (-1, Source.REVIEW),
        ("01.png", "boat"): (-1, Source.IMPORT),  # unsure: as it was
        ("02.png", "sea"): (1, Source.REVIEW),
        ("other.png", "sea"): (-1, Source.IMPORT),
        ("other.png", "hill"): (1, Source.IMPORT),
    }
    assert table.read_text() == TABLE


def test_a_contradiction_is_refused_until_somebody_decides(suggestions: Path, table: Path) -> None:
    with reviewing(suggestions, table) as verdicts:
        decide(verdicts, {("01.png", "boat"): "present", ("00.png", "boat"): "present"})
    out = suggestions.with_name("out.csv")
    with pytest.raises(LabelError, match=r"'boat' of '01\.png' \(known absent, verdict present\).*--prefer review"):
        reviewed(suggestions, table=table, out=out)
    assert not out.exists()
    ours = reviewed(suggestions, table=table, prefer="review")
    assert states(ours.table)["01.png", "boat"] == (1, Source.REVIEW)
    assert [(one.present, one.absent, one.changed) for one in ours.changes] == [(2, 0, 1)]
    assert "contradicted: class 'boat' of '01.png'" in list(ours.lines())
    theirs = reviewed(suggestions, table=table, prefer="table")
    assert states(theirs.table)["01.png", "boat"] == (-1, Source.IMPORT)
    assert [(one.present, one.absent, one.changed) for one in theirs.changes] == [(1, 0, 0)]


def test_a_table_as_source_is_completed(table: Path) -> None:
    with reviewing(table) as verdicts:
        decide(verdicts, {("00.png", "hill"): "absent"})
    found = reviewed(table)
    assert states(found.table)["00.png", "hill"] == (-1, Source.REVIEW)
    assert len(states(found.table)) == 5


def test_labels_from_nothing(tmp_path: Path, photos: Path) -> None:
    source = tmp_path / "classes.txt"
    source.write_text("sky\nsea\n")
    with reviewing(source, images=photos) as verdicts:
        decide(verdicts, {("03.png", "sky"): "present", ("03.png", "sea"): "absent"})
    found = reviewed(source, images=photos, out=tmp_path / "out.parquet")
    assert found.table.shape == (12, 2)
    assert states(read_table(tmp_path / "out.parquet").table) == {
        ("03.png", "sky"): (1, Source.REVIEW),
        ("03.png", "sea"): (-1, Source.REVIEW),
    }


def test_inputs_are_never_overwritten(suggestions: Path, table: Path) -> None:
    with reviewing(suggestions, table) as verdicts:
        decide(verdicts, {("00.png", "boat"): "present"})
    Path(f"{suggestions}.json").write_text("{}")
    for path in (suggestions, table, Path(f"{suggestions}.verdicts.jsonl"), Path(f"{suggestions}.json")):
        before = path.read_bytes()
        with pytest.raises(UsageError, match="overwritten"):
            reviewed(suggestions, table=table, out=path)
        assert path.read_bytes() == before


def test_what_cannot_be_exported_says_why(suggestions: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="cannot be read"):
        reviewed(suggestions)
    with reviewing(suggestions) as verdicts:
        decide(verdicts, {("00.png", "sea"): "present"})
        decide(verdicts, {("00.png", "sea"): "none"})
    with pytest.raises(LabelError, match="holds no verdict"):
        reviewed(suggestions)
    with pytest.raises(UsageError, match="prefer 'both'"):
        reviewed(suggestions, prefer="both")  # type: ignore[arg-type]
    other = tmp_path / "other.csv"
    other.write_text("image,class,probability\nx.png,sea,0.5\n")
    with pytest.raises(LabelError, match="other images or classes"):
        reviewed(other, journal=f"{suggestions}.verdicts.jsonl")


def test_a_journal_can_be_exported_while_a_server_writes_it(suggestions: Path) -> None:
    with reviewing(suggestions) as verdicts:
        decide(verdicts, {("00.png", "sea"): "present"})
        journal = Path(f"{suggestions}.verdicts.jsonl")
        with journal.open("ab") as file:
            file.write(b'{"n":2,"image":"00')  # as it looks for a moment
        assert len(states(reviewed(suggestions).table)) == 1
        assert journal.read_bytes().endswith(b"00")


def test_an_earlier_export_is_replaced_and_said(suggestions: Path, table: Path) -> None:
    out = suggestions.with_name("out.csv")
    with reviewing(suggestions) as verdicts:
        decide(verdicts, {("00.png", "sea"): "present", ("01.png", "sky"): "absent"})
        assert reviewed(suggestions, out=out).replaced is None
        decide(verdicts, {("02.png", "sky"): "present"})
        again = reviewed(suggestions, out=out)
        assert (
            list(again.lines())[-1]
            == f"{out} was an earlier export of this journal with 2 labels, all of them here again"
        )
        decide(verdicts, {("01.png", "sky"): "present", ("00.png", "sea"): "none"})
    changed = reviewed(suggestions, out=out, table=table)
    assert (changed.replaced or "").endswith("with 3 labels, 1 of them other or gone now")  # the table knows 00.png
    assert states(read_table(out).table) == states(changed.table)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.jsonl"])
def test_what_somebody_else_made_or_edited_stays(suggestions: Path, name: str) -> None:
    with reviewing(suggestions) as verdicts:
        decide(verdicts, {("00.png", "sea"): "present"})
    out, beside = suggestions.with_name(name), suggestions.with_name(f"{name}.json")
    out.write_bytes(b"my own labels")
    with pytest.raises(UsageError, match="somebody's work; give another file"):
        reviewed(suggestions, out=out)
    assert out.read_bytes() == b"my own labels"
    out.unlink()
    beside.write_text('{"kind": "promise"}')
    with pytest.raises(UsageError, match=rf"{name}\.json exists and is not of an export"):
        reviewed(suggestions, out=out)
    assert beside.read_text() == '{"kind": "promise"}'
    beside.unlink()
    reviewed(suggestions, out=out)
    assert (reviewed(suggestions, out=out).replaced or "").endswith("with 1 label, all of them here again")
    written = out.read_bytes()
    out.write_bytes(written + b"\n")
    with pytest.raises(UsageError, match="somebody's work"):
        reviewed(suggestions, out=out)
    out.write_bytes(written)
    Path(f"{suggestions}.verdicts.jsonl").rename(suggestions.with_name("other.jsonl"))
    with pytest.raises(UsageError, match=r"export of another journal, .*verdicts\.jsonl"):
        reviewed(suggestions, out=out, journal=suggestions.with_name("other.jsonl"))
    assert out.read_bytes() == written


def test_verdicts_are_exported_where_no_suggestion_is_left(suggestions: Path, table: Path) -> None:
    with reviewing(suggestions, table) as verdicts:
        decide(verdicts, {("00.png", "boat"): "present"})
    suggestions.write_text(suggestions.read_text().splitlines()[0] + "\n")  # recover was run again
    assert states(reviewed(suggestions, table=table).table)["00.png", "boat"] == (1, Source.REVIEW)


@pytest.mark.parametrize(
    ("table", "name"), [("tags.csv", "reviewed.csv"), ("reviewed.csv", "reviewed-2.csv"), (None, "reviewed.csv")]
)
def test_the_command_that_is_printed_exports_to_none_of_its_inputs(table: str | None, name: str) -> None:
    said = _export_command("next.csv", None, table, Path("next.csv.verdicts.jsonl"), {})
    assert said.endswith(f"--export {name}")
