import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from partlabel.labels import LabelTable
from partlabel.masking import hide

RANDOM = np.random.default_rng(0)
TABLE = LabelTable.from_dense(
    [f"{i}.jpg" for i in range(1000)], [f"c{c}" for c in range(40)], np.where(RANDOM.random((1000, 40)) < 0.1, 1, -1)
)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 3))
def test_nested_across_ratios(one: float, other: float, seed: int):
    table = TABLE.select_images(np.arange(60))
    fewer, more = (hide(table, "known_ratio", ratio=r, seed=seed).table.dense() for r in sorted((one, other)))
    assert (more[fewer != 0] == fewer[fewer != 0]).all()


def test_fraction_known_is_the_ratio_for_both_signs():
    truth = TABLE.dense()
    for ratio in (0.1, 0.5, 0.9):
        known = hide(TABLE, "known_ratio", ratio=ratio, seed=4).table.dense() != 0
        for sign in (1, -1):
            cells = known[truth == sign]
            assert abs(cells.mean() - ratio) < 4 * np.sqrt(ratio * (1 - ratio) / cells.size)


def test_ratio_one_keeps_all_and_zero_nothing():
    assert (hide(TABLE, "known_ratio", ratio=1.0).table.dense() == TABLE.dense()).all()
    assert not hide(TABLE, "known_ratio", ratio=0).table.dense().any()


def test_independent_of_the_other_maskings_under_the_same_seed():
    once = hide(TABLE, "drop_positives", keep=0.5).table
    twice = hide(once, "known_ratio", ratio=0.5).table
    share = twice.counts_by_class().present.sum() / once.counts_by_class().present.sum()
    assert abs(share - 0.5) < 0.05
