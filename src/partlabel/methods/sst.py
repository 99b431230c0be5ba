"""Structured semantic transfer (SST): labels found by co-occurrence within an image and by likeness across images.

Chen, Pu, Wu, Xie, Lin: Structured Semantic Transfer for Multi-Label Recognition with Partial Labels, AAAI 2022.

On the label features S of the `ssgrl` head, L = L_known + L_intra + L_inter + r (10 L_pair + 0.05 L_contrast):
    L_known     binary cross-entropy of known cells, divided by their number in the batch.
    L_intra     the same with unknown cells as present whose mean pair probability with the known present classes of the
                image reaches the margin; from epoch 5.
    L_inter     the same with those whose mean cosine to the last 100 features of the class in other images, where it is
                known present, reaches the margin; from epoch 5.
    L_pair      asymmetric loss (γ₊ = 1, γ₋ = 2, clip 0.05) of pairs of classes, present where both are.
    L_contrast  1 - cos of two images' features of a class that both show, else 1 + cos, over known cells.
r rises from 0 to 1 in the first epoch. The margin falls from 0.95 by 0.025 an epoch to 0.75.

Unknown cells: ignored, and taken as present where found so; never as absent, unless `unknown_pairs="absent"`.
Settings: those of the official code, where nothing else is said.
Known deviations: pairs with an unknown class carry no loss, unless the other one is known absent; the official code has
them as absent. The cosine is a mean over the features that there are; the official code starts with a bank of zeros
(`empty_bank="zeros"`). The contrast is a mean over all pairs of known cells; the official code cuts the negative ones
to twice as many random and as many hardest ones as there are positive pairs. A pair is the same in either order, so
that the order of the classes does not count; the official code puts the features of the two one after the other.
"""

from collections.abc import Mapping
from typing import Literal, TypeVar

from pydantic import Field
from torch import Tensor

from partlabel.methods.base import Clock, Context, Index, Labels, Outputs
from partlabel.methods.tools.label_transfer import LabelTransfer, LabelTransferConfig, ramp
from partlabel.models.label_pairs import LabelPairs, mean_pair_probability
from partlabel.models.tagger import Tagger


class PairTransferConfig(LabelTransferConfig):
    """Settings of methods with a head for pairs of classes."""

    pair_width: int = Field(default=1024, gt=0)
    """Width of the pair head. Official code: 1024."""
    pair_weight: float = Field(default=10.0, ge=0)
    """Weight of the pair loss. Official code: 10."""
    unknown_pairs: Literal["ignored", "absent"] = "ignored"
    """How pairs with an unknown and no absent class are read. Ours; official code: "absent"."""
    margin: float = Field(default=0.95, ge=0)
    """Score from which an unknown cell is found present, at first. Official code: 0.95."""
    margin_step: float = Field(default=0.025, ge=0)
    """What the margin falls by in an epoch. Official code: 0.025."""
    lowest_margin: float = Field(default=0.75, ge=0)
    """Where the margin stays. Official code: 0.75."""


class SSTConfig(PairTransferConfig):
    """Settings of `sst`."""

    empty_bank: Literal["left_out", "zeros"] = "left_out"
    """What the places of the bank that are not filled yet count in the mean cosine. Ours; official code: "zeros"."""


_Config = TypeVar("_Config", bound=PairTransferConfig)


class PairTransfer(LabelTransfer[_Config]):
    """Base of methods with a head for pairs of classes."""

    def __init__(self, tagger: Tagger, config: _Config, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.pairs = LabelPairs(self.width, len(tagger.classes), config.pair_width)

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of the tagger, the bank and the pair head."""
        return {**super().class_axes, **{f"pairs.{name}": axes for name, axes in self.pairs.class_axes.items()}}

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """`logits`, `semantic` `[B, C, d]`, and logits of pairs, `pairs` `[B, C, C]`."""
        outputs = super().forward(views)
        return {**outputs, "pairs": self.pairs(outputs["semantic"])}

    def margin(self, clock: Clock) -> float:
        """The margin of an epoch; it begins to fall when unknown cells begin to count."""
        config = self.config
        falls = max(clock.epoch - config.from_epoch, 0)
        return max(config.margin - config.margin_step * falls, min(config.lowest_margin, config.margin))


class SST(PairTransfer[SSTConfig]):
    """Structured semantic transfer."""

    Config = SSTConfig

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`supervised`, `pairs` and `contrast`; from the epoch on in which unknown cells count, `intra` and `inter`."""
        config, logits, margin = self.config, outputs["logits"], self.margin(clock)
        losses = self.supervised(outputs, labels, index)
        losses["pairs"] = self.pair_loss(outputs["pairs"], labels, config.unknown_pairs)
        structure = config.pair_weight * losses["pairs"] + config.contrast_weight * losses["contrast"]
        losses["total"] = losses["supervised"] + ramp(clock) * structure
        if clock.epoch >= config.from_epoch:
            intra = mean_pair_probability(outputs["pairs"].detach(), labels)
            inter = self.bank.mean_cosine(outputs["semantic"].detach(), over_empty=config.empty_bank == "zeros")
            losses["intra"] = self.with_found(logits, labels, intra >= margin)
            losses["inter"] = self.with_found(logits, labels, inter >= margin)
            losses["total"] = losses["total"] + losses["intra"] + losses["inter"]
        self.keep(outputs, labels, index)
        return losses
