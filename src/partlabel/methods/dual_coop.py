"""DualCoOp: a positive and a negative prompt per class, with learned words, on the frozen towers of CLIP.

Source
Sun, Hu, Saenko: DualCoOp: Fast Adaptation to Multi-Label Recognition with Limited Annotations, NeurIPS 2022; its public
code.

Objective
The prompts "[w_1] ... [w_M] NAME." of a class go through the text tower, with learned words w for the positive and
others for the negative one. Their vectors p_k and q_k are compared with each location (`models.heads.dual`):
    a_nk = softmax over locations of T · cos(p_k, f_n)
    z_k  = S · Σ_n a_nk (cos(p_k, f_n) - cos(q_k, f_n)),    probability σ(z_k)
The loss is the asymmetric one of the known cells.

Unknown cells
Ignored. Both signs must be known somewhere.

Settings
Of the public code: 16 words per class, T = 20, S = 100, the vector of the whole image as a location more (not in the
paper), γ+ = 1, γ- = 2, a margin of 0.05. Its recipe is SGD at 0.002 (COCO) or 0.001 (VOC 2007), 50 epochs, the first at
1e-5, batch 32, 448 pixels, cutout and RandAugment without flips; in a reproduction AdamW at 1e-3 and a moving average
gained a point on VOC 2007.
The baseline that TaI-DPT compares itself with is the same with
    image_token=false spatial=20.0855 scale=49.8990 learn_scales=true joint_space="plain"
where both factors are trained.
Towers are frozen, so that maps are computed once: freeze=true.

Known deviations
- The loss is a mean over the known cells of a batch; "sum" with `loss_weight` is the public code's.
- It is computed from z, not from the probability with an epsilon of 1e-6.
- Words are cut to the longest prompt where what follows cannot change the vector, which it cannot in CLIP's.
- The public code chooses the epoch on the test images, which is never done here.
"""

from pydantic import Field

from partlabel.methods.base import Context
from partlabel.methods.tools.dual_prompts import DualPrompts, PromptConfig, prompts, tower_of
from partlabel.models.heads import HeadSpec
from partlabel.models.heads.dual import ClassVectors
from partlabel.models.tagger import Tagger


class DualCoOpConfig(PromptConfig):
    """Settings of `dual_coop`."""

    spatial: float = Field(default=20.0, gt=0)
    """T. Public code: 20."""
    scale: float = Field(default=100.0, gt=0)
    """S. Public code: 100, as a product of 5 and 20."""
    learn_scales: bool = False
    """Whether the logarithms of T and S are trained (TaI-DPT's baseline)."""
    image_token: bool = True
    """Whether the vector of the whole image counts as a location. Public code: yes."""


class DualCoOp(DualPrompts):
    """Prompts for and against each class."""

    Config = DualCoOpConfig
    config: DualCoOpConfig

    def __init__(self, tagger: Tagger, config: DualCoOpConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        tower = tower_of(context)
        self.positive, self.negative = prompts(context, config, tower), prompts(context, config, tower)
        self.settle()

    @classmethod
    def head(cls, config: DualCoOpConfig, context: Context) -> HeadSpec:  # type: ignore[override]
        """The dual head, with vectors that are filled."""
        settings = {
            "spatial": config.spatial,
            "scale": config.scale,
            "learn_spatial": config.learn_scales,
            "learn_scale": config.learn_scales,
            "image_token": config.image_token,
        }
        return HeadSpec(kind="dual", settings=settings)

    def vectors(self) -> ClassVectors:
        """By two passes of the text tower."""
        return ClassVectors(self.positive(), self.negative())
