import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from partlabel.evaluation import evaluate
from partlabel.grids.cell import Cell, Record
from partlabel.grids.data import Loaded
from partlabel.grids.grid import Grid, read_grid
from partlabel.grids.measures import MEASURES
from partlabel.grids.summary import Rate, Results
from partlabel.grids.table import to_csv, to_markdown
from partlabel.labels import LabelTable

Make = Callable[..., Record]
SALIENCY = "saliency, no CR"


@pytest.fixture
def grid(write_grid: Callable[..., Path]) -> Grid:
    return read_grid(write_grid(("seeds = [0, 1]", "seeds = [0, 1, 2]"), ('"Squares"', '"A | B"')))


def bce(seed: int) -> Cell:
    return Cell("squares", "half", "bce", seed)


@pytest.fixture
def data() -> dict[str, Loaded]:
    table = LabelTable.from_dense(["a.png", "b.png"], ["cat", "dog"], np.eye(2, dtype=int))
    return {"squares": Loaded(Path(), table, table, 260, 50)}


def test_mean_and_sample_deviation(grid: Grid, record: Make) -> None:
    values = [0.5, 0.625, 0.4375]
    results = Results(grid, {bce(seed): record(value) for seed, value in enumerate(values)})
    entry = results.entry("squares", "half", "bce", "mAP")
    assert entry.mean == pytest.approx(np.mean(values))
    assert entry.sd == pytest.approx(np.std(values, ddof=1))
    assert results.entry("squares", "half", "bce", "CF1").mean == pytest.approx(np.mean(values) / 3)


def test_markdown_says_what_is_missing(grid: Grid, data: dict[str, Loaded], record: Make) -> None:
    records = {
        bce(0): record(0.5),
        bce(1): record(0.6),
        bce(2): {"status": "failed", "error": "it broke"},
        Cell("squares", "half", SALIENCY, 0): record(0.25, thresholds="probability 0.5"),
    }
    text = to_markdown(grid, data, records)
    assert "| bce | 55.0 ± 7.1 (n = 2) |" in text
    assert f"| {SALIENCY} | 25.0 (n = 1) |" in text  # mAP needs no threshold
    assert f"| {SALIENCY} | 12.5 (n = 1)† |" in text
    assert "- squares / half / bce / seed 2: it broke" in text
    assert "2 cell(s) are still to be run." in text
    assert "several releases" not in text
    mixed = {**records, bce(1): record(0.6, versions={"partlabel": "0.2.0"})}
    assert "Computed by several releases of partlabel: 0.1.0, 0.2.0." in to_markdown(grid, data, mixed)
    assert "| bce | 0.01 [0.001, 0.01], at the edge |" in text
    assert "2 classes of 260 (those with at least 50 known present training cells)" in text
    assert "Class means over 2 classes; test measures rest on 1,500 known cells, 1,000 of them present." in text


def test_label_vectors_are_named_where_they_differ(grid: Grid, data: dict[str, Loaded], record: Make) -> None:
    learned, words = {"source": "learned", "sha256": None}, {"source": "words.txt", "sha256": "0123456789abcdef"}
    first, second, other = bce(0), bce(1), Cell("squares", "half", SALIENCY, 0)

    def text(**used: dict[str, str | None] | None) -> str:
        cells = {"first": first, "second": second, "other": other}
        return to_markdown(grid, data, {cells[name]: record(0.5, label_vectors=of) for name, of in used.items()})

    assert "Label vectors" not in text(first=learned, second=learned, other=None)
    assert "Label vectors" not in text(first=words, second=words, other=words)
    by_row = text(first=learned, second=learned, other=words)
    assert f"- Label vectors: bce: learned; {SALIENCY}: words.txt (SHA-256 01234567…).\n" in by_row
    changed = {**words, "sha256": "fedcba9876543210"}
    assert "bce: words.txt (SHA-256 01234567…), words.txt (SHA-256 fedcba98…)." in text(first=words, second=changed)


def test_markdown_of_nothing_done(grid: Grid, data: dict[str, Loaded]) -> None:
    text = to_markdown(grid, data, {})
    assert "| bce | - |" in text
    assert "6 cell(s) are still to be run." in text


def test_markdown_ranks_where_there_is_a_result(
    bare_grid: Callable[..., Grid], data: dict[str, Loaded], record: Make
) -> None:
    grid = bare_grid(["a", "b", "c"], ["one", "two"], "seeds = [0]\nmeasures = ['mAP']")
    records = {
        Cell("squares", "one", "a", 0): record(0.2),
        Cell("squares", "two", "a", 0): record(0.4),
        Cell("squares", "one", "b", 0): record(0.3),
        Cell("squares", "one", "c", 0): record(0.2),
        Cell("squares", "two", "b", 0): {"status": "misfit", "lacking": "known absent cells", "error": "b cannot"},
        Cell("squares", "two", "c", 0): {"status": "misfit", "lacking": "", "error": "c cannot"},
    }
    text = to_markdown(grid, data, records)
    assert "| b | 30.0 | —, needs known absent cells |" in text
    assert "| c | 20.0 | —, does not fit |" in text
    assert "—: the method cannot learn from such labels" in text
    assert "still to be run" not in text
    assert "Failed" not in text
    ranks = text.split("### Ranks by mAP\n\n")[1].split("\n\n")[0].splitlines()
    assert ranks == [
        "| method | mean rank | settings | squares / one (of 3) | squares / two (of 1) |",
        "|---|---:|---:|---:|---:|",
        "| b | 1.00 | 1 of 2 | 1 | - |",
        "| a | 1.75 | 2 of 2 | 2.5 | 1 |",
        "| c | 2.50 | 1 of 2 | 2.5 | - |",
    ]
    rows = {(row["masking"], row["method"]): row for row in csv.DictReader(io.StringIO(to_csv(Results(grid, records))))}
    columns = ("rank", "mean_rank", "mean_rank_settings", "misfit")
    assert [rows["one", "a"][name] for name in columns] == ["2.5", "1.75", "2", ""]
    assert [rows["two", "b"][name] for name in columns] == ["", "1.0", "1", "needs known absent cells"]


