"""Vectors of the class names in a head that reads them: given ones, or ones of a chosen length that it learns."""

from typing import Any

import torch

from partlabel.methods.base import Context
from partlabel.models.tagger import Tagger


def label_vector_settings(context: Context, features: int) -> dict[str, Any]:
    """What a head is told about its label vectors; `features` is their length where none are given."""
    vectors = context.label_vectors
    return {
        "label_features": features if vectors is None else vectors.shape[1],
        "learned_labels": vectors is None,
    }


def fill_label_vectors(tagger: Tagger, context: Context) -> None:
    """Give the head its label vectors, if these are not learned."""
    if context.label_vectors is not None:
        with torch.no_grad():
            tagger.head.get_buffer("label_vectors").copy_(context.label_vectors)
