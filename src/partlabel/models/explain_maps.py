"""Maps that explain an image whatever the head: gradients of single logits, and the strength of the maps themselves."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from partlabel.models.heads import Head, Maps

MapKind = Literal["class", "gradient"]


@torch.no_grad()
def label_maps(
    head: Head, features: Float[Tensor, "batch features h w"], columns: Sequence[int], *, gradient: bool = False
) -> dict[MapKind, Maps]:
    """Maps `[B, n, h, w]` of n classes by kind: the head's own class maps, and gradient maps if asked for or if it has
    none.

    Args:
        head: in eval mode.
        features: maps of the backbone, on the device of the head.
        columns: numbers of the n classes.
        gradient: gradient maps too where the head has class maps.
    """
    maps: dict[MapKind, Maps] = {}
    if head.has_class_maps:
        maps["class"] = head.class_maps(features)[:, list(columns)]
    if gradient or not maps:
        maps["gradient"] = gradient_maps(head, features, columns)
    return maps


def gradient_maps(head: Head, features: Float[Tensor, "batch features h w"], columns: Sequence[int]) -> Maps:
    """Gradient maps `[B, n, h, w]` of n classes on the backbone's last maps; they need no gradient of the backbone.

    Source: Grad-CAM (Selvaraju et al., ICCV 2017), equations 1 and 2: ReLU of the sum over channels of the map times
    the mean over places of the gradient of the logit.
    """
    with torch.enable_grad():
        places = features.detach().requires_grad_()
        logits = head(places).logits
        gradients = [torch.autograd.grad(logits[:, column].sum(), places, retain_graph=True)[0] for column in columns]
    weights = torch.stack(gradients, 1).mean((3, 4))
    return nn.functional.relu(torch.einsum("bnd,bdhw->bnhw", weights, features.detach()))


def activation_strength(features: Float[Tensor, "batch features h w"]) -> Float[Tensor, "batch h w"]:
    """How strongly the backbone answers at each place, whatever the class: the Euclidean norm over the channels."""
    return features.square().sum(1).sqrt()
