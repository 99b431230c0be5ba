"""Classifiers that a graph network makes from label vectors."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from partlabel.models.encoders.base import Pool
from partlabel.models.heads.base import Head, HeadOutput, ImageVector, Maps, check_pool
from partlabel.models.label_text import hold_label_vectors


class MLGCNHead(Head):
    """Head of ML-GCN (Chen et al., CVPR 2019): class weights W = A · LeakyReLU(A E W1) · W2; logits = pooled features ·
    Wᵀ.

    Neither the graph layers nor the logits have constants (official code).

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        label_features: length d_t of a label vector.
        learned_labels: label vectors E are a parameter; else a buffer that the method fills.
        hidden: width of the first graph layer.
        pool: "max" or "avg".
    """

    label_vectors: Tensor
    adjacency: Tensor

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        label_features: int = 300,
        learned_labels: bool = True,
        hidden: int = 1024,
        pool: Pool = "max",
    ) -> None:
        super().__init__()
        check_pool(pool)
        self.pool = pool
        hold_label_vectors(self, classes, label_features, learned=learned_labels)
        self.register_buffer("adjacency", torch.zeros(classes, classes))
        self.first = nn.Parameter(torch.empty(label_features, hidden).uniform_(-(hidden**-0.5), hidden**-0.5))
        self.second = nn.Parameter(torch.empty(hidden, features).uniform_(-(features**-0.5), features**-0.5))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Label vectors by row, the adjacency by row and column."""
        return {"label_vectors": (0,), "adjacency": (0, 1)}

    def class_weights(self) -> Float[Tensor, "classes features"]:
        """One classifier a class."""
        hidden = functional.leaky_relu(self.adjacency @ (self.label_vectors @ self.first), 0.2)
        return self.adjacency @ (hidden @ self.second)

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits of pooled features."""
        pooled = maps.mean((2, 3)) if self.pool == "avg" else maps.amax((2, 3))
        return HeadOutput(pooled @ self.class_weights().T, {})

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """The classifiers applied at every place."""
        return torch.einsum("bdhw,cd->bchw", maps, self.class_weights())
