"""Assume negative: binary cross-entropy with every unknown cell taken as absent. A baseline; the user asks for it by
name.

It is what most tools do without saying so. What it assumes of labels: that what nobody marked is not there.
Loss: (1 / (B·C)) Σ [present: -log p; else: -log(1 - p)].
Source: the "AN" baseline of Cole et al., CVPR 2021, without the 1e-5 that their code adds inside the logarithm.
"""

import torch
from torch import Tensor

from partlabel.losses.bce import bce_cells
from partlabel.methods.base import Clock, Context, Index, Labels, Method, MethodConfig, Outputs
from partlabel.models.encoders.base import Pool
from partlabel.models.heads import HeadSpec


class AssumeNegativeConfig(MethodConfig):
    """Settings of `assume_negative`."""

    pool: Pool = "avg"
    """Pooling of the head ("avg" or "max"). Ours; the papers use average pooling."""


class AssumeNegative(Method[AssumeNegativeConfig]):
    """Binary cross-entropy, unknown taken as absent."""

    Config = AssumeNegativeConfig
    learns_from_unknown = True

    @classmethod
    def head(cls, config: AssumeNegativeConfig, context: Context) -> HeadSpec:
        """A pooled head."""
        return HeadSpec(kind="pooled", settings={"pool": config.pool})

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Mean over all cells."""
        completed = torch.where(labels == 1, labels, -torch.ones_like(labels))
        return {"total": bce_cells(outputs["logits"], completed).mean()}
