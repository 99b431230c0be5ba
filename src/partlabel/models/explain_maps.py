"""Maps that explain an image whatever the head: gradients of single logits, and the strength of the maps themselves."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from partlabel.models.encoders.base import Features
from partlabel.models.heads import Head, Maps

MapKind = Literal["class", "gradient"]


@torch.no_grad()
def label_maps(
    head: Head, features: Features, columns: Sequence[int], *, gradient: bool = False
) -> dict[MapKind, Maps]:
    """Maps `[B, n, h, w]` of n classes by kind: the head's own class maps, and gradient maps if asked for or if it has
    none.

    Args:
        head: in eval mode.
        features: of the backbone, on the device of the head.
        columns: numbers of the n classes.
        gradient: gradient maps too where the head has class maps.
    """
    maps: dict[MapKind, Maps] = {}
    if head.has_class_maps:
        maps["class"] = head.class_maps(*features)[:, list(columns)]
    if gradient or not maps:
        maps["gradient"] = gradient_maps(head, features, columns)
    return maps


def gradient_maps(head: Head, features: Features, columns: Sequence[int]) -> Maps:
    """Gradient maps `[B, n, h, w]` of n classes on the backbone's last maps; they need no gradient of the backbone. An
    image vector beside the maps is taken as it is.

    Source: Grad-CAM (Selvaraju et al., ICCV 2017), equations 1 and 2: ReLU of the sum over channels of the map times
    the mean over places of the gradient of the logit.
    """
    with torch.enable_grad():
        places = features.maps.detach().requires_grad_()
        logits = head(places, features.image).logits
        gradients = [torch.autograd.grad(logits[:, column].sum(), places, retain_graph=True)[0] for column in columns]
    weights = torch.stack(gradients, 1).mean((3, 4))
    return nn.functional.relu(torch.einsum("bnd,bdhw->bnhw", weights, features.maps.detach()))


def activation_strength(maps: Float[Tensor, "batch features h w"]) -> Float[Tensor, "batch h w"]:
    """How strongly the backbone answers at each place, whatever the class: the Euclidean norm over the channels."""
    return maps.square().sum(1).sqrt()
