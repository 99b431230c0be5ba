"""Image tokens in the space that an image tower shares with a text tower (Radford et al., Learning Transferable Visual
Models from Natural Language Supervision, ICML 2021, and what came after it).

The first token is the image, as the tower itself represents it; the others are its locations, led through the same last
layers one by one. What these layers are depends on the tower:

- The attention pooling in which CLIP's ResNets end puts the mean of the locations before them, adds a learned position
  code to each, lets them attend to each other and projects the result of the first. Here one of three things is done
  with all tokens: "projected": each goes through the value and the output projection by itself, as if it attended to
  itself alone (public code of CSL at 448 pixels and of DualCoOp); "plain": the same without position codes (public code
  of TaI-DPT and DualCoOp++); "attended": each is an output of the attention (public code of CSL at 224 pixels), so that
  the first is CLIP's own vector of the image.
- The attention pooling of SigLIP, whose only query is learned: a location goes through value, output projection and the
  perceptron behind them as if it were the only one.
- A linear layer on a class token or on pooled features (CLIP's transformers, MobileCLIP): a location goes through it.

The latter two have no position code there, so that the three words mean the same.

At another size than that of pretraining the position codes are resized, bicubic without anti-aliasing as in the
official code. Tokens have length 1: cosines are what the space is made for.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from timm.layers.attention_pool import AttentionPoolLatent
from timm.layers.attention_pool2d import AttentionPool2d
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn
from torch.nn import functional

from partlabel.errors import UsageError
from partlabel.models.encoders.base import Features, JointSpace

Tokens = Float[Tensor, "batch tokens features"]

_CLASSIFIERS = {1000, 10450, 11221, 11821, 21841, 21843}
"""Outputs of the classifiers of ImageNet that timm has, which are no joint space."""


class Projection:
    """The last layers of an image tower, from the maps of its network into the joint space.

    Attributes:
        width: channels of the joint space.
        linear: whether a layer that timm builds as a classifier leads into it.
    """

    width: int
    linear: bool = True

    def layers(self, how: JointSpace) -> list[nn.Module]:
        """The layers that lead to the tokens."""
        raise NotImplementedError

    def own_parameters(self, how: JointSpace) -> list[nn.Parameter]:
        """What else they need: position codes, a class token, a query."""
        return []

    def __call__(self, stages: Tensor, maps: Float[Tensor, "batch channels h w"], how: JointSpace) -> Tokens:
        """Tokens, not normalised.

        Args:
            stages: what the network's `forward_features` gives.
            maps: the same as maps.
            how: "projected", "plain" or "attended".
        """
        raise NotImplementedError


class AttentionProjection(Projection):
    """The attention pooling of CLIP's ResNets."""

    def __init__(self, pooling: AttentionPool2d) -> None:
        self.pooling = pooling
        self.width = int(pooling.out_features)

    def layers(self, how: JointSpace) -> list[nn.Module]:
        """Without attention no queries and keys."""
        names = ("q", "k", "v", "qkv", "proj") if how == "attended" else ("v", "qkv", "proj")
        children = dict(self.pooling.named_children())
        return [children[name] for name in names if name in children]

    def own_parameters(self, how: JointSpace) -> list[nn.Parameter]:
        """Position codes, and a class token where there is one."""
        return [p for name, p in self.pooling.named_parameters(recurse=False) if how != "plain" or name != "pos_embed"]

    def __call__(self, stages: Tensor, maps: Float[Tensor, "batch channels h w"], how: JointSpace) -> Tokens:
        """That of the image first."""
        pooling = self.pooling
        places = maps.flatten(2).transpose(1, 2)
        whole = (
            places.mean(1, keepdim=True) if pooling.cls_token is None else pooling.cls_token.expand(len(places), 1, -1)
        )
        tokens = torch.cat([whole, places], 1)
        if how != "plain":
            tokens = tokens + resample_abs_pos_embed(
                pooling.pos_embed[None],
                list(maps.shape[2:]),
                list(pooling.feat_size),
                num_prefix_tokens=1,
                antialias=False,
            )
        if how == "attended":
            mixed = _attended(pooling, tokens)
        else:
            mixed = pooling.get_submodule("v")(tokens) if pooling.qkv is None else pooling.qkv(tokens).chunk(3, 2)[2]
        return pooling.proj(mixed)  # type: ignore[no-any-return]


class LinearProjection(Projection):
    """A linear layer on a class token or on pooled features, or SigLIP's attention pooling, as timm's networks have
    them.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        linear = network.get_classifier()  # type: ignore[operator]
        self.linear = isinstance(linear, nn.Linear)
        self.last: nn.Module = linear if self.linear else nn.Identity()
        pooling = getattr(network, "attn_pool", None)
        self.pooling = pooling if isinstance(pooling, AttentionPoolLatent) else None
        self.norm = getattr(network, "fc_norm", None) or nn.Identity()
        self.width = int(linear.out_features if self.linear else network.num_features)  # type: ignore[arg-type]

    def layers(self, how: JointSpace) -> list[nn.Module]:
        """All that have weights."""
        found = [*(self.pooling.children() if self.pooling else ()), self.norm, self.last]
        return [layer for layer in found if any(True for _ in layer.parameters())]

    def own_parameters(self, how: JointSpace) -> list[nn.Parameter]:
        """The query of the attention pooling."""
        return [] if self.pooling is None else list(self.pooling.parameters(recurse=False))

    def __call__(self, stages: Tensor, maps: Float[Tensor, "batch channels h w"], how: JointSpace) -> Tokens:
        """That of the image first, by the network's own pooling."""
        image: Tensor = self.network.forward_head(stages)  # type: ignore[operator]
        places = maps.flatten(2).transpose(1, 2)
        if self.pooling is not None:
            places = _alone(self.pooling, places)
        return torch.cat([image[:, None], self.last(self.norm(places))], 1)


def projection_of(network: nn.Module) -> Projection:
    """The projection into the joint space of a timm network.

    Raises:
        UsageError: it has none.
    """
    pooling = getattr(network, "head", None)
    if isinstance(pooling, AttentionPool2d) and isinstance(pooling.proj, nn.Linear):
        return AttentionProjection(pooling)
    if not isinstance(pooling, AttentionPool2d) and hasattr(network, "get_classifier"):
        found = LinearProjection(network)
        if found.pooling is not None or (found.linear and found.width not in _CLASSIFIERS):
            return found
    raise UsageError(
        "joint_space needs the projection in which an image tower ends that was trained with a text tower, and "
        f"{type(network).__name__} ends in {type(pooling).__name__}; choose such a backbone (resnet101_clip, a folder "
        "of open_clip), or leave joint_space out"
    )


def joint_tokens(
    projection: Projection, stages: Tensor, maps: Float[Tensor, "batch channels h w"], how: JointSpace
) -> Float[Tensor, "batch features tokens"]:
    """Tokens of length 1, that of the whole image first, then those of the locations row by row.

    Args:
        projection: of the network.
        stages: what its `forward_features` gives.
        maps: the same as maps.
        how: "projected", "plain" or "attended".
    """
    return functional.normalize(projection(stages, maps, how), dim=2).transpose(1, 2)


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


def _alone(pooling: AttentionPoolLatent, places: Tokens) -> Tokens:
    """What the pooling makes of each location as the only one, so that attention gives it the whole weight."""
    values = pooling.kv(places).chunk(2, 2)[1]
    projected: Tensor = pooling.proj(values)
    if pooling.mlp is not None:
        projected = projected + pooling.mlp(pooling.norm(projected))
    return projected
