import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from partlabel.errors import LabelError, NotFiniteError, UsageError
from partlabel.evaluation import average_precision, cells, evaluate, f_measures, roc_auc

NAMES = [f"class {number}" for number in range(12)]
F_KEYS = {"OF1", "CF1", "OP", "OR", "CP", "CR"}


def test_json_has_the_promised_keys(tagging):
    result = evaluate(*tagging, NAMES).to_json()
    keys = {"mAP", "top3", "AUC", "classes", "known", "prevalence", "thresholds", "per_class"} | F_KEYS
    assert set(result) == keys
    assert set(result["mAP"]) == {"raw", "voc12", "voc07"}
    assert set(result["top3"]) == F_KEYS
    assert set(result["CF1"]) == set(result["top3"]["CF1"]) == {"harmonic", "mean"}
    assert set(result["classes"]) == {"scored", "total", "left_out"}
    assert set(result["known"]) == {"present", "absent", "unknown"}
    assert set(result["per_class"][0]) == {
        "class",
        "AP",
        "AUC",
        "precision",
        "recall",
        "F1",
        "threshold",
        "present",
        "absent",
        "unknown",
    }
    assert "groups" in evaluate(*tagging, NAMES, training_annotations=range(12)).to_json()
    assert "top5" in evaluate(*tagging, NAMES, top_k=5).to_json()


def test_json_values_come_from_the_measures(tagging):
    scores, states = tagging
    thresholds = np.linspace(-1, 1, 12)
    result = evaluate(scores, states, NAMES, thresholds=thresholds).to_json()
    for convention in ("raw", "voc12", "voc07"):
        by_class = average_precision(scores, states, convention)
        assert result["mAP"][convention] == pytest.approx(by_class[:9].mean())
        assert [entry["AP"][convention] for entry in result["per_class"]] == [*by_class[:9], None, None, None]
    assert result["AUC"] == pytest.approx(roc_auc(scores, states)[:9].mean())
    for found, top_k in ((result, None), (result["top3"], 3)):
        f = f_measures(scores, states, thresholds, top_k)
        assert (found["OP"], found["OR"], found["OF1"]) == (f.overall_precision, f.overall_recall, f.overall_f1)
        assert (found["CP"], found["CR"]) == (f.class_precision, f.class_recall)
        assert found["CF1"] == {"harmonic": f.class_f1_harmonic, "mean": f.class_f1_mean}
    first, decided = result["per_class"][0], f_measures(scores, states, thresholds)
    assert (first["precision"], first["recall"]) == (decided.precision_by_class[0], decided.recall_by_class[0])
    assert (first["F1"], first["threshold"]) == (decided.f1_by_class[0], -1)
    assert [first[name] for name in ("present", "absent", "unknown")] == [(states[:, 0] == s).sum() for s in (1, -1, 0)]
    assert result["known"] == {
        "present": (states == 1).sum(),
        "absent": (states == -1).sum(),
        "unknown": (states == 0).sum(),
    }
    assert result["prevalence"] == pytest.approx((states == 1).sum() / (states != 0).sum())
    assert result["thresholds"] == thresholds.tolist()
    assert evaluate(scores, states, NAMES, thresholds=0.25).to_json()["thresholds"] == 0.25


def test_left_out_classes_are_named_with_the_reason(tagging):
    assert evaluate(*tagging, NAMES).to_json()["classes"] == {
        "scored": 9,
        "total": 12,
        "left_out": [
            {"class": "class 9", "reason": "no known present cell"},
            {"class": "class 10", "reason": "no known absent cell"},
            {"class": "class 11", "reason": "no known cell"},
        ],
    }


def test_json_has_no_nan():
    result = evaluate([[1.0, 0.0]], [[-1, 0]], ["a", "b"], training_annotations=[1, 2], thresholds=[0.0, np.inf])
    text = json.dumps(result.to_json(), allow_nan=False)
    assert json.loads(text)["mAP"] == {"raw": None, "voc12": None, "voc07": None}
    assert json.loads(text)["OR"] is None
    assert json.loads(text)["OP"] == 0
    assert "| OR | - |" in result.to_markdown()


def test_markdown_names_the_convention_and_what_it_rests_on(tagging):
    text = evaluate(*tagging, NAMES, training_annotations=range(12)).to_markdown()
    raw = 100 * average_precision(*tagging)[:9].mean()
    known = int((tagging[1] != 0).sum())
    assert f"| mAP, raw (precision at the rank of each positive) | {raw:.2f} |" in text
    assert "mAP, VOC12" in text
    assert "mAP, VOC07" in text
    assert "top-3 OF1" in text
    assert "group 5 (10 to 11 training annotations, 0 of 2 classes) | - |" in text
    assert "Class means over 9 of 12 classes (3 left out" in text
    assert f"Rests on {known:,} known cells" in text


@given(
    hnp.arrays(np.int8, (8, 4), elements=st.integers(-1, 1)).filter(np.any),
    hnp.arrays(np.int64, (8, 4), elements=st.integers(-3, 3)),
    st.sampled_from([7.0, np.nan]),
)
def test_unknown_cells_change_no_measure(states, scores, filler):
    before = evaluate(scores, states, NAMES[:4], training_annotations=[4, 3, 2, 1]).to_json()
    more_scores, more_states = np.full((11, 5), filler), np.zeros((11, 5), np.int8)
    more_scores[:8, :4], more_states[:8, :4] = np.where(states == 0, filler, scores), states
    after = evaluate(more_scores, more_states, NAMES[:5]).to_json()
    del before["groups"]
    for result in (before, after):
        del result["known"]["unknown"], result["classes"]["total"], result["classes"]["left_out"]
        result["per_class"] = [{k: v for k, v in entry.items() if k != "unknown"} for entry in result["per_class"][:4]]
    assert before == after


def test_memory_beyond_the_inputs_is_bounded(monkeypatch):
    monkeypatch.setattr(cells, "BLOCK_CELLS", 1 << 14)
    generator = np.random.default_rng(0)
    scores = generator.standard_normal((4000, 400), np.float32)
    states = generator.integers(-1, 2, scores.shape, np.int8)
    tracemalloc.start()
    evaluate(scores, states, [str(column) for column in range(400)], training_annotations=range(400))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < scores.nbytes / 8


def test_unusable_input_is_refused():
    with pytest.raises(LabelError, match="no cell of the truth is known"):
        evaluate([[1.0]], [[0]], ["a"])
    with pytest.raises(UsageError, match="2 class names"):
        evaluate([[1.0]], [[1]], ["a", "b"])
    with pytest.raises(NotFiniteError, match="class 'a' is nan"):
        evaluate([[np.nan]], [[1]], ["a"])