def test_markdown_says_who_goes_on(bare_grid: Callable[..., Grid], data: dict[str, Loaded], record: Make) -> None:
    grid = bare_grid(["a", "b", "c"], top="seeds = [3, 1, 2]\ntop = 1")
    first = {
        Cell("squares", "half", name, 3): record(0.5, held) for name, held in (("a", 0.1), ("b", 0.625), ("c", 0.25))
    }
    text = to_markdown(grid, data, first)
    assert "Seed 3 ran every method; the other seeds only the best 1 of each data set and masking" in text
    assert (
        "| a | 10.0 |\n| b | 62.5, goes on |\n| c | 25.0 |" in text.split("### What rows were chosen by, on seed 3")[1]
    )
    assert text.endswith("2 cell(s) are still to be run.\n")
    text = to_markdown(grid, data, {**first, **{Cell("squares", "half", "b", seed): record(0.5) for seed in (1, 2)}})
    assert "| a | 50.0 (n = 1) |\n| b | 50.0 ± 0.0 |\n" in text
    assert "still to be run" not in text


def test_a_measure_among_unknown_cells_is_marked_as_another_one(
    bare_grid: Callable[..., Grid], data: dict[str, Loaded], record: Make
) -> None:
    grid = bare_grid(["a", "b"], top="seeds = [3, 1]\ntop = 1")
    records = {Cell("squares", "half", name, 3): record(0.5) for name in "ab"}
    for number, one in enumerate(records.values()):
        one["held_out"] = {"mAP": None, "mAP_among_unknown": 0.1 + number / 4}
    chosen = to_markdown(grid, data, records).split("### What rows were chosen by, on seed 3")[1]
    assert "| a | 10.0‡ |\n| b | 35.0‡, goes on |" in chosen
    assert "‡ where no absent cell is known" in chosen


def test_labels_cannot_break_a_row(write_grid: Callable[..., Path], data: dict[str, Loaded]) -> None:
    grid = read_grid(write_grid(("[masking.half]", '[masking."a|b"]')))
    assert "| method | a\\|b |" in to_markdown(grid, data, {})


def test_csv_holds_full_numbers(grid: Grid, record: Make) -> None:
    values = [1 / 3, 2 / 3]
    text = to_csv(Results(grid, {bce(seed): record(value) for seed, value in enumerate(values)}))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2 * 3
    first = rows[0]
    assert float(first["mean"]) == np.mean(values)
    assert float(first["sd"]) == pytest.approx(np.std(values, ddof=1), abs=1e-15)
    assert (first["n"], first["seeds"], first["lr"], first["lr_candidates"]) == ("2", "0 1", "0.01", "0.001 0.01")
    assert [row["mean"] for row in rows if row["method"] == SALIENCY] == ["", "", ""]


@pytest.mark.parametrize(
    ("value", "candidates", "expected"),
    [
        (1e-3, (1e-3, 1e-2, 1e-1), True),
        (1e-2, (1e-3, 1e-1, 1e-2), False),
        (1e-1, (1e-3, 1e-2, 1e-1), True),
        (1e-2, (), False),
    ],
)
def test_edge_of_the_candidates(value: float, candidates: tuple[float, ...], expected: bool) -> None:
    assert Rate(value, candidates).at_edge is expected


def test_a_measure_that_does_not_exist_is_left_out(grid: Grid, record: Make) -> None:
    without = record(0.5)
    without["test"]["OF1"] = None
    results = Results(grid, {bce(0): without, bce(1): record(0.5)})
    assert results.entry("squares", "half", "bce", "OF1").seeds == (1,)


def test_every_measure_is_in_an_evaluation() -> None:
    scores, states = np.array([[1.0], [-1.0], [0.5]]), np.array([[1], [-1], [-1]], np.int8)
    judged = evaluate(scores, states, ["cat"], training_annotations=[3]).to_json()
    values = {name: measure.of({"test": judged, "held_out": {"mAP": 0.25}}) for name, measure in MEASURES.items()}
    assert values["mAP"] == values["AUC"] == 1
    assert values["OP"] == values["CP"] == 0.5
    assert values["OF1"] == values["CF1 mean"] == values["CF1"] == pytest.approx(2 / 3)
    assert {name for name, value in values.items() if value is None} == {f"mAP group {n}" for n in (2, 3, 4, 5)}


def test_groups_run_from_the_fewest_to_the_most_training_annotations() -> None:
    random = np.random.default_rng(3)
    scores, states = random.normal(size=(12, 10)), np.where(random.random((12, 10)) < 0.5, 1, -1).astype(np.int8)
    annotations = [70, 10, 50, 30, 90, 20, 100, 60, 40, 80]
    names = [f"class {column}" for column in range(10)]
    record = {"test": evaluate(scores, states, names, training_annotations=annotations).to_json()}
    precisions = {}
    for column, count in enumerate(annotations):
        found, hits = [], 0
        for rank, row in enumerate(sorted(range(12), key=lambda row: -scores[row, column]), 1):
            if states[row, column] > 0:
                hits += 1
                found.append(hits / rank)
        precisions[count] = sum(found) / len(found)
    for number in range(1, 6):
        expected = (precisions[20 * number - 10] + precisions[20 * number]) / 2
        assert MEASURES[f"mAP group {number}"].of(record) == pytest.approx(expected, abs=1e-12)
