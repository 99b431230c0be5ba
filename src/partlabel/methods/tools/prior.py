"""What methods share that learn from a prior matrix: scores of another tagger, read from a file."""

from pathlib import Path
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.formats.prior import read_prior
from partlabel.labels import LabelTable
from partlabel.methods.base import Context, Method
from partlabel.methods.config import PooledConfig
from partlabel.models.tagger import Tagger
from partlabel.progress import SILENT, Reporter

Scale = Literal["softmax", "as_is", "rank"]


class PriorConfig(PooledConfig):
    """Settings of every method that learns from a prior matrix."""

    prior: str | None = None
    """CSV or Parquet file of scores for the training images, as `evaluate --scores` reads it; classes, images and cells
    may be missing. Needed.
    """
    scale: Scale = "softmax"
    """What becomes of scores before they are compared with a threshold: "softmax" over the classes of an image, as of
    cosines (the papers); "as_is", for a file of probabilities; "rank", the share of images with a lower score for the
    class, for scores of any other kind. The last two are ours.
    """
    temperature: float = Field(default=0.01, gt=0)
    """What scores are divided by before a softmax. The papers: 0.01, for cosines of CLIP."""


_Config = TypeVar("_Config", bound=PriorConfig)


class PriorMethod(Method[_Config]):
    """Base of methods that learn from a prior matrix.

    Attributes:
        prior: float32 `[N, C]`, in 0..1, by the scale that the settings name; NaN where nothing is said of a cell. It
            is made anew from the asset "prior", so it is in no checkpoint.
    """

    learns_from_unknown = True

    prior: Tensor

    def __init__(self, tagger: Tagger, config: _Config, context: Context) -> None:
        super().__init__(tagger, config, context)
        scores = context.assets.get("prior")
        if scores is None:
            scores = self.own_assets(config, context.labels)["prior"]
        self.register_buffer("prior", scaled(scores, config.scale, config.temperature), persistent=False)

    @classmethod
    def own_assets(cls, config: _Config, labels: LabelTable, reporter: Reporter = SILENT) -> dict[str, Tensor]:
        """The scores, as they stand in the file."""
        if config.prior is None:
            raise UsageError(
                f"{cls.__name__} learns from scores of another tagger; name their file with the setting prior"
            )
        found = read_prior(Path(config.prior), labels.images, labels.classes)
        reporter.say(found.told)
        return {"prior": torch.from_numpy(found.scores)}


def scaled(scores: Float[Tensor, "images classes"], scale: Scale, temperature: float) -> Tensor:
    """Scores as numbers in 0..1, float32 `[N, C]`; NaN stays.

    Args:
        scores: of each image and class, NaN where there is none.
        scale: "softmax" over the scored classes of an image; "as_is"; or "rank", the share of the scored images of a
            class that are below, equal ones counted half.
        temperature: of the softmax.

    Raises:
        UsageError: scores that are to be taken as they are leave 0..1.
    """
    missing = scores.isnan()
    if scale == "as_is":
        if (scores < 0).any() or (scores > 1).any():
            raise UsageError(
                f"scores of the prior reach from {scores[~missing].min():g} to {scores[~missing].max():g}, so they are "
                "no probabilities; set scale to softmax or rank"
            )
        return scores.clone()
    if scale == "softmax":
        shares = torch.softmax(scores.masked_fill(missing, -torch.inf) / temperature, 1)
        return shares.masked_fill(missing, torch.nan)
    return torch.stack([_ranks(column) for column in scores.unbind(1)], 1)


def _ranks(scores: Float[Tensor, "images"]) -> Float[Tensor, "images"]:
    scored = ~scores.isnan()
    ordered = scores[scored].sort().values
    below = torch.searchsorted(ordered, scores[scored].contiguous())
    upto = torch.searchsorted(ordered, scores[scored].contiguous(), right=True)
    ranks = torch.full_like(scores, torch.nan)
    ranks[scored] = (below + upto).to(scores.dtype) / (2 * max(len(ordered), 1))
    return ranks
