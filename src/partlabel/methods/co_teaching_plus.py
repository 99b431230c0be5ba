"""Co-teaching+, for many labels with BCE.

Yu et al.: How does disagreement help generalization against label corruption?, ICML 2019. As co-teaching, but only what
the two networks disagree on takes part: cells whose predicted signs differ; with `unit="image"`, images with such a
cell. While nothing differs in the whole batch everything takes part, as in the official code. Co-teaching alone runs
for the first `agree_epochs`.

With `unit="cell"` a cell is what a sample is in the paper, a known one too: known cells on which both networks agree,
right or wrong, teach nothing; those on which they differ always count, whatever their loss.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from partlabel.methods.base import Clock
from partlabel.methods.co_teaching import Cells, CoTeaching, CoTeachingConfig
from partlabel.methods.tools.distributed import gather_batch


class CoTeachingPlusConfig(CoTeachingConfig):
    """Settings of `co_teaching_plus`."""

    unit: Literal["image", "cell"] = "image"
    """What is ranked and left out: whole images, or single assumed negatives; agreement leaves out known cells too."""
    agree_epochs: int = Field(default=5, ge=0)
    """First epochs in which agreement does not matter. Official code: 5 to 30 by data set."""


class CoTeachingPlus(CoTeaching[CoTeachingPlusConfig]):
    """Co-teaching on what the networks disagree on."""

    Config = CoTeachingPlusConfig
    batch_global: ClassVar[tuple[str, ...]] = ("ranking by loss", "whether the networks disagree anywhere")

    def _candidates(self, logits: tuple[Tensor, Tensor], clock: Clock) -> Cells:
        differs = (logits[0] > 0) != (logits[1] > 0)
        if clock.epoch < self.config.agree_epochs or not gather_batch(differs).any():
            return torch.ones_like(differs)
        return differs
