"""Pairwise ranking losses: LSEP and WARP.

Li, Song, Luo: Improving Pairwise Ranking for Multi-label Image Classification, CVPR 2017 (LSEP).
Weston, Bengio, Usunier: WSABIE: Scaling Up To Large Vocabulary Image Annotation, IJCAI 2011, and
Gong et al.: Deep Convolutional Ranking for Multilabel Image Annotation, ICLR 2014 (WARP).
Losses of an image: see `losses.pairwise`. L = mean over the images that have a present and a known absent class.

Assumes of labels: both signs known, in the same images. The papers have complete labels and pair each present class
with all others; here unknown cells take no part in any pair.
The logits order the classes of an image and say nothing else: a constant added to all of them changes no loss, so 0 is
no border between present and absent. Thresholds come from the held-out cells.
Known deviations: LSEP's second stage, a network that predicts thresholds or the number of classes, and its sampling of
pairs (the whole sum costs no more here) are left out; WARP counts the rank that its papers estimate by sampling.
"""

from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from partlabel.errors import AssumptionError
from partlabel.losses.pairwise import lsep_images, rankable, warp_images
from partlabel.losses.precision import at_least_float32
from partlabel.methods.base import Clock, Context, Index, Labels, Method, MethodConfig, Outputs, PooledConfig
from partlabel.methods.tools.distributed import per_process_total
from partlabel.models.tagger import Tagger

_Config = TypeVar("_Config", bound=MethodConfig)


class PairRanking(Method[_Config]):
    """Base of methods whose loss of an image is of its pairs of a known present and a known absent class."""

    batch_global = ("number of images with a pair",)

    def __init__(self, tagger: Tagger, config: _Config, context: Context) -> None:
        super().__init__(tagger, config, context)
        counts = context.labels.counts_by_image()
        if not ((counts.present > 0) & (counts.absent > 0)).any():
            raise AssumptionError(
                "no image of the table has both a known present and a known absent cell, so that there is no pair to "
                "rank; take a method that compares no classes, such as bce"
            )

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Mean over the images that have a pair; `pair_share` says how many those are."""
        pairs = rankable(labels)
        losses = self.image_losses(at_least_float32(outputs["logits"]), labels)
        images = per_process_total(pairs.sum()).to(losses.dtype)
        total = losses.sum() / images.masked_fill(images == 0, 1)
        return {"total": total, "pair_share": pairs.to(torch.float32).mean()}

    def image_losses(self, logits: Float[Tensor, "batch classes"], labels: Labels) -> Float[Tensor, "batch"]:
        """The loss of each image."""
        raise NotImplementedError


class LSEP(PairRanking[PooledConfig]):
    """Log-sum-exp pairwise ranking."""

    Config = PooledConfig

    def image_losses(self, logits: Float[Tensor, "batch classes"], labels: Labels) -> Float[Tensor, "batch"]:
        """The loss of each image."""
        return lsep_images(logits, labels)


class WARP(PairRanking[PooledConfig]):
    """Weighted approximate-rank pairwise loss."""

    Config = PooledConfig

    def image_losses(self, logits: Float[Tensor, "batch classes"], labels: Labels) -> Float[Tensor, "batch"]:
        """The loss of each image."""
        return warp_images(logits, labels)
