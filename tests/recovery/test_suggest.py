import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partlabel.errors import LabelError, NotFiniteError, StorageError
from partlabel.formats import read_table
from partlabel.labels import LabelTable, Source, State
from partlabel.merging import merge
from partlabel.recovery.calibrate import Calibration, fit_calibration
from partlabel.recovery.suggest import Suggestions, suggest
from partlabel.recovery.thresholds import ClassThreshold, PrecisionThresholds, Rule, fit_thresholds

from .conftest import Scored


def thresholds_of(**limits: float | None) -> PrecisionThresholds:
    def entry(name: str, limit: float | None, rule: Rule = "own") -> ClassThreshold:
        return ClassThreshold(name, rule, 60, 600, limit, 40, 39, 0.97, 0.9)

    return PrecisionThresholds(0.95, 10, 50, tuple(entry(name, limit) for name, limit in limits.items()))


def plain(*classes: str) -> Calibration:
    return Calibration(classes, np.zeros(len(classes)), np.ones(len(classes)))


def in_chunks(logits: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(logits), size):
        rows = np.arange(start, min(start + size, len(logits)))
        yield rows, logits[rows]


def recovered(scored: Scored, chunk: int = 64) -> Suggestions:
    rows, columns = np.nonzero(scored.table.dense())
    held_out = (rows + columns) % 2 == 0
    rows, columns = rows[held_out], columns[held_out]
    cells = scored.logits[rows, columns], scored.truth.states_at(rows, columns), columns
    calibration, thresholds = (
        fit_calibration(*cells, scored.table.classes),
        fit_thresholds(*cells, scored.table.classes),
    )
    return suggest(scored.table, in_chunks(scored.logits, chunk), calibration, thresholds)


STATES = st.lists(st.lists(st.sampled_from([-1, 0, 1]), min_size=3, max_size=3), min_size=1, max_size=8)


@given(STATES, st.integers(1, 8), st.integers(0, 2**32 - 1), st.lists(st.booleans(), min_size=3, max_size=3))
def test_suggestions_are_those_of_explicit_loops(
    states: list[list[int]], chunk: int, seed: int, complete: list[bool]
) -> None:
    names = tuple(f"{number}.jpg" for number in range(len(states)))
    cells = [(row, column, value) for row, line in enumerate(states) for column, value in enumerate(line)]
    background = np.where(complete, State.ABSENT, State.UNKNOWN)
    table = LabelTable.from_cells(names, ("a", "b", "c"), *zip(*cells, strict=True), background=background)
    logits = np.random.default_rng(seed).integers(-3, 4, (len(states), 3)).astype(np.float32)
    thresholds = thresholds_of(a=0.5, b=None, c=0.8)
    found = suggest(table, in_chunks(logits, chunk), plain("a", "b", "c"), thresholds)

    wanted = []
    for row, column, value in cells:
        probability = 1 / (1 + np.exp(-float(logits[row, column])))
        limit = (0.5, 2.0, 0.8)[column]
        if value == 0 and probability >= limit:
            wanted.append((-probability, row, column))
    assert list(zip(found.image_index.tolist(), found.class_index.tolist(), strict=True)) == [
        x[1:] for x in sorted(wanted)
    ]
    assert (table.states_at(found.image_index, found.class_index) == State.UNKNOWN).all()
    np.testing.assert_allclose(found.probability, [-x[0] for x in sorted(wanted)])
    assert found.unknown.tolist() == [sum(line[column] == 0 for line in states) for column in range(3)]


@pytest.mark.parametrize("chunk", [1, 7, 300])
def test_chunks_do_not_matter(scored: Scored, chunk: int) -> None:
    one, other = recovered(scored), recovered(scored, chunk)
    assert list(one) == list(other)
    assert one.summary() == other.summary()


def test_the_class_order_of_the_model_may_differ(scored: Scored) -> None:
    table, _, logits = scored
    one = suggest(
        table, in_chunks(logits, 50), plain(*table.classes), thresholds_of(sky=0.9, sea=0.8, boat=None, gull=0.95)
    )
    order = [2, 0, 3, 1]
    mixed = thresholds_of(boat=None, sky=0.9, gull=0.95, sea=0.8)
    other = suggest(table, in_chunks(logits[:, order], 50), plain("boat", "sky", "gull", "sea"), mixed)
    assert len(one) > 0
    assert list(one) == list(other)
    assert one.summary() == other.summary()


def test_merging_adds_exactly_the_suggestions(scored: Scored) -> None:
    suggestions = recovered(scored)
    merged, conflicts = merge(scored.table, suggestions.to_table())
    assert not conflicts
    wanted = scored.table.dense()
    for row, column in zip(suggestions.image_index, suggestions.class_index, strict=True):
        wanted[row, column] = 1
    np.testing.assert_array_equal(merged.dense(), wanted)
    cells = merged.cells()
    assert (cells.sources == Source.RECOVERED).sum() == len(suggestions) > 50


