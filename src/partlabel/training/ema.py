"""Exponential moving average of a network's weights and buffers."""

import copy

import torch
from torch import nn


class MovingAverage(nn.Module):
    """A copy of a network whose floating-point parameters and buffers follow it slowly; counters are copied.

    average ← d·average + (1 - d)·value, where d is the decay after a warm-up: min(decay, (1 + n) / (10 + n)) after n
    updates, so that a short training is not dominated by its first weights. Without warm-up d is the decay from the
    first update on, as published recipes have it. Frozen parameters are shared, not copied.

    Args:
        network: what to follow.
        decay: the decay in the long run.
        warmup: whether the decay rises to it.
    """

    updates: torch.Tensor

    def __init__(self, network: nn.Module, decay: float, *, warmup: bool = True) -> None:
        super().__init__()
        self.decay, self.warmup = decay, warmup
        frozen = {id(parameter): parameter for parameter in network.parameters() if not parameter.requires_grad}
        self.network = copy.deepcopy(network, dict(frozen)).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._count: int | None = None  # of `updates`, so that it need not be read from a GPU at each step

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Follow the network by one step."""
        self._count = (int(self.updates) if self._count is None else self._count) + 1
        self.updates.fill_(self._count)
        decay = min(self.decay, (1 + self._count) / (10 + self._count)) if self.warmup else self.decay
        for mine, theirs in zip(_tensors(self.network), _tensors(network), strict=True):
            if mine is theirs:
                continue
            if mine.is_floating_point():
                mine.lerp_(theirs.to(mine.dtype), 1 - decay)
            else:
                mine.copy_(theirs)


def _tensors(network: nn.Module) -> list[torch.Tensor]:
    return [*network.parameters(), *network.buffers()]
