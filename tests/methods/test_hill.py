"""When SPLC corrects missed labels, and that known cells are never corrected."""

import pytest
import torch

from partlabel.labels import LabelTable
from partlabel.losses.hill import splc_cells
from partlabel.methods.base import Clock, Context
from partlabel.methods.build import build_method
from partlabel.models.encoders.build import create_backbone

LOGITS = torch.tensor([[3.0, 3.0, 3.0, 0.2, 0.6]])
LABELS = torch.tensor([[1, -1, 0, 0, 0]], dtype=torch.int8)


@pytest.mark.parametrize(
    ("epoch", "first", "tau", "corrected"),
    [(0, 1, 0.6, []), (1, 1, 0.6, [2, 4]), (0, 0, 0.6, [2, 4]), (5, 1, 0.65, [2]), (2, 3, 0.5, [])],
)
def test_corrected_cells(epoch: int, first: int, tau: float, corrected: list[int]) -> None:
    context = Context(LabelTable.from_dense(["x"], "abcde", LABELS.numpy()))
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    method = build_method("splc", {"first_corrected_epoch": first, "tau": tau}, backbone, context)
    found = method.objective({"logits": LOGITS}, LABELS, torch.tensor([0]), Clock(epoch, epoch, 9, 9))
    missed = torch.zeros(1, 5, dtype=torch.bool)
    missed[0, corrected] = True
    torch.testing.assert_close(found["total"], splc_cells(LOGITS, LABELS, missed).mean())
    assert found["corrected_share"].item() == pytest.approx(len(corrected) / 5)