def test_merging_keeps_a_declared_background() -> None:
    table = LabelTable.from_cells(("1", "2"), ("a",), [0], [0], [0], background=State.ABSENT)
    suggestions = suggest(table, [([0, 1], np.full((2, 1), 9.0))], plain("a"), thresholds_of(a=0.9))
    assert [found.image for found in suggestions] == ["1"]
    merged, _ = merge(table, suggestions.to_table())
    assert merged.dense().tolist() == [[1], [-1]]
    assert merged.background.tolist() == [State.ABSENT]


def test_the_file_reads_as_labels_and_tells_all(scored: Scored, tmp_path: Path) -> None:
    suggestions = recovered(scored)
    suggestions.write(tmp_path / "found.csv")
    with (tmp_path / "found.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "class", "state", "source", "probability", "logit", "rule"]
    for row, found in zip(rows, suggestions, strict=True):
        assert (row["image"], row["class"], row["state"], row["rule"]) == (
            found.image,
            found.class_name,
            "present",
            found.rule,
        )
        assert float(row["probability"]) == pytest.approx(found.probability, abs=1e-6)
        assert float(row["logit"]) == pytest.approx(found.logit, rel=1e-5)
    assert [float(row["probability"]) for row in rows] == sorted(
        (float(row["probability"]) for row in rows), reverse=True
    )

    read = read_table(tmp_path / "found.csv").table
    same, _ = merge(scored.table, read)
    assert same.hash == merge(scored.table, suggestions.to_table())[0].hash

    summary = json.loads((tmp_path / "found.csv.json").read_text(encoding="utf-8"))
    assert summary.pop("sha256") == hashlib.sha256((tmp_path / "found.csv").read_bytes()).hexdigest()
    assert summary == suggestions.summary()
    assert summary["suggested"] == len(suggestions) == sum(entry["suggested"] for entry in summary["classes"])
    assert summary["unknown"] == (scored.table.dense() == 0).sum()
    assert {"image", "why"}.isdisjoint(summary)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.csv", "found.csv.json"]


def test_names_that_need_quotes_survive(tmp_path: Path) -> None:
    table = LabelTable.from_dense(('a,"b".jpg', "ü.jpg"), ("sky, blue",), [[0], [0]])
    suggestions = suggest(table, [([0, 1], [[5.0], [6.0]])], plain("sky, blue"), thresholds_of(**{"sky, blue": 0.9}))
    suggestions.write(tmp_path / "out.csv")
    assert set(read_table(tmp_path / "out.csv").table.images) == set(table.images)


def test_what_is_left_out_is_said(scored: Scored) -> None:
    thresholds = thresholds_of(sky=0.9, sea=None, boat=0.9, gull=0.9)
    first = suggest(scored.table, [(np.arange(10), scored.logits[:10])], plain(*scored.table.classes), thresholds)
    summary = first.summary()
    unknown = int((scored.table.dense()[:10, 1] == 0).sum())
    assert [(entry["class"], entry["unknown"]) for entry in summary["left_out"]] == [("sea", unknown)]
    assert "at best 39 of 40 are present" in summary["left_out"][0]["why"]
    assert (summary["images"], summary["images_without_scores"]) == (10, 290)


def test_nothing_to_suggest_is_a_file_with_a_header(scored: Scored, tmp_path: Path) -> None:
    nothing = suggest(
        scored.table, [], plain(*scored.table.classes), thresholds_of(sky=0.9, sea=0.9, boat=0.9, gull=0.9)
    )
    nothing.write(tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text() == "image,class,state,source,probability,logit,rule\n"
    assert len(nothing) == len(nothing.to_table().cells().states) == 0


@pytest.mark.parametrize(
    ("chunks", "sentence"),
    [
        ([([0], np.zeros((1, 3)))], r"shape \(1, 3\); 1 images and 4 classes"),
        ([([0, 0], np.zeros((2, 4)))], "scored twice"),
        ([([0], np.zeros((1, 4))), ([0], np.zeros((1, 4)))], "scored twice"),
        ([([300], np.zeros((1, 4)))], "image number 300 is outside"),
    ],
)
def test_wrong_chunks_are_refused(scored: Scored, chunks: list[tuple[list[int], np.ndarray]], sentence: str) -> None:
    with pytest.raises(LabelError, match=sentence):
        suggest(scored.table, chunks, plain(*scored.table.classes), thresholds_of(sky=0.9, sea=0.9, boat=0.9, gull=0.9))


def test_other_classes_are_refused(scored: Scored) -> None:
    with pytest.raises(
        LabelError, match=r"the model has 1 classes and the table 4, and 3 of them are in one only, first: 'boat'"
    ):
        suggest(scored.table, [], plain("sky"), thresholds_of(sky=0.9))
    with pytest.raises(LabelError, match="calibration and thresholds are of different classes"):
        suggest(scored.table, [], plain("sky"), thresholds_of(sea=0.9))


def test_a_nan_logit_is_refused(scored: Scored) -> None:
    thresholds = thresholds_of(sky=0.9, sea=0.9, boat=0.9, gull=0.9)
    with pytest.raises(NotFiniteError, match="NaN"):
        suggest(scored.table, [([0], np.full((1, 4), np.nan))], plain(*scored.table.classes), thresholds)


def test_a_folder_in_the_way_leaves_nothing(scored: Scored, tmp_path: Path) -> None:
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(StorageError):
        recovered(scored).write(tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
