"""Methods that keep labels or priors of their own: cut off in mid-training, they go on to the very same weights."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from partlabel.api.train import resume, train
from partlabel.errors import Interrupted
from partlabel.labels import LabelTable

SETTINGS: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "epochs": 4,
    "batch_size": 16,
    "accelerator": "cpu",
    "lr": 0.01,
    "report": False,
}
METHODS: dict[str, dict[str, Any]] = {
    "flipped": {"method": "large_loss", "scheme": "correct_permanently", "delta_rel": 20},
    "class_prior": {"method": "class_selective", "prior_share": 0.25, "top_k": 0, "prior_threshold": 0.5},
    "added": {"method": "curriculum", "every": 1, "threshold": 0.6},
}


@pytest.mark.slow
@pytest.mark.parametrize("kept", METHODS)
def test_same_weights(
    kept: str, color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path, at_steps: Any
) -> None:
    settings = {**SETTINGS, **METHODS[kept]}
    hash_before = partial_labels.hash
    train(partial_labels, images=color_images[0], out=tmp_path / "whole", **settings)
    press = at_steps(lambda done: os.kill(os.getpid(), signal.SIGINT) if done == 4 else None)
    with pytest.raises(Interrupted, match="stopped after step 5 of 8"):
        train(partial_labels, images=color_images[0], out=tmp_path / "cut", reporter=press, **settings)
    checkpoint = torch.load(tmp_path / "cut" / "checkpoints" / "selection-last.ckpt", weights_only=True)
    assert checkpoint["state_dict"][f"method.{kept}"].any()
    resume(tmp_path / "cut", report=False)
    whole, cut = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert [name for name in whole if not whole[name].equal(cut[name])] == []
    assert partial_labels.hash == hash_before
