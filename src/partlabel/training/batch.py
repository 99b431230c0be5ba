"""A training batch: its labels, and what must not happen to it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import default_collate

from partlabel.errors import UsageError
from partlabel.labels import LabelTable


class Step(NamedTuple):
    """What tells which images are to blame for a loss that is not finite."""

    number: int
    images: Tensor
    views: Mapping[str, Tensor]
    logits: Tensor
    loss: Tensor

    def culprits(self) -> Tensor:
        """Numbers of the images whose views or logits are not finite; those of the whole batch if there is none."""
        rows = not_finite_rows(self.views) or not_finite_rows({"logits": self.logits})
        return self.images[rows] if rows else self.images


class Labelled:
    """Collation that adds the labels of the batch, int8 `[B, C]`, from a table whose rows the indices number.

    Args:
        labels: the table.
        collate: how items become a batch; None: torch's way.
    """

    def __init__(self, labels: LabelTable, collate: Callable[[Any], Any] | None) -> None:
        self.labels, self.collate = labels, collate or default_collate

    def __call__(self, items: Any) -> dict[str, Any]:
        """A batch of some items."""
        batch: dict[str, Any] = self.collate(items)
        batch["labels"] = torch.from_numpy(self.labels.rows(batch["index"].numpy()))
        return batch


@contextmanager
def norms_can_average(method: torch.nn.Module) -> Iterator[None]:
    """Refuse a batch that leaves a batch norm in training mode a single value per channel.

    Raises:
        UsageError: it does.
    """

    def check(norm: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if norm.training and inputs[0].numel() == inputs[0].shape[1]:
            raise UsageError(
                "a batch of one image whose map is a single location leaves a batch norm nothing to average; take a "
                "batch_size above 1, a larger size, or frozen_norm"
            )

    norms = [module for module in method.modules() if isinstance(module, _BatchNorm)]
    hooks = [norm.register_forward_pre_hook(check) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def exact(value: Tensor) -> Tensor:
    """A loss for summing up, without waiting for the device; Apple's has no float64."""
    return value.detach() if value.device.type == "mps" else value.detach().double()


def not_finite_rows(tensors: Mapping[str, Tensor]) -> list[int]:
    """Positions in the batch where some tensor holds a NaN or infinity."""
    finite = torch.stack([torch.isfinite(tensor).flatten(1).all(1) for tensor in tensors.values()]).all(0)
    return torch.nonzero(~finite).flatten().tolist()
