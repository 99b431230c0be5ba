"""DualCoOp++: prompts for evidence beside the positive and the negative ones, and classes that compete for locations.

Source
Hu, Sun, Sclaroff, Saenko: DualCoOp++: Fast and Effective Adaptation to Multi-Label Recognition with Limited
Annotations, TPAMI 2023. The public code of the authors has no part for it; formulas are those of a public
reproduction with run logs.

Objective
As `dual_coop`, but locations are weighed by a third prompt e_k, and the positive cosine of a location is multiplied by
a factor that is larger for the class that fits the location best (`models.heads.dual`):
    a_nk = softmax over locations of T · cos(e_k, f_n)
    u_nk = softmax over classes of W · cos(p_k, f_n) · max_j cos(p_j, f_n)
    z_k  = S · Σ_n a_nk (w_nk cos(p_k, f_n) - cos(q_k, f_n))
with w = 1 + u (winner="double") or w = u / max_k u (winner="share"). The reproduction uses the first on VOC 2007 and
NUS-WIDE and the second on COCO, under one name. "share" leaves next to nothing of all other classes at a location: of
cosines .30, .28, .10 the factors are 1, .30, 6e-6, so that two things at one location are at war.

Unknown cells
Ignored. Both signs must be known somewhere.

Settings
Of the reproduction: 21 words per class, T = e³ and trained, S = e³ and fixed, W = 200, locations without position code
(joint_space="plain") and without the vector of the whole image. Its recipe is SGD at 0.005, 50 epochs, batch 64, 448
pixels (VOC 2007: 512), loss_weight 0.02 with normalization="sum".
Towers are frozen, so that maps are computed once: freeze=true.

Known deviations
As of `dual_coop`.
"""

import math
from typing import Literal

from pydantic import Field

from partlabel.methods.base import Context
from partlabel.methods.tools.dual_prompts import DualPrompts, PromptConfig, prompts, tower_of
from partlabel.models.heads import HeadSpec
from partlabel.models.heads.dual import ClassVectors
from partlabel.models.tagger import Tagger


class DualCoOpPlusConfig(PromptConfig):
    """Settings of `dual_coop_plus`."""

    context: int = Field(default=21, ge=1)
    """Learned words before the name of a class. Reproduction: 21."""
    spatial: float = Field(default=math.exp(3), gt=0)
    """T at the start; its logarithm is trained. Reproduction: e³."""
    scale: float = Field(default=math.exp(3), gt=0)
    """S, fixed. Reproduction: e³."""
    winner: Literal["double", "share"] = "double"
    """How classes compete: "double" for w = 1 + u, "share" for w = u / max u. Reproduction: either, by data set; ours:
    the one that lets two classes share a location.
    """
    winner_scale: float = Field(default=200.0, gt=0)
    """W. Reproduction: 200."""


class DualCoOpPlus(DualPrompts):
    """Prompts of evidence, for and against each class."""

    Config = DualCoOpPlusConfig
    config: DualCoOpPlusConfig

    def __init__(self, tagger: Tagger, config: DualCoOpPlusConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        tower = tower_of(context)
        self.positive, self.negative, self.evidence = (prompts(context, config, tower) for _ in range(3))
        self.settle()

    @classmethod
    def head(cls, config: DualCoOpPlusConfig, context: Context) -> HeadSpec:  # type: ignore[override]
        """The dual head, with vectors that are filled."""
        settings = {
            "spatial": config.spatial,
            "scale": config.scale,
            "learn_spatial": True,
            "image_token": False,
            "evidence": True,
            "winner": config.winner,
            "winner_scale": config.winner_scale,
        }
        return HeadSpec(kind="dual", settings=settings)

    def vectors(self) -> ClassVectors:
        """By three passes of the text tower."""
        return ClassVectors(self.positive(), self.negative(), self.evidence())
