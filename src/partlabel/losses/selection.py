"""Choosing cells of a mini-batch by their loss, as co-teaching and co-label selection do.

The ranking is global: all candidates of the batch, over images, classes and processes, in one list. A share of n
candidates is rounded down. Cells that tie with the last chosen one are chosen too, so that the choice depends on no
order.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from partlabel.losses.precision import at_least_float32


def smallest_share(
    losses: Float[Tensor, "batch cells"], candidates: Bool[Tensor, "batch cells"], share: int | float
) -> Float[Tensor, ""]:
    """The loss up to which candidates belong to the `share` of smallest losses; -inf if that is none of them."""
    values = at_least_float32(losses.detach()[candidates])
    count = share_of(values.numel(), share)
    if not count:
        return torch.full((), -math.inf, device=losses.device)
    return values.kthvalue(count).values


def largest_share(
    losses: Float[Tensor, "batch cells"], candidates: Bool[Tensor, "batch cells"], share: int | float
) -> Float[Tensor, ""]:
    """The loss from which candidates belong to the `share` of largest losses; inf if that is none of them."""
    return -smallest_share(-losses, candidates, share)


def largest_count(
    values: Float[Tensor, "batch cells"], candidates: Bool[Tensor, "batch cells"], count: int
) -> Float[Tensor, ""]:
    """The value from which candidates belong to the `count` largest, or to all if they are fewer; inf if that is
    none.
    """
    chosen = values.detach()[candidates]
    count = min(count, chosen.numel())
    if not count:
        return values.new_full((), math.inf)
    return -(-chosen).kthvalue(count).values


def share_of(count: int, share: int | float) -> int:
    """A share of a count, rounded down; what is whole but for rounding errors counts as whole."""
    return min(math.floor(share * count + 1e-9), count)
