"""The published numbers hold together: averages, gains and sums that the papers print come out of the cells."""

import csv
from collections import Counter, defaultdict
from pathlib import Path

import pytest

PAPERS = Path(__file__).parents[2] / "benchmarks" / "papers"
COLUMNS = ["table", "row", "data", "masking", "measure", "value", "convention", "selection", "note"]
OWN_AVERAGES = {
    ("csl", "3", "SARB*", "MS-COCO"),
    ("csl", "6", "Baseline", "MS-COCO"),
    ("csl", "6", "Baseline", "NUS-WIDE"),
    ("csl", "6", "+SA", "NUS-WIDE"),
    ("csl", "6", "+SRFL", "NUS-WIDE"),
}
"""Averages that the paper prints otherwise than its own cells give; their notes say so."""


def read(paper: str) -> list[dict[str, str]]:
    with (PAPERS / f"{paper}.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == COLUMNS
        return list(reader)


def values(paper: str, table: str, measure: str = "mAP") -> dict[tuple[str, str, str], float]:
    rows = [row for row in read(paper) if row["table"] == table and row["measure"] == measure]
    return {(row["row"], row["data"], row["masking"]): float(row["value"]) for row in rows}


@pytest.mark.parametrize(
    ("paper", "sizes"),
    [
        ("csl", {"3": 18 * 10, "4": 16 * 10, "5": 6 * 10, "6": 3 * 6 * 6}),
        ("cls", {"2": 9 * 3 * 4 * 3}),
        # Logistic has one value for both settings of table 1; the best row of table 2 stands there three times.
        ("imcl", {"1": 9 * 6 * 2 - 6, "2": 4 + 4 + 3 - 2, "3": 3 * 6, "4": 5}),
        ("sr", {"1": 10 * 9, "2": 5 * 7 * 3, "3": 2 * 5, "4": 6 * 6}),
        ("pu_mlc", {"I": 16 * 12 - 4, "II": 12, "III": 15}),
    ],
)
def test_every_cell_of_every_table_is_there_once(paper: str, sizes: dict[str, int]) -> None:
    rows = read(paper)
    keys = [tuple(row[name] for name in COLUMNS[:5]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert Counter(row["table"] for row in rows) == sizes
    assert {row["convention"] for row in rows} <= {"raw", "voc12", "unknown", ""}
    assert all(row["convention"] for row in rows if row["measure"].startswith("mAP"))
    assert all(float(row["value"]) >= 0 for row in rows)


@pytest.mark.parametrize("paper", ["csl", "pu_mlc"])
def test_printed_averages_are_those_of_the_printed_cells(paper: str) -> None:
    cells: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    notes = {}
    for row in read(paper):
        key = (paper, row["table"], row["row"], row["data"])
        if row["measure"] == "mAP":
            cells[key][row["masking"]] = float(row["value"])
            if row["masking"] == "average":
                notes[key] = row["note"]
    off = set()
    for key, by_masking in cells.items():
        if "average" in by_masking:
            printed = by_masking.pop("average")
            mean = sum(by_masking.values()) / len(by_masking)
            if abs(mean - printed) > 0.0501:
                off.add(key)
                assert f"rounds to {mean:.1f}" in notes[key]
    assert off == {key for key in OWN_AVERAGES if key[0] == paper}


def test_gains_that_the_saliency_paper_states() -> None:
    of = values("sr", "2")

    def gains(row: str, over: str) -> list[float]:
        known = [(name, "MS-COCO", f"{ratio} % known") for name in (row, over) for ratio in (10, 30, 50, 70, 90)]
        return [round(of[better] - of[worse], 1) for better, worse in zip(known[:5], known[5:], strict=True)]

    assert gains("BN-BCE +SR", over="BN-BCE") == [5.1, 3.7, 4.0, 4.0, 4.5]
    assert gains("BN-BCE +CR (w/o SR)", over="BN-BCE") == [1.7, 1.3, 1.3, 1.3, 1.1]


def test_label_counts_of_the_positive_unlabelled_paper_add_up() -> None:
    present, absent = (values("pu_mlc", "II", f"known {sign} cells") for sign in ("present", "absent"))
    totals = [present["others", "MS-COCO", f"{ratio} % known"] for ratio in (10, 50, 100)]
    totals = [
        total + absent["others", "MS-COCO", f"{r} % known"] for total, r in zip(totals, (10, 50, 100), strict=True)
    ]
    assert totals == [662263, 3311319, 6622640]
    assert totals[2] == 82783 * 80


def test_gains_that_the_co_label_selection_paper_states() -> None:
    of = values("cls", "2")
    gain = [
        round(of["CLS", "NUS-WIDE", masking] - of["JoCoR", "NUS-WIDE", masking], 1)
        for masking in ("75 % of positives", "50 % of positives", "25 % of positives", "single positive")
    ]
    assert gain == [0.6, 0.8, 1.3, 1.7]
