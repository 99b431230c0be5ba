"""ML-Decoder: a few fixed queries look at the map, and each answers for a group of classes; with the asymmetric loss.

Source
Ridnik, Sharir, Ben-Cohen, Ben-Baruch, Noy: ML-Decoder: Scalable and Versatile Classification Head, WACV 2023. Loss:
Ridnik et al.: Asymmetric Loss for Multi-Label Classification, ICCV 2021.

Objective
Logits of the head (`models.heads.ml_decoder`); L = sum over known cells of the asymmetric loss (`losses.asymmetric`)
with gamma 0 for present and 4 for absent cells and clip 0.05, divided as `normalization` says.

Unknown cells
Ignored: paper and official code have complete labels. With `unknown="absent"` they are learned as absent.

Settings
Those of the head are from the official code: at most 100 queries, drawn from N(0, 1) and never learned, 768 channels, 8
heads, a feed-forward part of 2048, dropout 0.1. Those of the loss are from the official training script. Its recipe of
the loop, in words of this one: 448 pixels without the backbone's mean and spread, Adam with learning rate 1e-4 and
weight decay 1e-4, OneCycle over 40 epochs with a warm-up of 0.2, batches of 56, a moving average of 0.9997, fp16. It
reports the better of the network and its average in the best epoch on the test images, which is never done here.
`queries="words"` is the variant of the paper that can score classes by their names: with label vectors that are given
nothing is learned for a class alone.

Known deviations
- The sum is divided by the number of known cells; official: not divided. With Adam that changes the scale alone.
- Where the classes do not fill the groups (101 classes, 100 groups), queries that no class reads are left out; they
  would change no logit.
- Cutout and RandAugment of the recipe are not among the views.
- The zero-shot variant is given a bias and first weights as the group head has them: ours, where the paper is silent.
"""

from typing import Literal, Self

from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from partlabel.losses.normalization import Normalization
from partlabel.methods.asl import AsymmetricLoss, AsymmetricLossConfig
from partlabel.methods.base import Context
from partlabel.methods.config import MLDecoderHeadConfig
from partlabel.methods.tools.label_vectors import fill_label_vectors, label_vector_settings
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger


class MLDecoderConfig(MLDecoderHeadConfig, AsymmetricLossConfig):
    """Settings of `ml_decoder`; `label_vectors` and `label_features` count only with queries="words"."""

    queries: Literal["fixed", "learned", "words"] = "fixed"  # type: ignore[assignment]
    """Queries stay as they are drawn, are learned, or are made from vectors of the class names, one for each class.
    Official code: fixed; for zero-shot tagging made from words.
    """
    label_vectors: str = "auto"
    """Source of label vectors: "auto", "learned", a text encoder, or a .txt or .vec file of word vectors. Paper: word
    vectors of 300 numbers.
    """
    label_features: int = Field(default=300, gt=0)
    """Length of learned label vectors. Paper: 300, of word vectors."""
    normalization: Normalization = "batch"
    """What the sum is divided by. As in `asl`, ours; official code: "sum"."""

    @model_validator(mode="after")
    def _what_counts(self) -> Self:
        if self.queries == "words" and self.groups != type(self).model_fields["groups"].default:
            raise ValueError('groups has no effect with queries "words", of which each class has its own; leave it out')
        return self


class MLDecoder(AsymmetricLoss[MLDecoderConfig]):
    """Queries for groups of classes, and the asymmetric loss on known cells."""

    Config = MLDecoderConfig

    def __init__(self, tagger: Tagger, config: MLDecoderConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        if config.queries == "words":
            fill_label_vectors(tagger, context)

    @classmethod
    def label_vectors(cls, config: MLDecoderConfig) -> str | None:
        """The source that the settings name, for queries made from words."""
        return config.label_vectors if config.queries == "words" else None

    @classmethod
    def head(cls, config: MLDecoderConfig, context: Context) -> HeadSpec:
        """The decoder, for the label vectors at hand."""
        settings = config.model_dump(include=set(MLDecoderHeadConfig.model_fields))
        if config.queries == "words":
            settings |= label_vector_settings(context, config.label_features)
        return HeadSpec(kind="ml_decoder", settings=settings)

    def normalized(self, cells: Float[Tensor, "batch classes"], known: Bool[Tensor, "batch classes"]) -> Tensor:
        """Divided as the settings say."""
        return self.reduce(cells, known, self.config.normalization)
