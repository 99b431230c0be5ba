"""Iterative stratification over known cells and whole units, against loops that say the same in another way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partlabel.labels import LabelTable, State
from partlabel.splitting import stratify, units_of


def by_loops(dense: list[list[int]], unit_of: list[int], shares: list[float], seed: int) -> list[int]:
    """Sechidis et al., Algorithm 1, with (class, sign) as labels and units in place of examples."""
    units = max(unit_of) + 1
    rank = {int(unit): place for place, unit in enumerate(np.random.default_rng(seed).permutation(units))}
    size = {unit: unit_of.count(unit) for unit in range(units)}
    labels = [(c, sign) for sign in (1, -1) for c in range(len(dense[0]))]
    count = {
        (unit, label): sum(of == unit and row[label[0]] == label[1] for of, row in zip(unit_of, dense, strict=True))
        for unit in range(units)
        for label in labels
    }
    wanted = {
        (part, label): share * sum(count[unit, label] for unit in range(units))
        for part, share in enumerate(shares)
        for label in labels
    }
    images = {part: share * len(dense) for part, share in enumerate(shares)}
    given: dict[int, int] = {}

    def give(unit: int, part: int) -> None:
        given[unit] = part
        images[part] -= size[unit]
        for label in labels:
            wanted[part, label] -= count[unit, label]

    finished: set[tuple[int, int]] = set()
    while True:
        left = {
            label: [unit for unit in range(units) if unit not in given and count[unit, label]]
            for label in labels
            if label not in finished
        }
        left = {label: some for label, some in left.items() if some}
        if not left:
            break
        label = min(left, key=lambda one: (len(left[one]), labels.index(one)))
        for unit in sorted(left[label], key=lambda one: (-count[one, label], rank[one])):
            most = max(wanted[part, label] for part in images)
            able = [part for part in images if wanted[part, label] >= most - 1e-9]
            give(unit, max(able, key=lambda part: (images[part], -part)))
        finished.add(label)
    for unit in sorted((unit for unit in range(units) if unit not in given), key=lambda one: (-size[one], rank[one])):
        give(unit, max(images, key=lambda part: (images[part], -part)))
    return [given[unit] for unit in unit_of]


@given(
    st.lists(st.lists(st.sampled_from([-1, 0, 1]), min_size=3, max_size=3), min_size=1, max_size=12),
    st.lists(st.integers(-1, 3), min_size=12, max_size=12),
    st.sampled_from([[0.5, 0.5], [0.7, 0.3], [0.6, 0.2, 0.2]]),
    st.integers(0, 3),
)
def test_as_loops_say(dense: list[list[int]], groups: list[int], shares: list[float], seed: int) -> None:
    table = LabelTable.from_dense([f"{n}.jpg" for n in range(len(dense))], ["a", "b", "c"], np.array(dense))
    units = units_of(len(dense), [np.array(groups[: len(dense)])])
    found = stratify(table, units, shares, seed)
    assert found.tolist() == by_loops(dense, units.of_image.tolist(), shares, seed)


def test_units_are_chains_of_ties() -> None:
    units = units_of(7, [np.array([0, 0, 1, 2, -1, -1, 3]), np.array([-1, 5, 5, -1, -1, 9, 8])])
    assert units.of_image.tolist() == [0, 0, 0, 1, 2, 3, 4]
    assert units.sizes.tolist() == [3, 1, 1, 1, 1]


@pytest.mark.parametrize("known", [1.0, 0.2])
def test_rare_classes_reach_every_part(known: float) -> None:
    """What a random split leaves to chance: each part has its share of the known positives of every class."""
    generator = np.random.default_rng(0)
    dense = np.where(generator.random((1000, 20)) < np.linspace(0.01, 0.3, 20), 1, -1)
    dense[generator.random(dense.shape) >= known] = 0
    table = LabelTable.from_dense([f"{n}.jpg" for n in range(1000)], [f"c{n}" for n in range(20)], dense)
    part = stratify(table, units_of(1000, []), [0.8, 0.2], 0)
    for sign in (1, -1):
        in_test = (dense[part == 1] == sign).sum(0)
        off = np.abs(in_test - 0.2 * (dense == sign).sum(0))
        assert off.max() <= 1.5 if sign == 1 else off.mean() <= 2  # by chance, 4 absents
    assert abs(int((part == 1).sum()) - 200) <= 10


def test_an_unknown_cell_wants_nothing_and_an_absent_background_neither() -> None:
    names = [f"{n}.jpg" for n in range(10)]
    table = LabelTable.from_cells(names, ["a"], [0, 1], [0, 0], [1, 1], background=State.ABSENT)
    part = stratify(table, units_of(10, []), [0.5, 0.5], 0)
    assert sorted(part[:2].tolist()) == [0, 1]
    assert np.bincount(part).tolist() == [5, 5]


def test_without_classes_the_images_alone_are_dealt_out() -> None:
    table = LabelTable.from_dense([f"{n}" for n in range(100)], ["a"], np.array([[1]] * 10 + [[0]] * 90))
    units = units_of(100, [np.repeat(np.arange(20), 5)])
    part = stratify(table, units, [0.75, 0.25], 3, by_class=False)
    assert np.bincount(part).tolist() == [75, 25]
    assert all(len({*part[start : start + 5].tolist()}) == 1 for start in range(0, 100, 5))
