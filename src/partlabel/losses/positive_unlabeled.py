"""Variational positive-unlabelled loss of many classes at once, with mixup consistency (PU-MLC, ICME 2024).

The unlabelled set is the whole batch, known present cells included, unless it is said otherwise; only known present
cells are told apart. Half precision is computed in float32. Beside it stand the risks that the paper sets it against:
the unbiased one (uPU; du Plessis et al. 2015) and the non-negative one (nnPU; Kiryo et al. 2017).
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from partlabel.losses.precision import at_least_float32

_EPSILON = 1e-10
"""Added inside every logarithm, as in the official code."""


def adaptive_temperature(
    logits: Float[Tensor, "batch classes"], alpha: int | float, floor: int | float
) -> Float[Tensor, "classes"]:
    """Temperature of each class, τ = min(α · standard deviation of its logits over the batch, 1), but at least `floor`.

    With floor 0 τ is 0 for a single image and for a head whose logits are all alike, and σ(s/τ) is undefined.

    Args:
        logits: s, of the whole batch; no gradient flows back.
        alpha: α.
        floor: least temperature, in [0, 1]; a gradient grows by 1/τ at most.
    """
    deviation = at_least_float32(logits.detach()).std(0, correction=0)
    return (alpha * deviation).clamp(min=floor, max=1)


def variational_loss(
    logits: Float[Tensor, "batch classes"],
    present: Bool[Tensor, "batch classes"],
    gamma: int | float,
    temperature: Float[Tensor, "classes"] | int | float = 1,
    unlabelled: Bool[Tensor, "batch classes"] | None = None,
) -> Float[Tensor, ""]:
    """Σ_c [p̄_c^γ · log p̄_c - mean of log q over the present cells of c], with q = σ(s/τ) and p̄_c the mean of q over
    the batch.

    A class without a present cell has the first part alone, one without an unlabelled cell the second.

    Args:
        logits: s, of the whole batch.
        present: which cells are known present.
        gamma: γ, exponent of the re-balance factor p̄^γ, through which no gradient flows; 0: no re-balance.
        temperature: τ of each class.
        unlabelled: the cells of the mean p̄; all of them if not given.
    """
    q = torch.sigmoid(at_least_float32(logits) / temperature)
    unlabelled = torch.ones_like(present) if unlabelled is None else unlabelled
    mean = _mean(q, unlabelled)
    first = torch.where(unlabelled.any(0), mean.detach() ** gamma * torch.log(mean + _EPSILON), torch.zeros_like(mean))
    return (first - _mean(torch.log(q + _EPSILON), present)).sum()


def prior_risk(
    logits: Float[Tensor, "batch classes"],
    present: Bool[Tensor, "batch classes"],
    prior: Float[Tensor, "classes"],
    unlabelled: Bool[Tensor, "batch classes"] | None = None,
    *,
    non_negative: bool,
) -> Float[Tensor, ""]:
    """Σ_c [π_c · mean of L+ over present cells + N_c], N_c = mean of L- over unlabelled cells - π_c · mean of L- over
    present cells, which stands for the risk of absent cells; L+ = -log σ(s), L- = -log(1 - σ(s)).

    That is the unbiased risk (PU-MLC, eq. 5). N_c is an estimate and can fall below 0, which no risk does. The
    non-negative risk takes max(N_c, 0) and, where N_c is below 0, the gradient of -N_c alone, which undoes the
    overfitting that made it so (Kiryo et al., algorithm 1 with β = 0 and γ = 1, class by class).

    Args:
        logits: s, of the whole batch.
        present: which cells are known present.
        prior: π, share of present cells of each class.
        unlabelled: which cells are unlabelled; all of them if not given.
        non_negative: whether to take the non-negative risk.
    """
    s = at_least_float32(logits)
    unlabelled = torch.ones_like(present) if unlabelled is None else unlabelled
    positive = prior * _mean(functional.softplus(-s), present)
    below = functional.softplus(s)
    negative = _mean(below, unlabelled) - prior * _mean(below, present)
    if not non_negative:
        return (positive + negative).sum()
    # the value of `positive`, with the gradient of -negative
    corrected = positive.detach() - negative + negative.detach()
    return torch.where(negative >= 0, positive + negative, corrected).sum()


def mix_halves(batch: Tensor, permutation: Int64[Tensor, "pairs"], lam: Float[Tensor, ""]) -> Tensor:
    """λ · first half, permuted, + (1 - λ) · second half, along the first axis; of an odd number the middle one is left
    out.

    Args:
        batch: `[B, ...]`, images, maps or targets.
        permutation: order of the first B // 2.
        lam: λ in [0, 1].
    """
    pairs = len(permutation)
    return lam * batch[:pairs][permutation] + (1 - lam) * batch[len(batch) - pairs :]


def mixup_consistency(
    mixed_logits: Float[Tensor, "pairs classes"],
    logits: Float[Tensor, "batch classes"],
    present: Bool[Tensor, "batch classes"],
    permutation: Int64[Tensor, "pairs"],
    lam: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Mean over mixed images of Σ_c (log mixed target - log σ(mixed logit))², the target being 1 if present, else σ(s).

    The gradient flows through the target too, as in the official code.

    Args:
        mixed_logits: logits of the images that `mix_halves` made; at least one.
        logits: s, of the images themselves.
        present: which cells are known present.
        permutation: see `mix_halves`.
        lam: see `mix_halves`.
    """
    probabilities = torch.sigmoid(at_least_float32(logits))
    target = mix_halves(torch.where(present, torch.ones_like(probabilities), probabilities), permutation, lam)
    mixed = torch.sigmoid(at_least_float32(mixed_logits))
    return (torch.log(target + _EPSILON) - torch.log(mixed + _EPSILON)).square().sum(1).mean()


def _mean(values: Float[Tensor, "batch classes"], of: Bool[Tensor, "batch classes"]) -> Float[Tensor, "classes"]:
    """Mean over some cells of each class; 0 where there is none."""
    return torch.where(of, values, torch.zeros_like(values)).sum(0) / of.sum(0).clamp(min=1)
