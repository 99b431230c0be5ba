"""Sums and gathers over the batch of all processes."""

import torch
from torch import Tensor, distributed


def process_count() -> int:
    """How many processes share a batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def per_process_total(count: Tensor) -> Tensor:
    """Total of a count over all processes, divided by their number; the count itself in a single process.

    Gradients are averaged over processes, so a loss that divides its local sum by this equals the loss of the whole
    batch divided by the whole count.
    """
    if process_count() == 1:
        return count
    total = count.detach().to(torch.float64 if count.device.type == "cpu" else torch.float32, copy=True)
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def gather_batch(tensor: Tensor) -> Tensor:
    """The tensors of all processes, one after the other along the first axis; the tensor itself in a single process.

    For losses of statistics that no process can take alone. Every process must call it, with equal shapes but for the
    first axis, and compute the same loss of what it returns; then the average of the processes' parameter gradients is
    that of one process with the whole batch.
    """
    world = process_count()
    if world == 1:
        return tensor
    parts = _all_parts(tensor.detach(), world)
    if tensor.requires_grad:
        # Each process has the gradient of its own part only, and averaging divides the sum of them by their number.
        parts[distributed.get_rank()] = tensor.detach() + world * (tensor - tensor.detach())
    return torch.cat(parts)


def _all_parts(tensor: Tensor, world: int) -> list[Tensor]:
    """The tensor of each process. A set smaller than one batch of all processes is shared out unevenly, hence the
    padding.
    """
    length = torch.tensor([len(tensor)], device=tensor.device)
    lengths = [torch.empty_like(length) for _ in range(world)]
    distributed.all_gather(lengths, length)
    sizes = [int(size) for size in torch.cat(lengths)]
    padded = tensor.new_zeros((max(sizes), *tensor.shape[1:]))
    padded[: len(tensor)] = tensor
    parts = [torch.empty_like(padded) for _ in range(world)]
    distributed.all_gather(parts, padded)
    return [part[:size] for part, size in zip(parts, sizes, strict=True)]
