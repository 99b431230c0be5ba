"""What a method may know before its first step."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from partlabel.labels import LabelTable


@dataclass(frozen=True)
class Prior:
    """What is known before training.

    Args:
        labels: the table that will be trained on, without the held-out cells.
        label_vectors: float32 `[C, d_t]`, a vector for the text of each class; None: they are learned, or not used.
    """

    labels: LabelTable
    label_vectors: Float[Tensor, "classes text_features"] | None = None
