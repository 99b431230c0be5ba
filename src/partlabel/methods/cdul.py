"""Pseudo-labels of a prior that follow the network (CDUL).

Source
Abdelfattah, Guo, Li, Wang, Wang: CDUL: CLIP-Driven Unsupervised Learning for Multi-Label Image Classification, ICCV
2023. There is no official code; what follows is the second half of the paper, its training, with the numbers that it
leaves open chosen here.

Objective
Every cell has a pseudo-label σ(θ). It begins with the prior: θ = logit(prior) + a, where the constant a is such that an
image has K pseudo-present classes on average, if K (`expected_positives`) is given, else 0. The network learns by
    CE(σ(θ), p) = -σ(θ)·log p - (1 - σ(θ))·log(1 - p),        p = σ(z),
divided by the number of cells that have a prior or a label. Before each epoch but the first the pseudo-labels follow
the network,
    θ <- θ - step·N(σ(θ); 1/2, bandwidth)·(σ(θ) - p),
the gradient of CE(p, σ(θ)) in θ, weighted by a normal density. So undecided pseudo-labels move, and sure ones stay.

Unknown cells
Each has its pseudo-label. A cell that the prior says nothing of is left out; it is not taken as absent.

Settings
Step and bandwidth are not published. Ours: at a bandwidth of 0.2 the density at 1/2 is 2, so that with a step of 1 a
pseudo-label that the network contradicts moves by at most one logit an epoch.

Known deviations
The paper's prior joins CLIP's softmax over the classes of the whole image with that of its parts. Here it is a file of
scores of whatever tagger; `scale` says what becomes of them. The paper has no labels; here known cells keep theirs, and
p of the update is that of the plain view in eval mode. θ is state of the method, 4·N·C bytes.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from partlabel.losses.precision import at_least_float32
from partlabel.methods.base import Clock, Context, Index, Labels, Outputs, Seen
from partlabel.methods.tools.prior import PriorConfig, PriorMethod
from partlabel.models.tagger import Tagger

_EDGE = 1e-4
"""Priors are kept this far from 0 and 1, so that θ is finite."""


class CDULConfig(PriorConfig):
    """Settings of `cdul`."""

    step: float = Field(default=1.0, ge=0)
    """Length of a step of the pseudo-labels; 0: they stay. Ours; not published."""
    bandwidth: float = Field(default=0.2, gt=0)
    """Standard deviation of the density around 1/2 by which they move. Ours; not published."""
    expected_positives: float | None = Field(default=None, gt=0)
    """K, mean number of present classes in an image, which pseudo-labels begin with; None: as the prior has it. Ours.
    """


class CDUL(PriorMethod[CDULConfig]):
    """Soft pseudo-labels from a prior, which follow the network where they are undecided."""

    Config = CDULConfig

    theta: Tensor

    def __init__(self, tagger: Tagger, config: CDULConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.register_buffer("theta", first_pseudo_labels(self.prior, config.expected_positives))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Pseudo-labels have their classes along the second axis."""
        return {**super().class_axes, "theta": (1,)}

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Mean over the cells with a label or a prior."""
        soft = torch.sigmoid(self.theta[index])
        target = torch.where(labels == 0, soft, (labels > 0).to(soft.dtype))
        counted = ~target.isnan()
        logits = at_least_float32(outputs["logits"])
        cells = functional.binary_cross_entropy_with_logits(
            logits, target.nan_to_num(0.5).to(logits.dtype), reduction="none"
        )
        return {"total": self.reduce(cells, counted, "batch")}

    def refresh_due(self, clock: Clock) -> bool:
        """At the first step of each epoch but the first."""
        return clock.starts_epoch and clock.epoch > 0 and self.config.step > 0

    def refresh(self, clock: Clock, images: Callable[[], Iterator[Seen]]) -> None:
        """Let the pseudo-labels follow the network."""
        for seen in images():
            theta, p = self.theta[seen.index], torch.sigmoid(seen.logits)
            self.theta[seen.index] = moved(theta, p, self.config.step, self.config.bandwidth)


def first_pseudo_labels(
    prior: Float[Tensor, "images classes"], expected: float | None
) -> Float[Tensor, "images classes"]:
    """θ as training begins, float32; NaN where there is no prior.

    Args:
        prior: in 0..1, NaN where there is none.
        expected: mean number of present classes in an image that the pseudo-labels are to have, among classes with a
            prior; None: θ is the logit of the prior.
    """
    theta = torch.logit(prior.double(), eps=_EDGE)
    scored = theta[~theta.isnan()]
    if expected is None or not len(scored):
        return theta.float()
    goal = min(expected * len(prior), 0.99 * len(scored))
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if torch.sigmoid(scored + middle).sum() > goal else (middle, high)
    return (theta + (low + high) / 2).float()


def moved(theta: Tensor, p: Tensor, step: float, bandwidth: float) -> Tensor:
    """θ after one update towards the probabilities of the network.

    Args:
        theta: float `[n, C]`.
        p: probabilities of the network, float `[n, C]`.
        step: length of the step.
        bandwidth: standard deviation of the normal density around 1/2.
    """
    soft = torch.sigmoid(theta)
    density: Tensor = torch.exp(-((soft - 0.5) ** 2) / (2 * bandwidth**2)) / (bandwidth * (2 * torch.pi) ** 0.5)
    return theta - step * density * (soft - p)
