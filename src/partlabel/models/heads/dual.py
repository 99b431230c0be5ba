"""Cosines of each location with a vector that speaks for a class and one that speaks against it, weighed over the
locations: the heads of DualCoOp (Sun, Hu, Saenko, NeurIPS 2022), of DualCoOp++ (Hu, Sun, Saenko, TPAMI 2023), of
PositiveCoOp (Rawlekar et al., WACV 2025), and that of TaI-DPT for images (Guo et al., CVPR 2023).
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from partlabel.errors import UsageError
from partlabel.models.heads.base import Head, HeadOutput, ImageVector, Maps

Winner = Literal["none", "double", "share"]
"""How classes compete for a location (DualCoOp++). "none": they do not. "double": the vector for the class that fits a
location best counts up to twice there. "share": the other classes count there by their share of the best one's, which
is next to nothing.
"""


class ClassVectors(NamedTuple):
    """Vectors of the classes, float `[C, d]`, of length 1.

    Args:
        positive: that speak for the class.
        negative: that speak against it.
        evidence: by which locations are weighed; None: the positive ones.
    """

    positive: Float[Tensor, "classes features"]
    negative: Float[Tensor, "classes features"]
    evidence: Float[Tensor, "classes features"] | None = None


class DualHead(Head):
    """With f_n the features of location n, of length 1, and p_k, q_k, e_k the vectors of class k:

        a_nk = softmax over n of T · <e_k, f_n>
        z_k  = S · Σ_n a_nk (w_nk <p_k, f_n> - <q_k, f_n>)

    where w is 1 but for `winner`.

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        spatial: T. DualCoOp: 20.
        scale: S. DualCoOp: 100, as 5 · 20.
        learn_spatial: whether the logarithm of T is trained.
        learn_scale: whether the logarithm of S is trained.
        image_token: whether the vector of the whole image counts as one location more, the first (DualCoOp).
        evidence: whether there are vectors e; else e = p.
        winner: "none", or with M_n = max_k <p_k, f_n> and u_nk = softmax over k of W · <p_k, f_n> · M_n, "double":
            w = 1 + u, or "share": w = u / max_k u.
        winner_scale: W. Public code of DualCoOp++: 200.
        learned: whether the vectors are weights of the head; else they are buffers that a method fills.

    Raises:
        UsageError: no such winner.
    """

    positive: Tensor
    negative: Tensor
    evidence_vectors: Tensor

    def __init__(
        self,
        features: int,
        classes: int,
        spatial: float = 20.0,
        scale: float = 100.0,
        learn_spatial: bool = False,
        learn_scale: bool = False,
        image_token: bool = True,
        evidence: bool = False,
        winner: Winner = "none",
        winner_scale: float = 200.0,
        learned: bool = False,
    ) -> None:
        super().__init__()
        if winner not in get_args(Winner):
            raise UsageError(f"winner {winner!r} is not one of {', '.join(get_args(Winner))}")
        self.needs_image_vector = image_token
        self.evidence, self.winner, self.winner_scale = evidence, winner, winner_scale
        for name in ("positive", "negative", *(["evidence_vectors"] if evidence else [])):
            vectors = torch.randn(classes, features)
            if learned:
                setattr(self, name, nn.Parameter(vectors))
            else:
                self.register_buffer(name, functional.normalize(vectors, dim=1))
        self.log_spatial = nn.Parameter(torch.tensor(math.log(spatial)), requires_grad=learn_spatial)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learn_scale)

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """The rows of the vectors."""
        names = ("positive", "negative", *(["evidence_vectors"] if self.evidence else []))
        return dict.fromkeys(names, (0,))

    @property
    def vectors(self) -> ClassVectors:
        """Those of the head, of length 1."""
        evidence = self.evidence_vectors if self.evidence else None
        return ClassVectors(
            functional.normalize(self.positive, dim=1),
            functional.normalize(self.negative, dim=1),
            None if evidence is None else functional.normalize(evidence, dim=1),
        )

    @torch.no_grad()
    def take(self, vectors: ClassVectors) -> None:
        """Keep vectors that a method made."""
        self.positive.copy_(vectors.positive)
        self.negative.copy_(vectors.negative)
        if vectors.evidence is not None:
            self.evidence_vectors.copy_(vectors.evidence)

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits by the head's own vectors."""
        return self.judge(maps, image, self.vectors)

    def judge(self, maps: Float[Tensor, "batch features h w"], image: ImageVector, vectors: ClassVectors) -> HeadOutput:
        """Logits by these vectors; `positive_score` and `negative_score` `[B, C]` are the two parts of them."""
        tokens = functional.normalize(maps.flatten(2), dim=1)
        if self.needs_image_vector and image is not None:
            tokens = torch.cat([functional.normalize(image, dim=1)[:, :, None], tokens], 2)
        cosine = torch.einsum("kd,bdn->bkn", vectors.positive, tokens)
        against = torch.einsum("kd,bdn->bkn", vectors.negative, tokens)
        shown = cosine if vectors.evidence is None else torch.einsum("kd,bdn->bkn", vectors.evidence, tokens)
        weights = (self.log_spatial.exp() * shown).softmax(2)
        scale = self.log_scale.exp()
        positive = scale * (weights * cosine * self._won(cosine)).sum(2)
        negative = scale * (weights * against).sum(2)
        return HeadOutput(positive - negative, {"positive_score": positive, "negative_score": negative})

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """What each location would say by itself."""
        tokens, vectors = functional.normalize(maps, dim=1), self.vectors
        cosine = torch.einsum("kd,bdhw->bkhw", vectors.positive, tokens)
        against = torch.einsum("kd,bdhw->bkhw", vectors.negative, tokens)
        won = self._won(cosine.flatten(2)).reshape(cosine.shape)
        return self.log_scale.exp() * (cosine * won - against)

    def _won(self, cosine: Float[Tensor, "batch classes locations"]) -> Tensor:
        """Factors of the positive cosines, by how well other classes fit the location."""
        if self.winner == "none":
            return torch.ones_like(cosine)
        shares = (self.winner_scale * cosine * cosine.amax(1, keepdim=True)).softmax(1)
        return 1 + shares if self.winner == "double" else shares / shares.amax(1, keepdim=True)
