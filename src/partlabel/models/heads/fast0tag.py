"""Images as directions in the space of label vectors."""

from jaxtyping import Float
from torch import Tensor, nn

from partlabel.models.encoders.base import Pool
from partlabel.models.heads.base import Head, HeadOutput, ImageVector, check_pool
from partlabel.models.label_text import hold_label_vectors


class Fast0TagHead(Head):
    """Head of Fast0Tag (Zhang, Gong, Shah, CVPR 2016): a network of two hidden layers maps pooled features to a
    direction in the space of label vectors; the logit of a class is the inner product of its vector with it.

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        label_features: length d_t of a label vector.
        learned_labels: label vectors are a parameter; else a buffer that the method fills.
        hidden: width of the hidden layers.
        pool: "avg" or "max".
    """

    label_vectors: Tensor
    has_class_maps = False

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        label_features: int = 300,
        learned_labels: bool = True,
        hidden: int = 1024,
        pool: Pool = "avg",
    ) -> None:
        super().__init__()
        check_pool(pool)
        self.pool = pool
        hold_label_vectors(self, classes, label_features, learned=learned_labels)
        self.direction = nn.Sequential(
            nn.Linear(features, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, label_features),
        )

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Label vectors by row."""
        return {"label_vectors": (0,)}

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits of pooled features."""
        pooled = maps.mean((2, 3)) if self.pool == "avg" else maps.amax((2, 3))
        return HeadOutput(self.direction(pooled) @ self.label_vectors.T, {})
