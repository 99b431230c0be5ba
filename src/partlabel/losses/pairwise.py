"""Pairwise ranking: each present class of an image should score above each known absent one of the same image.

Both losses depend on differences of scores within an image only; unknown cells take no part. Pairs are never written
out: memory and time grow with B·C (times log C for sorting), not with B·C².
"""

import torch
from jaxtyping import Bool, Float, Int8
from torch import Tensor
from torch.nn import functional

Cells = Float[Tensor, "batch classes"]
Labels = Int8[Tensor, "batch classes"]
OfImages = Float[Tensor, "batch"]


def rankable(labels: Labels) -> Bool[Tensor, "batch"]:
    """Images that have a pair: a present class and a known absent one."""
    return (labels == 1).any(1) & (labels == -1).any(1)


def lsep_images(logits: Cells, labels: Labels) -> OfImages:
    """log(1 + Σ exp(s_absent - s_present)) over the pairs of each image; 0 where it has none.

    Li, Song, Luo: Improving Pairwise Ranking for Multi-label Image Classification, CVPR 2017. The sum over pairs is
    the product of two sums, taken in log space.
    """
    pairs = rankable(labels)
    # A sum over no cell is log 0, whose derivative is undefined; such images count 0 below whatever stands here.
    absent = (labels == -1) | ~pairs[:, None]
    present = (labels == 1) | ~pairs[:, None]
    above = torch.logsumexp(logits.masked_fill(~absent, -torch.inf), 1)
    below = torch.logsumexp((-logits).masked_fill(~present, -torch.inf), 1)
    return torch.where(pairs, functional.softplus(above + below), torch.zeros_like(above))


def warp_images(logits: Cells, labels: Labels) -> OfImages:
    """Σ over present j of L(r_j) · mean hinge of the violators of j; 0 for an image without pairs.

    Violators of j are the known absent k with s_k > s_j - 1, r_j their number, their hinge is 1 - s_j + s_k, and
    L(r) = 1 + 1/2 + ... + 1/r.

    Weston, Bengio, Usunier: WSABIE, IJCAI 2011; Gong et al.: Deep Convolutional Ranking for Multilabel Image
    Annotation, ICLR 2014. They estimate r_j by drawing absent classes until one violates; here it is counted, and the
    hinge is the mean over all violators, of which their draw is one.
    """
    absent, present = labels == -1, labels == 1
    classes = logits.shape[1]
    rising = logits.masked_fill(~absent, -torch.inf).sort(1).values
    finite = rising.masked_fill(rising.isneginf(), 0)
    sums = torch.cat(
        [finite.flip(1).cumsum(1).flip(1), torch.zeros_like(finite[:, :1])], 1
    )  # of each place and all after it
    first = torch.searchsorted(rising.detach().contiguous(), (logits - 1).detach().contiguous(), right=True)
    rank = classes - first
    hinges = rank * (1 - logits) + sums.gather(1, first)
    weights = torch.cat(
        [rising.new_zeros(1), torch.arange(1, classes + 1, device=logits.device).to(rising.dtype).reciprocal()]
    )
    cost = weights.cumsum(0)[rank] * hinges / rank.clamp(min=1)
    return (cost * present).sum(1)
