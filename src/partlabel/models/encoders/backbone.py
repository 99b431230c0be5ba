"""A timm network as a source of feature maps, whatever layout its family uses, with an optional frozen part."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from timm.layers.attention_pool2d import AttentionPool2d, RotAttentionPool2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from partlabel.errors import UsageError
from partlabel.models.encoders.cut import Cut, children_before_pooling, cut_before_last_stages
from partlabel.models.encoders.local_global import add_local_global, branch_parameters

Pool = Literal["avg", "max"]
TrainParts = Literal["all", "last_stage"]


class BackboneSpec(BaseModel):
    """All that is needed to build the same architecture again without its pretrained weights, and to feed it images."""

    model_config = ConfigDict(frozen=True)

    architecture: str
    model_args: dict[str, Any] = {}
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    local_global: bool = False
    """Whether the 3 × 3 convolutions have a global branch (`models.local_global`)."""
    copies: int = 1
    """2 for a `TwinBackbone`."""


class Backbone(nn.Module):
    """Images to feature maps `[B, d, h, w]`, split into a frozen `trunk` and a trainable `tail`.

    `forward` is `tail(trunk(images))`. With nothing frozen the trunk is empty; with everything frozen the tail is. The
    trunk is kept in eval mode without gradients, so that its output may be computed once and cached. Where all is
    frozen and the head pools the maps anyway, `trunk_pool` lets the trunk do it, which leaves one place of 49 to cache
    and to read.

    Args:
        spec: what to build.
        network: the timm network, without classifier.
        freeze: freeze the network (all of it but the last `train_last` stages).
        train_last: how many of the last stages stay trainable when frozen.
        frozen_norm: keep every batch norm at its running statistics in training too; its scale and shift are still
            trained.
        train_parts: "last_stage" trains only the last stage and the global branches of all stages. What lies before is
            frozen but, unlike with `freeze`, never cached, because the branches change its maps.

    Raises:
        UsageError: the network gives no maps, or cannot be cut before its last stages, or the arguments exclude each
        other.
    """

    def __init__(
        self,
        spec: BackboneSpec,
        network: nn.Module,
        *,
        freeze: bool = False,
        train_last: int = 0,
        frozen_norm: bool = False,
        train_parts: TrainParts = "all",
    ) -> None:
        super().__init__()
        if train_last and not freeze:
            raise UsageError("train_last says how much of a frozen network to train; it needs freeze")
        if freeze and spec.local_global:
            raise UsageError(
                "local_global adds branches that have to be trained, in every stage; train it without freeze"
            )
        if freeze and train_parts != "all":
            raise UsageError(
                f"train_parts={train_parts} and freeze exclude each other; with freeze, train_last says what to train"
            )
        self.spec = spec
        self.network = network
        self.num_features = int(network.num_features)  # type: ignore[arg-type]
        self.freeze, self.train_last, self.frozen_norm = freeze, train_last, frozen_norm
        self.trunk_pool: Pool | None = None
        stages = 1 if train_parts == "last_stage" else train_last
        self._cut: Cut | None = cut_before_last_stages(network, stages, spec.size) if stages else None
        used = children_before_pooling(network)
        for name, module in network.named_children():
            if name not in used:  # several processes would wait for its gradients in vain
                module.requires_grad_(False)
        if freeze or train_parts != "all":
            network.requires_grad_(False)
            for parameter in self._trained_parameters():
                parameter.requires_grad_(True)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features h w"]:
        """Feature maps of normalised images."""
        return self.tail(self.trunk(images))

    def trunk(self, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """The frozen part: feature maps, the input of the trainable stages, or the images themselves if nothing is
        frozen.
        """
        if not self.freeze:
            return images
        with torch.no_grad():
            if self._cut is not None:
                return self._cut.before(images)
            maps = self._as_maps(self.network.forward_features(images))  # type: ignore[operator]
        if self.trunk_pool is None:
            return maps
        return maps.mean((2, 3), keepdim=True) if self.trunk_pool == "avg" else maps.amax((2, 3), keepdim=True)

    def tail(self, trunk_output: Tensor) -> Float[Tensor, "batch features h w"]:
        """The trainable part, from what `trunk` returns to maps."""
        if not self.freeze:
            return self._as_maps(self.network.forward_features(trunk_output))  # type: ignore[operator]
        if self._cut is not None:
            return self._as_maps(self._cut.after(trunk_output))
        return trunk_output

    def trunk_state(self) -> dict[str, Tensor]:
        """Weights and statistics of the frozen part; all of them if nothing is left trainable."""
        tail = {
            id(t)
            for module in (self._cut.modules if self._cut else ())
            for t in module.state_dict(keep_vars=True).values()
        }
        return {name: t for name, t in self.state_dict(keep_vars=True).items() if id(t) not in tail}

    def train(self, mode: bool = True) -> "Backbone":
        """Training mode for the trainable part only; a batch norm that is not trained keeps its statistics."""
        super().train(mode and not self.freeze)
        if mode and self._cut is not None:
            for module in self._cut.modules:
                module.train()
        for module in self.network.modules():
            if isinstance(module, _BatchNorm) and (self.frozen_norm or _is_frozen(module)):
                module.training = False
        return self

    def _trained_parameters(self) -> Iterator[nn.Parameter]:
        """What is trained of a network that is not trained wholly."""
        for module in self._cut.modules if self._cut else ():
            yield from module.parameters()
        yield from branch_parameters(self.network)

    def _as_maps(self, features: Tensor) -> Tensor:
        """Timm gives [B, d, h, w], [B, h, w, d] or [B, tokens, d] by family."""
        d = self.num_features
        if features.ndim == 4:
            channels_last = getattr(self.network, "output_fmt", None) == "NHWC" or features.shape[1] != d
            return features.permute(0, 3, 1, 2) if channels_last else features
        if features.ndim == 3 and features.shape[-1] == d:
            tokens = features[:, int(getattr(self.network, "num_prefix_tokens", 0) or 0) :]
            side = math.isqrt(tokens.shape[1])
            if side * side == tokens.shape[1]:
                return tokens.transpose(1, 2).reshape(tokens.shape[0], d, side, side)
        raise UsageError(
            f"backbone {self.spec.architecture} gives features of shape {tuple(features.shape)}, which are no square "
            f"maps of {d} channels; choose another backbone or a square image size"
        )


class TwinBackbone(Backbone):
    """Two backbones of one architecture, one for each of two networks; their maps side by side, `[B, 2·d, h, w]`.

    What is frozen they have in common, so `trunk` is computed, and cached, once.

    Args:
        first: backbone of the first network, not wholly frozen.
        second: backbone of the second; frozen parts equal.
    """

    def __init__(self, first: Backbone, second: Backbone) -> None:
        nn.Module.__init__(self)
        self.first, self.second = first, second
        self.spec = first.spec.model_copy(update={"copies": 2})
        self.num_features = first.num_features
        self.freeze, self.train_last, self.frozen_norm = first.freeze, first.train_last, first.frozen_norm
        self.trunk_pool = None

    def trunk(self, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """The frozen part of both."""
        return self.first.trunk(images)

    def tail(self, trunk_output: Tensor) -> Float[Tensor, "batch features h w"]:
        """The trainable part of each."""
        return torch.cat([self.first.tail(trunk_output), self.second.tail(trunk_output)], dim=1)

    def trunk_state(self) -> dict[str, Tensor]:
        """Weights and statistics of the frozen part."""
        return self.first.trunk_state()

    def train(self, mode: bool = True) -> "TwinBackbone":
        """Training mode for the trainable parts."""
        nn.Module.train(self, mode and not self.freeze)
        self.first.train(mode)
        self.second.train(mode)
        return self


def create_backbone(
    name: str,
    *,
    pretrained: bool = True,
    size: int | None = None,
    freeze: bool = False,
    train_last: int = 0,
    model_args: Mapping[str, Any] | None = None,
    local_global: bool = False,
    frozen_norm: bool = False,
    train_parts: TrainParts = "all",
) -> Backbone:
    """Build a backbone by timm name, `hf-hub:` name or `local-dir:` folder.

    Args:
        name: anything `timm.create_model` takes.
        pretrained: load the pretrained weights; False starts from random ones.
        size: side of the square input image in pixels; the network's own by default.
        freeze: see `Backbone`.
        train_last: see `Backbone`.
        model_args: further arguments of the architecture, such as output_stride.
        local_global: give its 3 × 3 convolutions a global branch each.
        frozen_norm: see `Backbone`.
        train_parts: see `Backbone`.

    Raises:
        UsageError: no such backbone, or its weights cannot be had, or it has nothing to give a global branch to.
    """
    architecture, given_args = _architecture(name)
    model_args = given_args | dict(model_args or {})
    try:
        probe = timm.create_model(architecture, pretrained=False, num_classes=0, **model_args)
        if size and _needs_its_size(probe):
            model_args = {**model_args, "img_size": size}
        network = timm.create_model(name, pretrained=pretrained, num_classes=0, **model_args)
    except Exception as error:
        raise UsageError(_why_not(name, pretrained, error)) from error
    config: dict[str, Any] = vars(network)["pretrained_cfg"]
    spec = BackboneSpec(
        architecture=architecture,
        model_args=model_args,
        size=size or int(config["input_size"][-1]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config.get("interpolation") or "bicubic",
        local_global=local_global,
    )
    if local_global:
        add_local_global(network)
    return Backbone(
        spec, network, freeze=freeze, train_last=train_last, frozen_norm=frozen_norm, train_parts=train_parts
    )


def rebuild_backbone(spec: BackboneSpec, *, freeze: bool = False, train_last: int = 0) -> Backbone:
    """The architecture of a spec with random weights; its weights come from a bundle."""
    if spec.copies == 2:
        one = spec.model_copy(update={"copies": 1})
        first, second = (rebuild_backbone(one, freeze=freeze, train_last=train_last) for _ in range(2))
        return TwinBackbone(first, second)
    network = timm.create_model(spec.architecture, pretrained=False, num_classes=0, **spec.model_args)
    if spec.local_global:
        add_local_global(network)
    return Backbone(spec, network, freeze=freeze, train_last=train_last)


def plain_name(name: str) -> str:
    """Name of a tensor as it is without a global branch or low-rank change beside it, which put it one level deeper."""
    return name.replace(".local_conv.", ".").replace(".parametrizations.weight.original", ".weight")


def name_in_single(name: str) -> str:
    """Name that a tensor of one of two backbones has where there is one."""
    return name.replace("backbone.first.", "backbone.").replace("backbone.second.", "backbone.")


def _is_frozen(norm: nn.Module) -> bool:
    return any(not parameter.requires_grad for parameter in norm.parameters())


def _needs_its_size(network: nn.Module) -> bool:
    """Whether the maps, not only an attention pooling that is not used, depend on the size that a network is built
    for.
    """
    pooling = getattr(network, "head", None)
    return bool(vars(network)["pretrained_cfg"].get("fixed_input_size")) and not isinstance(
        pooling, (AttentionPool2d, RotAttentionPool2d)
    )


def _architecture(name: str) -> tuple[str, dict[str, Any]]:
    """Plain architecture name and its arguments, for names that point to a folder or hub entry as well."""
    if name.startswith("local-dir:"):
        path = Path(name.removeprefix("local-dir:")) / "config.json"
        if not path.is_file():
            raise UsageError(f"backbone folder {path.parent} has no config.json; it must be a folder saved by timm")
        config = json.loads(path.read_text(encoding="utf-8"))
        return config["architecture"], _arguments(config.get("model_args"))
    if name.startswith(("hf-hub:", "hf_hub:")):
        try:
            _, architecture, model_args = timm.models.load_model_config_from_hf(name.split(":", 1)[1])
        except Exception as error:
            raise UsageError(_why_not(name, True, error)) from error
        return architecture, _arguments(model_args)
    return name, {}


def _arguments(given: dict[str, Any] | None) -> dict[str, Any]:
    """Arguments of an architecture without those of its classifier, which is left out."""
    return {name: value for name, value in (given or {}).items() if name not in {"num_classes", "global_pool"}}


def _why_not(name: str, pretrained: bool, error: Exception) -> str:
    plain = name.split(".", maxsplit=1)[0]
    if ":" not in name and not timm.is_model(plain):
        near = timm.list_models(f"*{plain[:8]}*")[:5]
        return f"no backbone {name!r} in timm" + (f"; similar names: {', '.join(near)}" if near else "")
    if pretrained:
        return (
            f"the weights of backbone {name!r} cannot be had here ({type(error).__name__}; is there a network, is the "
            "name right?); give a folder with local-dir:DIR, or start from random weights with --from-scratch"
        )
    return f"backbone {name!r} cannot be built: {error}"
