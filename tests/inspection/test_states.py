import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from partlabel.inspection.states import KnownStates
from partlabel.labels import LabelTable

STATES = st.tuples(st.integers(1, 7), st.integers(1, 6)).flatmap(
    lambda shape: arrays(np.int8, shape, elements=st.sampled_from([-1, 0, 1]))
)


@given(STATES, st.data())
def test_counts_by_loops(states: np.ndarray, data: st.DataObject):
    images, classes = [f"i{row}" for row in range(len(states))], [f"c{column}" for column in range(states.shape[1])]
    background = data.draw(arrays(np.int8, states.shape[1], elements=st.sampled_from([-1, 0])))
    rows, columns = np.nonzero(states != background)
    known = KnownStates.of(
        LabelTable.from_cells(images, classes, rows, columns, states[rows, columns], background=background)
    )

    for counts, lines in ((known.by_class, states.T), (known.by_image, states)):
        for position, line in enumerate(lines.tolist()):
            assert [int(count[position]) for count in counts] == [line.count(1), line.count(-1), line.count(0)]
    assert known.totals == {
        name: sum(line.count(state) for line in states.tolist())
        for name, state in (("present", 1), ("absent", -1), ("unknown", 0))
    }
    empty, only_present, only_absent = [], [], []
    for column, name in enumerate(classes):
        seen = {state for state in states[:, column].tolist() if state}
        share = known.prevalence[column]
        if not seen:
            empty.append(name)
            assert math.isnan(share)
            continue
        line = states[:, column].tolist()
        assert math.isclose(share, line.count(1) / (line.count(1) + line.count(-1)))
        if seen == {1}:
            only_present.append(name)
        if seen == {-1}:
            only_absent.append(name)
    assert known.empty_classes == tuple(empty)
    assert known.only_present == tuple(only_present)
    assert known.only_absent == tuple(only_absent)
    assert known.images_without_known_cell == tuple(
        images[row] for row, line in enumerate(states.tolist()) if not any(line)
    )
    assert known.declared_complete == tuple(
        name for name, state in zip(classes, background, strict=True) if state == -1
    )


def test_a_table_without_images():
    known = KnownStates.of(LabelTable.from_dense([], ["a", "b"], np.zeros((0, 2))))
    assert known.empty_classes == ("a", "b")
    assert known.totals == {"present": 0, "absent": 0, "unknown": 0}
