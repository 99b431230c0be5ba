"""The latest label features of known present cells, and what is made of them: cosines, prototypes, a contrast."""

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn
from torch.nn import functional

Features = Float[Tensor, "batch classes features"]
Cells = Float[Tensor, "batch classes"]
States = Int8[Tensor, "batch classes"]
_ROUNDS = 10
"""Of k-means."""


class PositiveBank(nn.Module):
    """The last features of each class in images where it is known present, of length 1, first in, first out.

    Memory is C × size × d numbers: 80 classes, 100 features of 1,024 channels are 33 MB in float32.

    Args:
        classes: number of classes C.
        features: length d of a label feature.
        size: how many are kept of a class, K.
    """

    kept: Tensor
    count: Tensor

    def __init__(self, classes: int, features: int, size: int) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(classes, size, features))
        self.register_buffer("count", torch.zeros(classes, dtype=torch.int64))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Both buffers have a row for each class."""
        return {"kept": (0,), "count": (0,)}

    @torch.no_grad()
    def add(self, features: Features, labels: States) -> None:
        """Keep the features of the known present cells of a batch, in the order of its images."""
        units, size = unit(features.detach()).to(self.kept.dtype), self.kept.shape[1]
        for image, column in torch.nonzero(labels == 1).tolist():
            self.kept[column, int(self.count[column]) % size] = units[image, column]
            self.count[column] += 1

    def mean_cosine(self, features: Features, *, over_empty: bool = False) -> Cells:
        """Mean cosine between each label feature and the kept ones of its class; 0 for a class without any.

        `over_empty` divides by the size of the bank from the start, as if what is not filled yet had cosine 0.
        """
        size = self.kept.shape[1]
        filled = torch.full_like(self.count, size) if over_empty else self.count.clamp(1, size)
        mean = self.kept.sum(1) / filled[:, None]
        return (unit(features).to(mean.dtype) * mean).sum(2)

    @torch.no_grad()
    def prototypes(self, number: int) -> Float[Tensor, "classes number features"]:
        """Centres of k-means of the kept features of each class, of length 1; zeros for a class without any.

        The first centres are kept features at even distances, so that nothing is drawn; a class with fewer features
        than centres has some centres twice.
        """
        found = self.kept.new_zeros(len(self.kept), number, self.kept.shape[2])
        for column, count in enumerate(self.count.tolist()):
            if count:
                found[column] = _centres(self.kept[column, :count], number)
        return found


def _centres(points: Float[Tensor, "points features"], number: int) -> Float[Tensor, "number features"]:
    places = torch.arange(number, device=points.device) * len(points) // number
    centres = points[places]
    for _ in range(_ROUNDS):
        nearest = torch.cdist(points, centres).argmin(1)
        member = functional.one_hot(nearest, number).to(points.dtype)
        sizes = member.sum(0)[:, None]
        centres = torch.where(sizes > 0, member.T @ points / sizes.clamp(min=1), centres)
    return functional.normalize(centres, dim=1)


def unit(features: Tensor) -> Tensor:
    """Features of length 1, at least in float32; zeros stay."""
    wide = features if features.dtype == torch.float64 else features.float()
    return functional.normalize(wide, dim=-1)


def contrast(features: Features, labels: States) -> Float[Tensor, ""]:
    """Mean of 1 - cos of two images' features of a class where both are known present, 1 + cos where both are known and
    one is absent at least, over all such pairs of images in a batch; 0 where there is none.
    """
    units, known = unit(features), labels != 0
    cosine = torch.einsum("ncd,mcd->nmc", units, units)
    both = known[:, None] & known & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)[:, :, None]
    present = (labels == 1)[:, None] & (labels == 1)
    cells = torch.where(present, 1 - cosine, 1 + cosine)
    return torch.where(both, cells, 0.0).sum() / both.sum().clamp(min=1)
