"""Binary cross-entropy on known cells, unknown ignored; with the normaliser of partial BCE as an option.

Durand, Mehrasa, Mori: Learning a Deep ConvNet for Multi-Label Classification with Partial Labels, CVPR 2019.
Loss: sum over known cells of [present: -log p; absent: -log(1 - p)], divided as `normalization` says.
Assumes of labels: both signs known somewhere. Known deviations: the paper's graph network and curriculum are not part
of this.
"""

from torch import Tensor

from partlabel.losses.bce import bce_cells
from partlabel.losses.normalization import Normalization
from partlabel.methods.base import Clock, Index, Labels, LinearConfig, Method, MethodConfig, Outputs


class PartialBCEConfig(MethodConfig):
    """Settings of the loss."""

    normalization: Normalization = "batch"
    """What the sum is divided by. Default: the BN-BCE of saliency regularization, the strongest in its Table 2."""
    g_alpha: float = -4.45
    """g(p) = g_alpha · p^g_gamma + g_beta of "partial_bce". Two public re-implementations; g(0.1) = 5.005, g(1) = 1."""
    g_beta: float = 5.45
    g_gamma: float = 1.0


class PartialBCE(Method[PartialBCEConfig]):
    """Binary cross-entropy on known cells, whatever the head is."""

    Config = PartialBCEConfig
    batch_global = ("number of known cells",)

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Known cells only."""
        known, config = labels != 0, self.config
        g = (config.g_alpha, config.g_beta, config.g_gamma)
        return {"total": self.reduce(bce_cells(outputs["logits"], labels), known, config.normalization, g=g)}


class KnownBCEConfig(LinearConfig, PartialBCEConfig):
    """Settings of `bce`."""


class KnownBCE(PartialBCE):
    """Binary cross-entropy on known cells, with a linear layer on pooled features."""

    Config = KnownBCEConfig
