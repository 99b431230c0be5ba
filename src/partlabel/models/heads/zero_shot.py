"""Logits of images by what their classes are called, without a label."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from partlabel.errors import UsageError
from partlabel.models.heads.base import Head, HeadOutput, ImageVector, Maps

Scoring = Literal["softmax", "sigmoid"]


class ZeroShotHead(Head):
    """With c_k the cosine of the image and the text of class k, and z_k = scale · c_k + bias, the logit of a class is
    z_k ("sigmoid"), or z_k - log Σ_{j≠k} exp(z_j), whose sigmoid is the share of k in a softmax over the classes
    ("softmax").

    Args:
        features: channels d of the joint space.
        classes: number of classes C.
        scoring: "softmax", as CLIP was trained, or "sigmoid", as SigLIP was.
        scale: of cosines.
        bias: added to them.

    Raises:
        UsageError: no such scoring.
    """

    text: Tensor
    needs_image_vector = True

    def __init__(
        self, features: int, classes: int, scoring: Scoring = "softmax", scale: float = 100.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        if scoring not in get_args(Scoring):
            raise UsageError(f"scoring {scoring!r} is not 'softmax' or 'sigmoid'")
        self.scoring, self.scale, self.bias = scoring, scale, bias
        self.register_buffer("text", torch.zeros(classes, features))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """The rows of the vectors."""
        return {"text": (0,)}

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits of the image vector."""
        assert image is not None
        return HeadOutput(self._logits(functional.normalize(image, dim=1) @ self.text.T), {})

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """The logits that each location would have by itself."""
        return self._logits(torch.einsum("kd,bdhw->bkhw", self.text, functional.normalize(maps, dim=1)))

    def _logits(self, cosines: Tensor) -> Tensor:
        z = self.scale * cosines + self.bias
        if self.scoring == "sigmoid" or z.shape[1] == 1:
            return z
        whole = z.logsumexp(1, keepdim=True)
        best = z.argmax(1, keepdim=True)
        others = whole + torch.log1p(-torch.exp(z - whole).clamp(max=0.5))  # no class but the best has more
        of_best = z.scatter(1, best, -torch.inf).logsumexp(1, keepdim=True)
        return z - others.scatter(1, best, of_best)
