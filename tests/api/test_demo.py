"""The demo, whole but small: every verb on real files, and what it promises to leave behind."""

import json
from pathlib import Path

import pytest

import partlabel
from partlabel.api import demo as module
from partlabel.errors import UsageError


@pytest.mark.slow
def test_demo_leaves_what_it_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRAIN_SCENES", 300)
    monkeypatch.setattr(module, "TEST_SCENES", 100)
    monkeypatch.setitem(module.SETTINGS, "epochs", 1)
    text = partlabel.demo(tmp_path / "demo")
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert set(summary["methods"]) == {"assume_negative", "bce", "saliency"}
    for numbers in summary["methods"].values():
        assert set(numbers) == {"mAP", "OF1", "CF1"}
        assert 0 <= numbers["mAP"] <= 1
    assert set(summary["recovered"]) == {"suggested", "precision", "recall"}
    assert "<html" in (tmp_path / "demo" / "report.html").read_text()
    hidden = json.loads((tmp_path / "demo" / "train.csv.json").read_text())
    known = hidden["after"]["present"] + hidden["after"]["absent"]
    assert known / 3000 == pytest.approx(0.2, abs=0.03)
    assert "saliency" in text
    with pytest.raises(UsageError, match="is not empty"):
        partlabel.demo(tmp_path / "demo")
