import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partlabel.errors import LabelError
from partlabel.labels import LabelTable, State
from partlabel.recovery.calibrate import Calibration
from partlabel.recovery.judge import SuggestionScore, score_suggestions
from partlabel.recovery.suggest import Suggestions, suggest
from partlabel.recovery.thresholds import ClassThreshold, PrecisionThresholds

CLASSES = ("a", "b", "c")
IMAGES = tuple("012345")


def suggestions_of(states: np.ndarray, suggested: np.ndarray, scored: int) -> Suggestions:
    table = LabelTable.from_dense(IMAGES, CLASSES, states)
    entries = tuple(ClassThreshold(name, "own", 50, 50, 0.5, 50, 50, 1.0, 0.9) for name in CLASSES)
    logits = np.where(suggested, 4.0, -4.0)
    calibration = Calibration(CLASSES, np.zeros(3), np.ones(3))
    return suggest(
        table, [(np.arange(scored), logits[:scored])], calibration, PrecisionThresholds(0.95, 10, 50, entries)
    )


@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(0, 6))
def test_counts_are_those_of_explicit_loops(seed: int, complete: bool, scored: int) -> None:
    random = np.random.default_rng(seed)
    states = random.integers(-1, 2, (6, 3)).astype(np.int8)
    suggestions = suggestions_of(states, random.random((6, 3)) < 0.5, scored)
    # The truth has one image and one class less, one of each more, and another order.
    truth_images, truth_classes = ("5", "0", "1", "new", "2", "3"), ("c", "a", "more")
    rows, columns = np.nonzero(random.random((6, 3)) < 0.7)
    background = State.ABSENT if complete else State.UNKNOWN
    truth = LabelTable.from_cells(
        truth_images, truth_classes, rows, columns, random.integers(-1, 2, rows.size), background=background
    )

    dense = truth.dense()
    suggested = set(zip(suggestions.image_index.tolist(), suggestions.class_index.tolist(), strict=True))
    counts = {"correct": 0, "wrong": 0, "unjudged": 0, "hidden": 0}
    for row, image in enumerate(IMAGES):
        for column, name in enumerate(CLASSES):
            shared = image in truth_images and name in truth_classes
            state = dense[truth_images.index(image), truth_classes.index(name)] if shared else 0
            if (row, column) in suggested:
                counts["correct" if state == 1 else "wrong" if state == -1 else "unjudged"] += 1
            counts["hidden"] += int(row < scored and states[row, column] == 0 and state == 1)
    assert score_suggestions(suggestions, truth) == SuggestionScore(len(suggested), **counts)


def test_precision_and_recall() -> None:
    score = SuggestionScore(suggested=10, correct=6, wrong=2, unjudged=2, hidden=24)
    assert score.precision == 0.75
    assert score.recall == 0.25


def test_without_evidence_there_is_no_number() -> None:
    score = SuggestionScore(suggested=3, correct=0, wrong=0, unjudged=3, hidden=0)
    assert score.precision is None
    assert score.recall is None


def test_a_truth_of_other_data_is_refused() -> None:
    suggestions = suggestions_of(np.zeros((6, 3), np.int8), np.ones((6, 3), bool), 6)
    with pytest.raises(LabelError, match="no image of the completed table is in the truth"):
        score_suggestions(suggestions, LabelTable.from_dense(("x",), CLASSES, [[1, 1, 1]]))
    with pytest.raises(LabelError, match="no class of the completed table is in the truth"):
        score_suggestions(suggestions, LabelTable.from_dense(("0",), ("x",), [[1]]))
