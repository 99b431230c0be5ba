"""Maps that explain an image whatever the head: gradients of single logits, and the strength of the maps themselves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from partlabel.models.encoders.base import Features
from partlabel.models.heads import Head, Maps
from partlabel.models.heads.base import Scale


@torch.no_grad()
def label_maps(
    head: Head, features: Features, columns: Sequence[int], *, gradient: bool = False, others: bool = False
) -> dict[str, Maps]:
    """Maps `[B, n, h, w]` of n classes by kind: the head's own class maps (`class`), its further ones if asked for, and
    gradient maps (`gradient`) if asked for or if it has no class maps.

    Args:
        head: in eval mode.
        features: of the backbone, on the device of the head.
        columns: numbers of the n classes.
        gradient: gradient maps too where the head has class maps.
        others: the head's further maps too.
    """
    maps: dict[str, Maps] = {}
    if head.has_class_maps:
        maps["class"] = head.class_maps(*features)[:, list(columns)]
    if others:
        maps |= {kind: values[:, list(columns)] for kind, values in head.other_maps(*features).items()}
    if gradient or not maps:
        maps["gradient"] = gradient_maps(head, features, columns)
    return maps


def ends_of(scale: Scale, values: NDArray[np.floating[Any]]) -> tuple[float, float] | None:
    """Values of a map that are drawn darkest and brightest; None: its own lowest and highest.

    Source: for "shares", the public code of co-learning, which stretches a softmax over h·w places where its values
    differ by more than 1/(h·w).
    """
    even = scale == "shares" and float(values.max() - values.min()) <= 1 / values.size
    return (0.0, 1.0) if scale == "unit" or even else None


def gradient_maps(head: Head, features: Features, columns: Sequence[int]) -> Maps:
    """Gradient maps `[B, n, h, w]` of n classes on the backbone's last maps; they need no gradient of the backbone. An
    image vector beside the maps is taken as it is; zero where the logits depend on that alone.

    Source: Grad-CAM (Selvaraju et al., ICCV 2017), equations 1 and 2: ReLU of the sum over channels of the map times
    the mean over places of the gradient of the logit.
    """
    with torch.enable_grad():
        places = features.maps.detach().requires_grad_()
        logits = head(places, features.image).logits
        if not logits.requires_grad:
            return features.maps.new_zeros(len(places), len(columns), *places.shape[2:])
        gradients = [torch.autograd.grad(logits[:, column].sum(), places, retain_graph=True)[0] for column in columns]
    weights = torch.stack(gradients, 1).mean((3, 4))
    return nn.functional.relu(torch.einsum("bnd,bdhw->bnhw", weights, features.maps.detach()))


def activation_strength(maps: Float[Tensor, "batch features h w"]) -> Float[Tensor, "batch h w"]:
    """How strongly the backbone answers at each place, whatever the class: the Euclidean norm over the channels."""
    return maps.square().sum(1).sqrt()
