"""PositiveCoOp: learned words for the positive prompt alone; against a class speaks a learned vector.

Source
Rawlekar, Bhatnagar, Ahuja: PositiveCoOp: Rethinking Prompting Strategies for Multi-Label Recognition with Partial
Annotations, WACV 2025; its public code.

Objective
As `dual_coop`, with p_k = direction of (text vector of the prompt + o_k) and q_k a vector of its own: o and q are
learned, one per class, and no prompt speaks against a class, since captions say what is there.

Unknown cells
Ignored. Both signs must be known somewhere.

Settings
As `dual_coop`. The public code starts o and q from N(0, 1), though the text vector has length 1, so that the prompt is
little of p at first (`offset_scale`); its README has a learning rate of 0.5 (SGD), 52 epochs and loss_weight 0.03 with
normalization="sum".
Towers are frozen, so that maps are computed once: freeze=true.

Known deviations
As of `dual_coop`. The branch of the public code that trains on some of the classes is left out: it cuts the wrong
prompts where the two sets differ.
"""

import torch
from pydantic import Field
from torch.nn import functional

from partlabel.methods.base import Context
from partlabel.methods.dual_coop import DualCoOp, DualCoOpConfig
from partlabel.methods.tools.dual_prompts import DualPrompts, offsets, prompts, tower_of
from partlabel.models.heads.dual import ClassVectors
from partlabel.models.tagger import Tagger


class PositiveCoOpConfig(DualCoOpConfig):
    """Settings of `positive_coop`."""

    offset_scale: float = Field(default=1.0, ge=0)
    """Spread of o at the start. Public code: 1."""


class PositiveCoOp(DualPrompts):
    """Prompts for each class, learned vectors against it."""

    Config = PositiveCoOpConfig
    config: PositiveCoOpConfig
    head = DualCoOp.head  # type: ignore[assignment]

    def __init__(self, tagger: Tagger, config: PositiveCoOpConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        size = (len(context.labels.classes), tagger.backbone.num_features)
        self.prompts = prompts(context, config, tower_of(context))
        self.offset, self.against = offsets(*size), offsets(*size)
        with torch.no_grad():
            self.offset.mul_(config.offset_scale)
        self.settle()

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """And the rows of the learned vectors."""
        return {**super().class_axes, "offset": (0,), "against": (0,)}

    def vectors(self) -> ClassVectors:
        """By one pass of the text tower."""
        positive = functional.normalize(self.prompts() + self.offset, dim=1)
        return ClassVectors(positive, functional.normalize(self.against, dim=1))
