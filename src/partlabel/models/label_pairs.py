"""Logits of pairs of classes: do both occur in the image?"""

import torch
from jaxtyping import Float, Int8, Int64
from torch import Tensor, nn

from partlabel.errors import UsageError

MOST_CLASSES = 200
"""19,900 pairs; a batch of 8 with a width of 1,024 holds 650 MB for them alone."""


class LabelPairs(nn.Module):
    """From label features S to a logit for each pair of classes, i < j: z_ij = w_ij · ReLU(P (S_i + S_j) + b) + c_ij.

    A pair is the same in either order. Memory is B × C (C - 1) / 2 × width numbers for the activations, and C² × width
    for the weights.

    Args:
        features: length d of a label feature.
        classes: number of classes C.
        width: of the hidden layer.

    Raises:
        UsageError: more than 200 classes.
    """

    first: Int64[Tensor, " pairs"]
    second: Int64[Tensor, " pairs"]

    def __init__(self, features: int, classes: int, width: int) -> None:
        super().__init__()
        if classes > MOST_CLASSES:
            raise UsageError(
                f"{classes:,} classes are {classes * (classes - 1) // 2:,} pairs, and this method has weights for "
                f"each; take one without pairs, such as sarb or ssgrl, or at most {MOST_CLASSES} classes"
            )
        first, second = torch.triu_indices(classes, classes, 1)
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)
        self.projection = nn.Linear(features, width)
        self.bias = nn.Parameter(torch.zeros(classes, classes))
        self.weight = nn.Parameter(torch.empty(classes, classes, width).uniform_(-(width**-0.5), width**-0.5))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Weights and constants by both classes of a pair."""
        return {"weight": (0, 1), "bias": (0, 1)}

    def forward(self, features: Float[Tensor, "batch classes features"]) -> Float[Tensor, "batch classes classes"]:
        """Logits `[B, C, C]`, symmetric; 0 on the diagonal, which says nothing."""
        half = self.projection(features) - self.projection.bias / 2
        hidden = torch.relu(half[:, self.first] + half[:, self.second])
        weight, bias = self.weight + self.weight.transpose(0, 1), self.bias + self.bias.T
        pairs = (hidden * weight[self.first, self.second]).sum(2) + bias[self.first, self.second]
        classes = len(bias)
        square = pairs.new_zeros(len(features), classes, classes)
        square[:, self.first, self.second] = pairs
        return square + square.transpose(1, 2)


def pair_states(labels: Int8[Tensor, "batch classes"]) -> Int8[Tensor, "batch classes classes"]:
    """State of each pair: present where both are known present, absent where one is known absent, else unknown."""
    one, other = labels[:, :, None], labels[:, None, :]
    absent = (one == -1) | (other == -1)
    present = (one == 1) & (other == 1)
    return present.to(torch.int8) - absent.to(torch.int8)


def mean_pair_probability(
    pairs: Float[Tensor, "batch classes classes"], labels: Int8[Tensor, "batch classes"]
) -> Float[Tensor, "batch classes"]:
    """Of each cell, the mean of σ of its pairs with the known present classes of the image; 0 where there is none."""
    present = (labels == 1).to(pairs.dtype)
    others = present[:, None, :] * (1 - torch.eye(present.shape[1], dtype=pairs.dtype, device=pairs.device))
    return (torch.sigmoid(pairs) * others).sum(2) / others.sum(2).clamp(min=1)
