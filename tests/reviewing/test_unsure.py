"""A cell that nobody could decide stays apart from those nobody looked at: not learned, not asked again, listed."""

from pathlib import Path

import numpy as np

import partlabel
from partlabel.inspection.page import page
from partlabel.labels import LabelTable, Source, State
from partlabel.masking import hide
from partlabel.merging import merge
from partlabel.progress import SILENT
from partlabel.recovery.calibrate import Calibration
from partlabel.recovery.suggest import suggest
from partlabel.recovery.thresholds import ClassThreshold, PrecisionThresholds
from partlabel.reviewing.queues import Wanted, asked_of
from partlabel.reviewing.source import open_subject
from partlabel.runs.holdout import known_cells


def unsure_table() -> LabelTable:
    """Of a.jpg nobody can tell cat, of b.jpg nobody has looked."""
    return LabelTable.from_cells(
        ["a.jpg", "b.jpg"], ["cat", "dog"], [0, 0], [0, 1], [0, 1], [Source.UNSURE, Source.IMPORT]
    )


def test_in_and_out_of_files(tmp_path: Path) -> None:
    for name, format in (("t.csv", "long"), ("t.parquet", "long"), ("u.csv", "tag_lists"), ("u.jsonl", "tag_lists")):
        partlabel.write_table(unsure_table(), tmp_path / name, format=format)
        again = partlabel.read_table(tmp_path / name).table
        assert again.unsure == 1
        assert again.sources.tolist() == unsure_table().sources.tolist()
    assert partlabel.convert(tmp_path / "t.csv", tmp_path / "t.jsonl").notes == ()


def test_look_lists_it(tmp_path: Path) -> None:
    partlabel.write_table(unsure_table(), tmp_path / "t.csv")
    assert "1 unknown cell unsure: somebody was asked and could not decide" in page(partlabel.look(tmp_path / "t.csv"))


def test_it_is_not_known(tmp_path: Path) -> None:
    table = unsure_table()
    assert known_cells(table).states.tolist() == [1]
    assert table.counts_by_class().unknown.tolist() == [2, 1]
    hidden = hide(table, "known_ratio", ratio=0.0).table
    assert (hidden.states.tolist(), hidden.unsure) == ([0], 1)


def test_it_is_not_asked_again(tmp_path: Path) -> None:
    table = unsure_table()
    (tmp_path / "a.jpg").touch()
    subject, _ = open_subject(table, None, tmp_path, SILENT, {})
    asked = asked_of(subject, learns=False)
    assert asked.page(Wanted("images"), 0, 10).cells.tolist() == [2, 3]
    assert asked.cells_by_class.tolist() == [1, 1]
    lines = "image,class,state,source,probability,logit,rule\n"
    lines += "a.jpg,cat,present,recovered,0.9,2.2,promise\nb.jpg,cat,present,recovered,0.8,1.4,promise\n"
    (tmp_path / "s.csv").write_text(lines)
    subject, _ = open_subject(tmp_path / "s.csv", table, tmp_path, SILENT, {})
    assert subject.listed is not None
    assert subject.listed.cells.tolist() == [2]


def test_it_is_not_suggested() -> None:
    logits = np.full((2, 2), 9.0)
    of_class = [ClassThreshold(name, "own", 60, 600, 0.5, 40, 39, 0.97, 0.9) for name in ("cat", "dog")]
    thresholds = PrecisionThresholds(0.95, 10, 50, tuple(of_class))
    calibration = Calibration(("cat", "dog"), np.zeros(2), np.ones(2))
    found = suggest(unsure_table(), [(np.arange(2), logits)], calibration, thresholds)
    assert [(one[0], one[1]) for one in found] == [("b.jpg", "cat"), ("b.jpg", "dog")]


def test_merging_keeps_it_until_somebody_knows() -> None:
    empty = LabelTable.from_cells(["a.jpg"], ["cat"], [], [], [])
    known = LabelTable.from_cells(["a.jpg"], ["cat"], [0], [0], [-1], Source.HUMAN)
    for one, other in ((unsure_table(), empty), (empty, unsure_table())):
        merged, _ = merge(one, other)
        assert merged.unsure == 1
    for one, other in ((unsure_table(), known), (known, unsure_table())):
        merged, conflicts = merge(one, other)
        assert (merged.unsure, conflicts) == (0, [])
        assert merged.states_at([0], [merged.class_positions["cat"]]) == [State.ABSENT]
