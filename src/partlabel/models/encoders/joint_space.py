"""Image tokens in the space that CLIP's images and texts share, from the attention pooling in which its ResNets end.

The pooling (Radford et al., Learning Transferable Visual Models from Natural Language Supervision, ICML 2021) puts the
mean of the places before them, adds a learned position code to each, lets them attend to each other and projects the
result of the first into the joint space. For maps there, one of two things is done with all tokens (official code of
CSL, `clip_fine_tuning/model.py`; the first also in that of DualCoOp):

- "projected": each token by itself goes through the value and the output projection, as if it attended to itself alone.
  CSL at 448 pixels.
- "attended": each token is an output of the attention. CSL at 224 pixels, the size that the pooling was trained at.

At another size than that of pretraining the position codes are resized, bicubic without anti-aliasing as in the
official code. Tokens have length 1: cosines are what the space is made for.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from timm.layers.attention_pool2d import AttentionPool2d
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn
from torch.nn import functional

from partlabel.errors import UsageError
from partlabel.models.encoders.base import Features, JointSpace

Tokens = Float[Tensor, "batch tokens features"]


def attention_pooling(network: nn.Module) -> AttentionPool2d:
    """The attention pooling of a timm network, with its projection into the joint space.

    Raises:
        UsageError: it has none.
    """
    pooling = getattr(network, "head", None)
    if not isinstance(pooling, AttentionPool2d) or not isinstance(pooling.proj, nn.Linear):
        raise UsageError(
            "joint_space needs the attention pooling of a CLIP ResNet and its output projection, and "
            f"{type(network).__name__} ends in {type(pooling).__name__}; choose such a backbone (resnet101_clip), or "
            "leave joint_space out"
        )
    return pooling


def joint_width(pooling: AttentionPool2d) -> int:
    """Channels of the joint space."""
    return int(pooling.out_features)


def layers_in_use(pooling: AttentionPool2d, how: JointSpace) -> list[nn.Module]:
    """The layers of the pooling that lead to the tokens; "projected" needs no queries and keys."""
    names = ("v", "qkv", "proj") if how == "projected" else ("q", "k", "v", "qkv", "proj")
    children = dict(pooling.named_children())
    return [children[name] for name in names if name in children]


def joint_tokens(
    pooling: AttentionPool2d, maps: Float[Tensor, "batch channels h w"], how: JointSpace
) -> Float[Tensor, "batch features tokens"]:
    """Tokens of length 1, that of the whole image first, then those of the places row by row.

    Args:
        pooling: of the network.
        maps: its last maps.
        how: "projected" or "attended".
    """
    places = maps.flatten(2).transpose(1, 2)
    whole = places.mean(1, keepdim=True) if pooling.cls_token is None else pooling.cls_token.expand(len(places), 1, -1)
    codes = resample_abs_pos_embed(
        pooling.pos_embed[None], list(maps.shape[2:]), list(pooling.feat_size), num_prefix_tokens=1, antialias=False
    )
    tokens = torch.cat([whole, places], 1) + codes
    if how == "attended":
        mixed = _attended(pooling, tokens)
    else:
        mixed = pooling.get_submodule("v")(tokens) if pooling.qkv is None else pooling.qkv(tokens).chunk(3, 2)[2]
    projected: Tensor = pooling.proj(mixed)
    return functional.normalize(projected, dim=2).transpose(1, 2)


def split_tokens(tokens: Float[Tensor, "batch features tokens"], size: Sequence[int] | None = None) -> Features:
    """The map of the places and the vector of the image that `joint_tokens` has in one tensor.

    Args:
        tokens: as `joint_tokens` gives them.
        size: height and width of the map; a square by default.

    Raises:
        UsageError: the places are no square.
    """
    image, places = tokens[:, :, 0], tokens[:, :, 1:]
    side = math.isqrt(places.shape[2])
    if size is None and side * side != places.shape[2]:
        raise UsageError(f"{places.shape[2]} places are no square map; give square images")
    return Features(places.reshape(*places.shape[:2], *(size or (side, side))), image)


def _attended(pooling: AttentionPool2d, tokens: Tokens) -> Tokens:
    parts = (
        [pooling.get_submodule(name)(tokens) for name in ("q", "k", "v")]
        if pooling.qkv is None
        else pooling.qkv(tokens).chunk(3, 2)
    )
    heads = [part.reshape(*part.shape[:2], pooling.num_heads, -1).transpose(1, 2) for part in parts]
    return functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
