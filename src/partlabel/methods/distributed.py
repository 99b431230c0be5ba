"""Sums over the batch of all processes."""

import torch
from torch import Tensor, distributed


def per_process_total(count: Tensor) -> Tensor:
    """Total of a count over all processes, divided by their number; the count itself in a single process.

    Gradients are averaged over processes, so a loss that divides its local sum by this equals the loss of the whole batch
    divided by the whole count.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return count
    total = count.detach().to(torch.float64 if count.device.type == "cpu" else torch.float32)
    distributed.all_reduce(total)
    return total / distributed.get_world_size()
