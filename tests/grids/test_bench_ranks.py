from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partlabel.grids.cell import Cell, Record
from partlabel.grids.grid import Grid
from partlabel.grids.summary import Results, standings

NAMES = ("a", "b", "c", "d")
MASKINGS = ("one", "two", "three")


def naive_rank(own: float, values: list[float]) -> float:
    """The places that this value and its equals share, averaged."""
    better = sum(value > own for value in values)
    equal = sum(value == own for value in values)
    return sum(range(better + 1, better + equal + 1)) / equal


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.lists(st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=4, max_size=4), min_size=3, max_size=3
    )
)
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


def test_ranked_by_the_seeds_that_all_have(bare_grid: Callable[..., Grid], record: Callable[..., Record]) -> None:
    def ranks(values: dict[str, list[float | None]]) -> dict[str, float | None]:
        cells = {
            Cell("squares", "half", name, seed): record(one)
            for name, some in values.items()
            for seed, one in enumerate(some)
            if one is not None
        }
        found = standings(Results(bare_grid(tuple(values)), cells), "mAP")
        return {name: stands.mean for name, stands in found.items()}

    both: dict[str, list[float | None]] = {"a": [0.9, 0.1], "b": [0.6, 0.5]}  # a wins on the first seed, b in the mean
    assert list(ranks(both).items()) == [("b", 1), ("a", 2)]
    one = ranks(both | {"c": [0.7]})  # c has an easier mask than the mean of the others has
    assert list(one.items()) == [("a", 1), ("c", 2), ("b", 3)]
    without_the_first = ranks(both | {"c": [None, 0.7]})
    assert list(without_the_first.items()) == [("b", 1), ("a", 2), ("c", None)]
