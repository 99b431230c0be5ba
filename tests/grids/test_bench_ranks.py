from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partlabel.grids.cell import Cell, Record
from partlabel.grids.grid import Grid
from partlabel.grids.ranks import standings
from partlabel.grids.summary import Results

NAMES = ("a", "b", "c", "d")
MASKINGS = ("one", "two", "three")


def naive_rank(own: float, values: list[float]) -> float:
    """The places that this value and its equals share, averaged."""
    better = sum(value > own for value in values)
    equal = sum(value == own for value in values)
    return sum(range(better + 1, better + equal + 1)) / equal


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=4, max_size=4), min_size=3, max_size=3))
def test_ranks_by_counting_who_is_better(
    bare_grid: Callable[..., Grid], record: Callable[..., Record], table: list[list[float | None]]
) -> None:
    grid = bare_grid(NAMES, MASKINGS, "seeds = [0]")
    values = {
        (masking, name): value
        for masking, row in zip(MASKINGS, table, strict=True)
        for name, value in zip(NAMES, row, strict=True)
        if value is not None
    }
    results = Results(grid, {Cell("squares", *labels, 0): record(value) for labels, value in values.items()})
    found = standings(results, "mAP")
    assert set(found) == set(NAMES)
    for name in NAMES:
        expected = {
            ("squares", masking): naive_rank(value, [one for (where, _), one in values.items() if where == masking])
            for (masking, method), value in values.items()
            if method == name
        }
        assert found[name].ranks == expected
        if expected:
            assert found[name].mean == pytest.approx(sum(expected.values()) / len(expected))
        else:
            assert found[name].mean is None
    means = [stands.mean for stands in found.values()]
    ranked = [mean for mean in means if mean is not None]
    assert means == sorted(ranked) + [None] * (len(means) - len(ranked))


def test_seeds_are_averaged_before_ranking(bare_grid: Callable[..., Grid], record: Callable[..., Record]) -> None:
    values = {"a": [0.9, 0.1], "b": [0.6, 0.5], "c": [0.52]}  # a wins on the first seed, b in the mean
    cells = {Cell("squares", "half", name, seed): record(one) for name, some in values.items() for seed, one in enumerate(some)}
    found = standings(Results(bare_grid(("a", "b", "c")), cells), "mAP")
    assert {name: stands.mean for name, stands in found.items()} == {"b": 1, "c": 2, "a": 3}
    assert list(found) == ["b", "c", "a"]
