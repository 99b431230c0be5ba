"""The choice of similar images: by labels and side information, and by features."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from partlabel.losses.matching_pursuit import Pursuit, near_pairs
from partlabel.methods.tools.side_information import one_hot

_SAME_IMAGE = 1e-3


class Vectors(NamedTuple):
    """Some images: int64 numbers `[N]`, label vectors y and what the label graph makes of them, both `[N, C]`, and
    features `[N, d]`.
    """

    numbers: Tensor
    y: Tensor
    mixed: Tensor
    features: Tensor


class SimilarImages(nn.Module):
    """Chooses similar images among atoms, never an image itself or one within 0.001 of its features.

    Args:
        pursue: `losses.matching_pursuit.joint_matching_pursuit` with all settings but λ.
        lambdas: λ_y and λ_f, not both 0.
        categories: float32 `[N]`, side information: the number of the category of each training image, -1 for none.
        magnitude: what a category counts in the one-hot vector beside the labels.
    """

    categories: Tensor | None

    def __init__(
        self, pursue: Callable[..., Pursuit], lambdas: tuple[float, float], categories: Tensor | None, magnitude: float
    ) -> None:
        super().__init__()
        self.pursue, self.lambdas, self.magnitude = pursue, lambdas, magnitude
        self.register_buffer("categories", None if categories is None else categories.long(), persistent=False)
        self.count = 0 if categories is None else int(categories.max().clamp(min=0)) + 1

    @torch.no_grad()
    def by_both(self, queries: Vectors, atoms: Vectors) -> Pursuit:
        """Which atoms are similar to each query by labels and features."""
        largest = max(self.lambdas)
        return self.pursue(
            self._beside(queries.y, queries.numbers),
            queries.features,
            self._beside(atoms.mixed, atoms.numbers),
            atoms.features,
            unmixed_labels=self._beside(atoms.y, atoms.numbers),
            lambda_y=self.lambdas[0] / largest,
            lambda_f=self.lambdas[1] / largest,
            excluded=_same(queries.numbers, queries.features, atoms.numbers, atoms.features),
        )

    @torch.no_grad()
    def by_features(self, numbers: Tensor, features: Tensor, atom_numbers: Tensor, atoms: Tensor) -> Pursuit:
        """The same by features alone, whose coefficients count for labels too."""
        excluded = _same(numbers, features, atom_numbers, atoms)
        return self.pursue(features, features, atoms, atoms, lambda_y=0.0, lambda_f=1.0, excluded=excluded)

    def _beside(self, y: Tensor, numbers: Tensor) -> Tensor:
        """Label vectors with the side information of their images after them."""
        if self.categories is None:
            return y
        return torch.cat([y, one_hot(self.categories[numbers], self.count, self.magnitude).to(y.dtype)], 1)


def _same(numbers: Tensor, features: Tensor, other_numbers: Tensor, other_features: Tensor) -> Tensor:
    """Bool `[Q, N]`: pairs of an image with itself or with a copy of it."""
    return (numbers[:, None] == other_numbers) | near_pairs(features, other_features, _SAME_IMAGE)
