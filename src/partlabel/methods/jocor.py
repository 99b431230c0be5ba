"""JoCoR, for many labels with BCE.

Wei et al.: Combating noisy labels by agreement: a joint training method with co-regularization, CVPR 2020. Two networks
share one loss per cell, (1 - lambda) · (BCE_f + BCE_g) + lambda · (KL(f‖g) + KL(g‖f)), the divergences of two Bernoulli
variables; both learn from the share R(e) of smallest joint losses. Unknown cells are assumed negative. `unit` as in
co-teaching.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from partlabel.losses.assume_negative import unknown_as_absent
from partlabel.losses.bce import bce_cells
from partlabel.losses.precision import at_least_float32
from partlabel.methods.base import Clock, Index, Labels, Outputs
from partlabel.methods.co_teaching import CoTeaching, CoTeachingConfig, small_loss_cells


class JoCoRConfig(CoTeachingConfig):
    """Settings of `jocor`."""

    agreement: float = Field(default=0.9, ge=0, le=1)
    """lambda: weight of the agreement. Paper: 0.9 (CIFAR-10), 0.85, 0.65 elsewhere."""


class JoCoR(CoTeaching[JoCoRConfig]):
    """Joint training with co-regularization."""

    Config = JoCoRConfig

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """One loss for both networks."""
        completed = unknown_as_absent(labels)
        first, second = at_least_float32(outputs["first"]), at_least_float32(outputs["second"])
        supervised = bce_cells(first, completed) + bce_cells(second, completed)
        joint = (1 - self.config.agreement) * supervised + self.config.agreement * bernoulli_divergence(first, second)
        every = torch.ones_like(labels, dtype=torch.bool)
        chosen = small_loss_cells(joint, every, labels, self.config.unit, self.keep_share(clock))
        return {"total": self.reduce(joint, chosen), "dropped_share": (~chosen).to(torch.float32).mean()}


def bernoulli_divergence(
    first: Float[Tensor, "batch classes"], second: Float[Tensor, "batch classes"]
) -> Float[Tensor, "batch classes"]:
    """KL(p‖q) + KL(q‖p) of p = σ(first), q = σ(second): (p - q) · (first - second), exactly."""
    return (torch.sigmoid(first) - torch.sigmoid(second)) * (first - second)
