"""Class names as vectors: from a text encoder, from a file of word vectors, or learned with the network."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class LabelVectors(NamedTuple):
    """Vectors of class names.

    Args:
        vectors: float32 `[C, d_t]`, or None if they are to be learned.
        origin: one sentence for the log: where they come from.
    """

    vectors: Float[Tensor, "classes text_features"] | None
    origin: str


def label_vectors(source: str, names: Sequence[str]) -> LabelVectors:
    """Vectors of class names."""
    return LabelVectors(None, "label vectors are learned with the network, from random ones")
