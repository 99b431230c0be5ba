"""Query2Label: a learned query for each class looks at the map through two decoder layers; with its asymmetric loss.

Source
Liu, Zhang, Yang, Su, Zhu: Query2Label: A Simple Transformer Way to Multi-Label Classification, arXiv:2107.10834. Loss:
Ridnik et al.: Asymmetric Loss for Multi-Label Classification, ICCV 2021.

Objective
Logits of the head (`models.heads.query2label`); L = sum over known cells of the asymmetric loss (`losses.asymmetric`)
with gamma 0 for present and 2 for absent cells and no clip, no gradient through its weight, divided as `normalization`
says: "official" is the official code's 1000 · sum / (B·C).

Unknown cells
Ignored: paper and official code have complete labels. With `unknown="absent"` they are learned as absent.

Settings
Those of head and loss are from the official code. At its widths the head has about 150 million weights on maps of 2048
channels; `reduction=256 feed_forward=1024` is one for a laptop. Its recipe of the loop, in words of this one: a
ResNet-101 at 448 pixels, AdamW with learning rate 1e-4 and weight decay 1e-2, OneCycle over 80 epochs with a warm-up of
0.2, a moving average of 0.9997, batches of 64 to 128, fp16; it reports the best epoch on the test images, which is
never done here.
The default divisor is the number of known cells, ours. "official" divides by all cells, so that a batch in which less
is known has a smaller loss; Adam does not feel the factor 1000, while SGD and clip_norm do.

Known deviations
- The position code leaves out the 1e-6 in its divisor.
- Cutout and RandAugment of the recipe, and its early stop, are not here.
- The official loss adds 1e-5 inside its logarithms; here they are computed from logits, which needs none.
"""

from typing import Literal

from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from partlabel.losses.normalization import Normalization
from partlabel.methods.asl import AsymmetricLoss, AsymmetricLossConfig
from partlabel.methods.base import Context
from partlabel.methods.config import Query2LabelHeadConfig
from partlabel.models.heads import HeadSpec

_OFFICIAL_SCALE = 1000.0
"""What the official code multiplies the mean over all cells by."""


class Query2LabelConfig(Query2LabelHeadConfig, AsymmetricLossConfig):
    """Settings of `query2label`."""

    gamma_negative: float = Field(default=2.0, ge=0)
    """Focusing of absent cells. Official code: 2."""
    clip: float = Field(default=0.0, ge=0, lt=1)
    """Probability margin of absent cells. Official code: none."""
    normalization: Literal[Normalization, "official"] = "batch"
    """What the sum is divided by. Ours; "official": 1000 times the sum over images and classes, known or not."""


class Query2Label(AsymmetricLoss[Query2LabelConfig]):
    """A query for each class, and the asymmetric loss on known cells."""

    Config = Query2LabelConfig

    @classmethod
    def head(cls, config: Query2LabelConfig, context: Context) -> HeadSpec:
        """Encoder and decoder."""
        return HeadSpec(kind="query2label", settings=config.model_dump(include=set(Query2LabelHeadConfig.model_fields)))

    def normalized(self, cells: Float[Tensor, "batch classes"], known: Bool[Tensor, "batch classes"]) -> Tensor:
        """Divided as the settings say."""
        if self.config.normalization == "official":
            return _OFFICIAL_SCALE * self.reduce(cells, known, "class")
        return self.reduce(cells, known, self.config.normalization)
