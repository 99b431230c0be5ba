"""Sums over images that are exact: the same to the last bit in any order, in any number of parts, added or removed.

Features are rounded to whole multiples of a power of two, and float64 adds whole numbers below 2⁵³ without error. With
`BITS` bits a feature and their products stay below that for 8 million images.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

BITS = 15
"""Bits of the largest feature. Maps in the cache have 11."""
WEIGHT_BITS = 16
"""Bits of the weight of a label, 0 to 1; sums of weighted features are exact for 4 million images."""


def step_for(largest: float) -> float:
    """The power of two whose multiples up to 2^`BITS` reach the largest absolute value of a feature."""
    return math.ldexp(1.0, math.ceil(math.log2(largest)) - BITS) if largest > 0 else 1.0


def whole(features: Float[Tensor, "n d"], step: float) -> Float[Tensor, "n d"]:
    """Features in steps, rounded to whole numbers, float64."""
    return torch.round(features.double() / step)


def rounded_weights(weights: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
    """Weights between 0 and 1 as multiples of 2^-`WEIGHT_BITS`, so that sums with them are exact."""
    found: Tensor = torch.round(weights.double() * 2**WEIGHT_BITS) / 2**WEIGHT_BITS
    return found


@dataclass(frozen=True)
class Moments:
    """Number, sum and sum of products of the features of some images.

    Those of two sets of images without a common one add up to those of both, and can be taken away again.

    Args:
        images: how many.
        total: float64 `[d]`, whole numbers, in steps.
        products: float64 `[d, d]`, whole numbers, in squared steps.
        step: see `step_for`.
    """

    images: int
    total: Float[Tensor, " d"]
    products: Float[Tensor, "d d"]
    step: float

    @classmethod
    def none(cls, features: int, step: float) -> "Moments":
        """Those of no image."""
        zeros = torch.zeros(features + 1, features, dtype=torch.float64)
        return cls(0, zeros[0], zeros[1:], step)

    @classmethod
    def of(cls, features: Float[Tensor, "n d"], step: float) -> "Moments":
        """Those of images, from their features in steps (see `whole`)."""
        return cls(len(features), features.sum(0), features.T @ features, step)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.images + other.images, self.total + other.total, self.products + other.products, self.step)

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(self.images - other.images, self.total - other.total, self.products - other.products, self.step)

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """Mean of the features."""
        return self.step * self.total / self.images

    @property
    def covariance(self) -> Float[Tensor, "d d"]:
        """Mean of the products of deviations from the mean, divided by the number of images."""
        mean = self.total / self.images
        return self.step**2 * (self.products / self.images - mean[:, None] * mean)


@dataclass(frozen=True)
class ClassSums:
    """For each class, the weights of some images and the weighted sum of their features.

    Args:
        weight: float64 `[C]`.
        total: float64 `[C, d]`, in steps.
    """

    weight: Float[Tensor, " classes"]
    total: Float[Tensor, "classes d"]

    @classmethod
    def none(cls, classes: int, features: int) -> "ClassSums":
        """Those of no image."""
        return cls(torch.zeros(classes, dtype=torch.float64), torch.zeros(classes, features, dtype=torch.float64))

    @classmethod
    def of(cls, weights: Float[Tensor, "n classes"], features: Float[Tensor, "n d"]) -> "ClassSums":
        """Those of images, from a weight for each class and their features in steps; exact for weights of
        `rounded_weights` and for 0 and 1.
        """
        weights = weights.double()
        return cls(weights.sum(0), weights.T @ features)

    def __add__(self, other: "ClassSums") -> "ClassSums":
        return ClassSums(self.weight + other.weight, self.total + other.total)

    def __sub__(self, other: "ClassSums") -> "ClassSums":
        return ClassSums(self.weight - other.weight, self.total - other.total)

    def times(self, factor: float) -> "ClassSums":
        """With all weights multiplied."""
        return ClassSums(factor * self.weight, factor * self.total)

    def means(self, step: float) -> Float[Tensor, "classes d"]:
        """Weighted means of the features; 0 where a class has no weight."""
        return step * self.total / self.weight.clamp(min=2.0**-WEIGHT_BITS)[:, None]


def mean_differences(moments: Moments, present: ClassSums, absent: ClassSums) -> Float[Tensor, "classes d"]:
    """m⁺ - m⁻ of each class, of known present and known absent images; the mean of all images stands for m⁻ where no
    absent one is known, and the difference is 0 where m⁺ rests on nothing.
    """
    below = torch.where(absent.weight[:, None] > 0, absent.means(moments.step), moments.mean)
    return torch.where(present.weight[:, None] > 0, present.means(moments.step) - below, 0.0)
