"""Assume negative: binary cross-entropy with every unknown cell taken as absent. A baseline; the user asks for it by
name.

It is what most tools do without saying so. What it assumes of labels: that what nobody marked is not there.
Loss: (1 / (B·C)) Σ [present: -log p; else: -log(1 - p)].
Source: the "AN" baseline of Cole et al., CVPR 2021, without the 1e-5 that their code adds inside the logarithm.
"""

from torch import Tensor

from partlabel.losses.assume_negative import unknown_as_absent
from partlabel.losses.bce import bce_cells
from partlabel.methods.base import Clock, Index, Labels, Method, Outputs, PooledConfig


class AssumeNegative(Method[PooledConfig]):
    """Binary cross-entropy, unknown taken as absent."""

    Config = PooledConfig
    learns_from_unknown = True

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Mean over all cells."""
        return {"total": self.reduce(bce_cells(outputs["logits"], unknown_as_absent(labels)))}
