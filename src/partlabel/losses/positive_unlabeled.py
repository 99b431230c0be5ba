"""Variational positive-unlabelled loss of many classes at once, with mixup consistency (PU-MLC, ICME 2024).

The unlabelled set is the whole batch; only known present cells are told apart. Half precision is computed in float32.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from partlabel.losses.precision import at_least_float32

_EPSILON = 1e-10
"""Added inside every logarithm, as in the official code."""


def adaptive_temperature(
    logits: Float[Tensor, "batch classes"], alpha: int | float, floor: int | float
) -> Float[Tensor, "classes"]:
    """Temperature of each class, τ = min(α · standard deviation of its logits over the batch, 1), but at least `floor`.

    Without the floor τ is 0 for a single image and for a head whose logits are all alike, and σ(s/τ) is undefined.

    Args:
        logits: s, of the whole batch; no gradient flows back.
        alpha: α.
        floor: least temperature, in (0, 1]; a gradient grows by 1/τ at most.
    """
    deviation = at_least_float32(logits.detach()).std(0, correction=0)
    return (alpha * deviation).clamp(min=floor, max=1)


def variational_loss(
    logits: Float[Tensor, "batch classes"],
    present: Bool[Tensor, "batch classes"],
    gamma: int | float,
    temperature: Float[Tensor, "classes"] | int | float = 1,
) -> Float[Tensor, ""]:
    """Σ_c [p̄_c^γ · log p̄_c - mean of log q over the present cells of c], with q = σ(s/τ) and p̄_c the mean of q over
    the batch.

    A class without a present cell has the first part alone.

    Args:
        logits: s, of the whole batch.
        present: which cells are known present.
        gamma: γ, exponent of the re-balance factor p̄^γ, through which no gradient flows; 0: no re-balance.
        temperature: τ of each class.
    """
    q = torch.sigmoid(at_least_float32(logits) / temperature)
    mean = q.mean(0)
    unlabelled = mean.detach() ** gamma * torch.log(mean + _EPSILON)
    log_present = torch.where(present, torch.log(q + _EPSILON), torch.zeros_like(q)).sum(0)
    return (unlabelled - log_present / present.sum(0).clamp(min=1)).sum()


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
