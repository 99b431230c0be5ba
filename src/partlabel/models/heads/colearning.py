"""Head of co-learning: places see each other, are told which labels they resemble, and score the labels region by
region.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from partlabel.errors import UsageError
from partlabel.models.heads.base import Head, HeadOutput, ImageVector, Logits, Maps
from partlabel.models.label_text import hold_label_vectors
from partlabel.models.position_code import PlaceEncoder, sine_positions
from partlabel.models.semantic_attention import attention_logits

Places = Float[Tensor, "batch places features"]
Scores = Float[Tensor, "batch places classes"]
Projection = Literal["mlp", "linear"]
ImageSource = Literal["places", "encoder"]
LabelFeatures = Float[Tensor, "labelled classes label_features"]
"""Features of the labels, an own set for each image or, first axis 1, the same for all."""


class SemanticRelatedFeatures(nn.Module):
    """Label features that know the image (SRFL, eq. 1 and 2): S_c = W2 GELU(BN(W1 [E_c ; g] + b1)) + b2.

    E_c is the label's vector, g that of the image; the batch norm is over images and labels.

    Args:
        label_features: length d_t of a label vector.
        image_features: length of an image vector.
        features: channels d of the places, and length of the result.
    """

    def __init__(self, label_features: int, image_features: int, features: int) -> None:
        super().__init__()
        both = label_features + image_features
        self.inner, self.norm, self.outer = nn.Linear(both, both), nn.BatchNorm1d(both), nn.Linear(both, features)

    def forward(
        self, labels: Float[Tensor, "classes text_features"], image: Float[Tensor, "batch image_features"]
    ) -> Float[Tensor, "batch classes features"]:
        """Features of all labels for each image."""
        # W1 [E ; g] = W1_E E + W1_g g, and each part is needed once instead of once for each pair
        of_label, of_image = self.inner.weight.tensor_split([labels.shape[1]], 1)
        inner = functional.linear(labels, of_label) + functional.linear(image, of_image, self.inner.bias)[:, None]
        return self.outer(functional.gelu(self.norm(inner.flatten(0, 1)))).unflatten(0, inner.shape[:2])  # type: ignore[no-any-return]


class LinearRelatedFeatures(nn.Module):
    """Label features that know the image, by one linear map of the label's vector and that of the image: SRFL as eq. 2
    is described ("Linear() represents a linear projection"), which its public code is not.

    Args:
        label_features: length d_t of a label vector.
        image_features: length of an image vector.
        features: channels d of the places, and length of the result.
    """

    def __init__(self, label_features: int, image_features: int, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(label_features + image_features, features)

    def forward(
        self, labels: Float[Tensor, "classes text_features"], image: Float[Tensor, "batch image_features"]
    ) -> Float[Tensor, "batch classes features"]:
        """Features of all labels for each image."""
        of_label, of_image = self.linear.weight.tensor_split([labels.shape[1]], 1)
        return functional.linear(labels, of_label) + functional.linear(image, of_image, self.linear.bias)[:, None]


class SemanticGuidance(nn.Module):
    """Which labels each place resembles (SGFE, eq. 3 to 5).

    a_pc = w · (P tanh(U F_p ∘ V S_c) + b) + b', softmax of a_pc / τ over the labels at each place; P and w are applied
    as one vector.

    Args:
        features: channels d of the places.
        label_features: length of the label features.
        hidden: width h of the attention.
        temperature: τ.
    """

    def __init__(self, features: int, label_features: int, hidden: int, temperature: int | float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.image_part = nn.Linear(features, hidden, bias=False)
        self.label_part = nn.Linear(label_features, hidden, bias=False)
        self.mixing = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, 1)

    def forward(self, places: Places, labels: LabelFeatures) -> Scores:
        """Attention `[B, P, C]`, which sums to 1 over the labels."""
        weight = (self.output.weight @ self.mixing.weight)[0]
        constant = self.output.weight @ self.mixing.bias + self.output.bias
        logits = attention_logits(self.image_part(places), self.label_part(labels), weight) + constant
        return (logits / self.temperature).softmax(2)


class PlaceExpansion(nn.Module):
    """Places brought to another number of channels, by a linear map and a batch norm over images and places.

    Args:
        features: channels that the places have.
        expanded: channels that they get.
    """

    def __init__(self, features: int, expanded: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(features, expanded), nn.BatchNorm1d(expanded)

    def forward(self, places: Places) -> Float[Tensor, "batch places expanded"]:
        """The places with more channels, or fewer."""
        return self.norm(self.linear(places).flatten(0, 1)).unflatten(0, places.shape[:2])  # type: ignore[no-any-return]


class _Regions(NamedTuple):
    """What is known of each place: its encoded features, its scores of the labels, and which labels it resembles."""

    places: Places
    scores: Scores
    attention: Scores | None


class CoLearningHead(Head):
    """Head of co-learning (He et al., arXiv:2510.10055), part by part.

    With F the places of the maps, encoded if `self_attention` and then expanded if `expansion`: region scores
    r_p = W F_p + b or, with `sgfe`, r_p = MLP([Σ_c α_pc S_c ; F_p]) for the attention α of `SemanticGuidance` and S the
    label vectors or, with `srfl`, what `SemanticRelatedFeatures` makes of them and of an image vector g. Logit:
    z_c = Σ_p softmax_p(r_pc)·r_pc with `region`, else max_p r_pc. Coarse logit: max_p (W0 F_p + b0)_c.

    Args:
        features: channels of the maps.
        classes: number of classes C.
        region: aggregate region scores by their softmax over the places; else take the largest.
        self_attention: encode the places by transformer layers.
        sgfe: tell each place which labels it resembles (semantic-guided feature enhancement).
        srfl: let the label features see the image (semantic-related feature learning); part of sgfe.
        srfl_projection: "mlp" (`SemanticRelatedFeatures`) or "linear" (`LinearRelatedFeatures`).
        coarse: hand out coarse logits as well, under `coarse`.
        label_features: length d_t of a label vector.
        learned_labels: label vectors are a parameter; else a buffer that the method fills.
        reduction: channels d that a 1 × 1 convolution first brings the maps to; None: they stay.
        hidden: width of the attention between places and labels.
        temperature: of that attention.
        layers: number of transformer layers.
        positions: add position codes to their queries and keys.
        heads: heads of each transformer layer.
        dropout: dropout of each transformer layer.
        mlp_dropout: dropout of the MLP.
        feed_forward: width of the feed-forward part of each transformer layer; None: as wide as the maps.
        expansion: channels that `PlaceExpansion` brings the encoded places to; None: they stay.
        image_vector: g of `srfl`: the mean of the "places", or what the "encoder" has beside its maps.

    Raises:
        UsageError: srfl without sgfe, or channels that the heads do not divide.
    """

    label_vectors: Tensor

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        region: bool = True,
        self_attention: bool = True,
        sgfe: bool = True,
        srfl: bool = True,
        coarse: bool = True,
        label_features: int = 300,
        learned_labels: bool = True,
        reduction: int | None = None,
        hidden: int = 1024,
        srfl_projection: Projection = "mlp",
        temperature: int | float = 1.0,
        layers: int = 1,
        positions: bool = True,
        heads: int = 8,
        dropout: int | float = 0.1,
        mlp_dropout: int | float = 0.5,
        feed_forward: int | None = None,
        expansion: int | None = None,
        image_vector: ImageSource = "places",
    ) -> None:
        super().__init__()
        if srfl and not sgfe:
            raise UsageError("srfl makes the label features that sgfe uses; switch srfl off too, or sgfe on")
        self.region, self.positions = region, positions
        self.needs_image_vector = srfl and image_vector == "encoder"
        self.scales = {"class": "shares"} if region else {}
        width = reduction or features
        self.reduction = nn.Conv2d(features, width, 1) if reduction else nn.Identity()
        self.encoder = PlaceEncoder(width, heads, dropout, feed_forward) if self_attention else None
        more = layers - 1 if self_attention else 0
        self.further_encoders = nn.ModuleList(PlaceEncoder(width, heads, dropout, feed_forward) for _ in range(more))
        self.expansion = PlaceExpansion(width, expansion) if expansion else nn.Identity()
        width = expansion or width
        self.semantics: nn.Module | None = None
        self.guidance: SemanticGuidance | None = None
        if sgfe:
            hold_label_vectors(self, classes, label_features, learned=learned_labels)
            seen = features if self.needs_image_vector else width
            self.semantics = _RELATED[srfl_projection](label_features, seen, width) if srfl else None
            told = width if srfl else label_features
            self.guidance = SemanticGuidance(width, told, hidden, temperature)
            self.mlp: nn.Module = nn.Sequential(
                nn.Linear(told + width, told + width), nn.GELU(), nn.Dropout(mlp_dropout)
            )
            self.classifier = nn.Linear(told + width, classes)
        else:
            self.mlp = nn.Identity()
            self.classifier = nn.Linear(width, classes)
        self.coarse = nn.Linear(width, classes) if coarse else None

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Rows of the last layers, and the label vectors where there are any."""
        names = ["classifier.weight", "classifier.bias"]
        names += ["label_vectors"] if self.guidance is not None else []
        names += ["coarse.weight", "coarse.bias"] if self.coarse is not None else []
        return dict.fromkeys(names, (0,))

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits, by region scores; `coarse`: those of the coarse head."""
        regions = self._regions(maps, image)
        extra = {"coarse": self.coarse(regions.places).amax(1)} if self.coarse is not None else {}
        return HeadOutput(region_logits(regions.scores) if self.region else regions.scores.amax(1), extra)

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """Softmax over the places of the region scores, by which eq. 7 weighs them (as in the public code's figures);
        without region aggregation, the scores.
        """
        scores = self._regions(maps, image).scores
        return _as_maps(scores.softmax(1) if self.region else scores, maps)

    def other_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> dict[str, Maps]:
        """`attended`: the class maps times the attention to the labels, where there is one; `coarse`: logits of each
        place by the coarse head, where there is one.
        """
        places, scores, attention = self._regions(maps, image)
        weights = scores.softmax(1) if self.region else scores
        found = {} if attention is None else {"attended": _as_maps(weights * attention, maps)}
        return found if self.coarse is None else {**found, "coarse": _as_maps(self.coarse(places), maps)}

    def _regions(self, maps: Float[Tensor, "batch features h w"], image: ImageVector) -> _Regions:
        maps = self.reduction(maps)
        places = maps.flatten(2).transpose(1, 2)
        if self.encoder is not None:
            # half precision, of autocast, would tell places apart eighteen times worse than it rounds
            dtype = torch.promote_types(maps.dtype, torch.float32)
            codes = sine_positions(maps.shape[2], maps.shape[3], maps.shape[1], device=maps.device, dtype=dtype)
            codes = codes if self.positions else torch.zeros_like(codes)
            for encoder in (self.encoder, *self.further_encoders):
                places = encoder(places, codes)
        places = self.expansion(places)
        if self.guidance is None:
            return _Regions(places, self.classifier(places), None)
        labels = self.label_vectors[None]
        if self.semantics is not None:
            labels = self.semantics(self.label_vectors, image if self.needs_image_vector else places.mean(1))
        attention = self.guidance(places, labels).to(labels.dtype)
        fused = torch.cat([attention @ labels, places], 2)
        return _Regions(places, self.classifier(self.mlp(fused)), attention)


_RELATED: dict[Projection, type[SemanticRelatedFeatures | LinearRelatedFeatures]] = {
    "mlp": SemanticRelatedFeatures,
    "linear": LinearRelatedFeatures,
}


def _as_maps(scores: Scores, maps: Tensor) -> Maps:
    return scores.transpose(1, 2).reshape(maps.shape[0], -1, *maps.shape[2:])


def region_logits(scores: Scores) -> Logits:
    """Σ_p softmax_p(r_pc)·r_pc of region scores r (eq. 6 and 7): between their mean and their largest."""
    return (scores.softmax(1) * scores).sum(1)
