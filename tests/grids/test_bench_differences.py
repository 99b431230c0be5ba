"""Differences to a baseline, paired by seed."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from partlabel.errors import UsageError
from partlabel.grids.cell import Cell, Record
from partlabel.grids.differences import difference, differences_section
from partlabel.grids.grid import Grid, read_grid
from partlabel.grids.summary import Results

HEAD = "seeds = [0, 1, 2]\nmeasures = ['mAP']\nbaseline = 'b'"
OURS, THEIRS = (0.5, 0.625, 0.7), (0.45, 0.6, 0.6)


def results(grid: Grid, record: Callable[..., Record], ours: dict[int, float], theirs: dict[int, float]) -> Results:
    cells = {Cell("squares", "half", "a", seed): record(value) for seed, value in ours.items()}
    return Results(grid, {**cells, **{Cell("squares", "half", "b", seed): record(v) for seed, v in theirs.items()}})


def test_differences_are_paired_and_tested_by_hand(
    bare_grid: Callable[..., Grid], record: Callable[..., Record]
) -> None:
    grid = bare_grid(["a", "b"], top=HEAD)
    found = difference(
        results(grid, record, dict(enumerate(OURS)), dict(enumerate(THEIRS))), "squares", "half", "a", "mAP"
    )
    assert found is not None
    values = [one - other for one, other in zip(OURS, THEIRS, strict=True)]
    mean = sum(values) / 3
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / 2) / math.sqrt(3)
    assert found.mean == pytest.approx(mean)
    assert found.p == pytest.approx(2 * student.sf(mean / error, 2))
    reach = student.ppf(0.975, 2) * error
    assert found.interval == pytest.approx((mean - reach, mean + reach))
    assert not np.isclose(found.p, 2 * student.sf(mean / error, 3))


def test_only_seeds_that_both_have_count(bare_grid: Callable[..., Grid], record: Callable[..., Record]) -> None:
    grid = bare_grid(["a", "b"], top=HEAD)
    one = results(grid, record, {0: 0.5, 2: 0.9}, {0: 0.25, 1: 0.1})
    found = difference(one, "squares", "half", "a", "mAP")
    assert found is not None
    assert (found.values, found.interval, found.p) == ((0.25,), None, None)
    assert difference(one, "squares", "half", "b", "mAP") is None
    assert difference(results(grid, record, {0: 0.5}, {1: 0.5}), "squares", "half", "a", "mAP") is None


def test_the_table_warns_of_few_seeds(bare_grid: Callable[..., Grid], record: Callable[..., Record]) -> None:
    grid = bare_grid(["a", "b"], top=HEAD)
    values = results(grid, record, dict(enumerate(OURS)), dict(enumerate(THEIRS)))
    text = "\n".join(differences_section(values))
    assert "## Differences to b" in text
    assert "| a | squares | half | +5.8 | -3.7 to +15.3 | 0.118 | 3 |" in text
    assert "fewer than 5 seeds" in text
    equal = results(grid, record, {0: 0.5, 1: 0.5}, {0: 0.25, 1: 0.25})
    assert "| a | squares | half | +25.0 | - | - | 2 |" in "\n".join(differences_section(equal))
    many = bare_grid(["a", "b"], top=HEAD.replace("2]", "2, 3, 4]"))
    assert "fewer than" not in "\n".join(differences_section(Results(many, {})))
    assert differences_section(Results(bare_grid(["a", "b"]), {})) == []


def test_a_baseline_is_a_row(write_grid: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="baseline: no row 'bcd'; rows are bce"):
        read_grid(write_grid(("seeds = [0, 1]", 'seeds = [0, 1]\nbaseline = "bcd"')))
