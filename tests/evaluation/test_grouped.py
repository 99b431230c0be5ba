import numpy as np
import pytest

from partlabel.errors import UsageError
from partlabel.evaluation import RankingMeasures, grouped_map, ranking_measures


def test_equals_the_explicit_loops(tagging):
    measures = ranking_measures(*tagging)
    annotations = np.array([5, 3, 3, 90, 0, 12, 7, 7, 1, 40, 41, 2])
    groups = grouped_map(measures, annotations)
    order = sorted(range(12), key=lambda column: (annotations[column], column))
    expected = [order[0:3], order[3:6], order[6:8], order[8:10], order[10:12]]
    assert [group.columns.tolist() for group in groups] == expected
    for group in groups:
        columns = [
            column for column in group.columns if column < 9
        ]  # the fixture's classes 9, 10, 11 have no average precision
        assert group.scored == len(columns)
        assert (group.fewest, group.most) == (annotations[group.columns].min(), annotations[group.columns].max())
        for name in ("raw", "voc12", "voc07"):
            assert getattr(group, name) == pytest.approx(
                sum(getattr(measures, name)[c] for c in columns) / len(columns)
            )


def test_a_group_without_a_scored_class_has_no_map():
    measures = RankingMeasures(*np.array([[np.nan, 0.5]] * 4))
    first, second = grouped_map(measures, [1, 2], groups=2)
    assert (first.scored, second.scored) == (0, 1)
    assert np.isnan([first.raw, first.voc12, first.voc07]).all()
    assert second.raw == 0.5


@pytest.mark.parametrize("annotations", [[1], [1, -2], [1.0, 2.0], [[1, 2]]])
def test_counts_must_fit(annotations):
    with pytest.raises(UsageError, match="one whole number of training cells for each of the 2 classes"):
        grouped_map(RankingMeasures(*np.full((4, 2), 0.5)), annotations, groups=2)


@pytest.mark.parametrize("groups", [0, 3])
def test_there_cannot_be_more_groups_than_classes(groups):
    with pytest.raises(UsageError, match=f"2 classes cannot be divided into {groups} groups"):
        grouped_map(RankingMeasures(*np.full((4, 2), 0.5)), [1, 2], groups=groups)
