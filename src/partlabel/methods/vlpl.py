"""Vision-language pseudo-labels (VLPL).

Source
Xing, Xiong, Stylianou, Sastry, Gong, Jacobs: Vision-Language Pseudo-Labels for Single-Positive Multi-Label Learning,
CVPR Workshops 2024.

Objective
Divided by B·C, with p = σ(z) and nl(u) = -log(u + 1e-7):
    present                                    nl(p)
    unknown, and its prior above `threshold`   weight·[(1 - e)·nl(p) + e·nl(1 - p)]
    every other unknown                        -alpha·[p·nl(p) + (1 - p)·nl(1 - p)], as in `entropy_maximization`
The prior is the similarity of image and class name by CLIP, softmax over the classes at temperature 0.01. Here it is a
file of scores by whatever tagger; `scale` says what becomes of them. A cell that it says nothing of is one of the
others.

Unknown cells
Softly taken as present where the prior finds them likely, else kept undecided; never taken as absent.

Settings
Official code (alpha / learning rate; 10 epochs, batch 8): VOC .2/1e-5, COCO and NUS .1/1e-5, CUB .01/1e-4.

Known deviations
Known absent cells, which the paper has not, cost nl(1 - p). Pseudo-labels of absence are commented out in the official
loss, and left out here. CLIP sees each image as the augmentation left it there; here the prior is fixed.
"""

import torch
from jaxtyping import Bool, Float, Int8
from pydantic import Field
from torch import Tensor

from partlabel.losses.precision import at_least_float32
from partlabel.methods.base import Clock, Context, Index, Labels, Outputs
from partlabel.methods.tools.prior import PriorConfig, PriorMethod
from partlabel.models.tagger import Tagger

EPSILON = 1e-7


class VLPLConfig(PriorConfig):
    """Settings of `vlpl`."""

    threshold: float = Field(default=0.3, ge=0, le=1)
    """Prior above which an unknown cell is taken as present. Official code: 0.3."""
    alpha: float = Field(default=0.2, ge=0)
    """Weight of the entropy of unknown cells. Official code: 0.2 for VOC; others in the module's text."""
    weight: float = Field(default=0.7, ge=0)
    """Weight of cells that are taken as present. Official code: 0.7."""
    smoothing: float = Field(default=0.1, ge=0, lt=0.5)
    """e, the weight of the opposite side in these. Official code: 0.1."""
    warmup_epochs: int = Field(default=0, ge=0)
    """Epochs in which no cell is taken as present. Official code: 0."""


class VLPL(PriorMethod[VLPLConfig]):
    """Entropy maximization, and pseudo-labels of presence from a prior."""

    Config = VLPLConfig

    likely: Tensor

    def __init__(self, tagger: Tagger, config: VLPLConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.register_buffer("likely", self.prior > config.threshold, persistent=False)

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Mean over all cells; `pseudo_share` is the share of cells that the prior makes present."""
        config = self.config
        pseudo = self.likely[index] & (labels == 0) & (clock.epoch >= config.warmup_epochs)
        cells = vlpl_cells(
            outputs["logits"],
            labels,
            pseudo,
            alpha=config.alpha,
            weight=config.weight,
            smoothing=config.smoothing,
        )
        return {"total": self.reduce(cells), "pseudo_share": pseudo.to(torch.float32).mean()}


def vlpl_cells(
    logits: Float[Tensor, "batch classes"],
    labels: Int8[Tensor, "batch classes"],
    pseudo: Bool[Tensor, "batch classes"],
    *,
    alpha: float,
    weight: float,
    smoothing: float,
) -> Float[Tensor, "batch classes"]:
    """Loss of each cell, with nl(u) = -log(u + 1e-7); see the module.

    Args:
        logits: z, with p = σ(z).
        labels: +1, -1, 0.
        pseudo: unknown cells that are taken as present; ignored where the label is known.
        alpha: weight of the entropy of other unknown cells, which is differentiated as a whole.
        weight: of cells that are taken as present.
        smoothing: weight of the opposite side in these.
    """
    z = at_least_float32(logits)
    p, q = torch.sigmoid(z), torch.sigmoid(-z)
    if_present, if_absent = -torch.log(p + EPSILON), -torch.log(q + EPSILON)
    softly = weight * ((1 - smoothing) * if_present + smoothing * if_absent)
    undecided = -alpha * (p * if_present + q * if_absent)
    unknown = torch.where(pseudo, softly, undecided)
    return torch.where(labels == 1, if_present, torch.where(labels == -1, if_absent, unknown))
