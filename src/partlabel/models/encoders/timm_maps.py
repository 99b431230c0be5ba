"""A timm network as a source of feature maps, whatever layout its family uses, with an optional frozen part."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.nn.modules.batchnorm import _BatchNorm

from partlabel.errors import StagesError, UsageError
from partlabel.models.encoders.base import Backbone, BackboneSpec, Features, Pool, TrainParts
from partlabel.models.encoders.cut import Cut, children_before_pooling, cut_before_last_stages, modules_after_cut
from partlabel.models.encoders.joint_space import Projection, joint_tokens, projection_of, split_tokens
from partlabel.models.encoders.local_global import branch_parameters


class TimmBackbone(Backbone):
    """A timm network, split into a frozen `trunk` and a trainable `tail`.

    `forward` is `tail(trunk(images))`. With nothing frozen the trunk is empty; with everything frozen the tail is. The
    trunk is kept in eval mode without gradients, so that its output may be computed once and cached. Where all is
    frozen and the head pools the maps anyway, `trunk_pool` lets the trunk do it, which leaves one place of 49 to cache
    and to read.

    Args:
        spec: what to build.
        network: the timm network, without classifier; with the projection into the joint space where the spec has one.
        freeze: freeze the network (all of it but the last `train_last` stages).
        train_last: how many of the last stages stay trainable when frozen.
        frozen_norm: keep every batch norm at its running statistics in training too; its scale and shift are still
            trained.
        train_parts: "last_stage" trains only the last stage and the global branches of all stages. What lies before is
            frozen but, unlike with `freeze`, never cached, because the branches change its maps.

    Attributes:
        batch_statistics: batch norms whose scale and shift are frozen use, and follow, the statistics of the batch in
            training all the same; what of a frozen network is not trained is never in training.

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
        if spec.stages == 2 and (train_last or train_parts != "all" or spec.joint_space != "off"):
            raise UsageError(
                "stages=2 takes features from inside a network that is frozen or trained as a whole; leave out "
                "train_last, train_parts and joint_space"
            )
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
        self.has_image_vector = spec.joint_space != "off"
        own = spec.joint_features or int(network.num_features)  # type: ignore[arg-type]
        self._two = two_stages(spec, network) if spec.stages == 2 else None
        self._by_stage = (own,) if self._two is None else (own, self._two.features)
        self.num_features = sum(self._by_stage)
        self.freeze, self.train_last, self.frozen_norm = freeze, train_last, frozen_norm
        self.trunk_pool: Pool | None = None
        self.batch_statistics = False
        stages = 1 if train_parts == "last_stage" else train_last
        self._cut: Cut | None = cut_before_last_stages(network, stages, spec.size) if stages else None
        used = children_before_pooling(network)
        for name, module in network.named_children():
            if name not in used:  # several processes would wait for its gradients in vain
                module.requires_grad_(False)
        for parameter in self._joint_parameters():
            parameter.requires_grad_(True)
        if freeze or train_parts != "all":
            network.requires_grad_(False)
            for parameter in self._trained_parameters():
                parameter.requires_grad_(True)

    def trunk(self, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """The frozen part: maps, or tokens `[B, d, 1 + h·w]` of the image and its places where it has an image vector;
        the input of the trainable stages; or the images themselves if nothing is frozen.
        """
        if not self.freeze:
            return images
        with torch.no_grad():
            if self._cut is not None:
                return self._cut.before(images)
            if self.has_image_vector and self.trunk_pool is None:
                stages = self.network.forward_features(images)  # type: ignore[operator]
                return self._tokens(stages, self._maps(stages))
            maps = self._whole(images).maps
        if self.trunk_pool is None:
            return maps
        return maps.mean((2, 3), keepdim=True) if self.trunk_pool == "avg" else maps.amax((2, 3), keepdim=True)

    def tail(self, trunk_output: Tensor) -> Features:
        """The trainable part, from what `trunk` returns to features."""
        if not self.freeze:
            return self._whole(trunk_output)
        if self._cut is not None:
            return self._features(self._cut.after(trunk_output))
        return split_tokens(trunk_output) if trunk_output.ndim == 3 else Features(trunk_output)

    def trunk_state(self) -> dict[str, Tensor]:
        """Weights and statistics of the frozen part; all of them if nothing is left trainable."""
        tail = {
            id(t)
            for module in (self._cut.modules if self._cut else ())
            for t in module.state_dict(keep_vars=True).values()
        }
        tail |= {id(parameter) for parameter in self._joint_parameters() if self._cut}
        return {name: t for name, t in self.state_dict(keep_vars=True).items() if id(t) not in tail}

    def train(self, mode: bool = True) -> "TimmBackbone":
        """Training mode for the trainable part only; a batch norm that is not trained keeps its statistics."""
        super().train(mode and not self.freeze)
        if mode and self._cut is not None:
            for module in self._cut.modules:
                module.train()
        for module in self.network.modules():
            if isinstance(module, _BatchNorm) and (
                self.frozen_norm or (_is_frozen(module) and not self.batch_statistics)
            ):
                module.training = False
        return self

    def _trained_parameters(self) -> Iterator[nn.Parameter]:
        """What is trained of a network that is not trained wholly."""
        for module in self._cut.modules if self._cut else ():
            yield from module.parameters()
        yield from self._joint_parameters() if self._cut else ()
        yield from branch_parameters(self.network)

    @property
    def joint_layers(self) -> list[nn.Module]:
        """The layers behind the last stage that lead into the joint space."""
        return self._projection.layers(self.spec.joint_space) if self.has_image_vector else []

    def _joint_parameters(self) -> Iterator[nn.Parameter]:
        """What the joint space adds to the network: these layers, and what stands beside them."""
        for layer in self.joint_layers:
            yield from layer.parameters()
        if self.has_image_vector:
            yield from self._projection.own_parameters(self.spec.joint_space)

    @property
    def _projection(self) -> Projection:
        return projection_of(self.network)

    @property
    def stage_features(self) -> tuple[int, ...]:
        """Channels of the maps by the stage that they come from, the last stage first."""
        return self._by_stage

    def _whole(self, images: Tensor) -> Features:
        """Features by the whole network."""
        if self._two is None:
            return self._features(self.network.forward_features(images))  # type: ignore[operator]
        before, last = self._two.run(images)
        maps = self._maps(last)
        height, width = maps.shape[2:]
        return Features(torch.cat([maps, adaptive_avg_pool2d(before, (height, width))], 1))

    def _features(self, stages: Any) -> Features:
        """Features from what the last stage gives."""
        maps = self._maps(stages)
        return split_tokens(self._tokens(stages, maps), maps.shape[2:]) if self.has_image_vector else Features(maps)

    def _maps(self, stages: Any) -> Float[Tensor, "batch channels h w"]:
        return as_maps(self.network, stages, self.spec.architecture)

    def _tokens(self, stages: Tensor, maps: Tensor) -> Tensor:
        return joint_tokens(self._projection, stages, maps, self.spec.joint_space)


class TwoStages:
    """A network that gives away what its last stage receives.

    Args:
        network: the network.
        last: the first module of its last stage.
        name: of its architecture.
        size: side of the images.

    Attributes:
        features: channels of what the last stage receives.
    """

    def __init__(self, network: nn.Module, last: nn.Module, name: str, size: int) -> None:
        self.network, self.last, self.name = network, last, name
        device = next(network.parameters()).device
        was_training = network.training
        with torch.no_grad():
            network.eval()
            self.features = self.run(torch.zeros(1, 3, size, size, device=device))[0].shape[1]
        network.train(was_training)

    def run(self, images: Tensor) -> tuple[Float[Tensor, "batch features h w"], Any]:
        """Maps of the stage before the last, and what the network gives."""
        received: list[Tensor] = []
        hook = self.last.register_forward_pre_hook(lambda module, arguments: received.append(arguments[0]))
        try:
            given = self.network.forward_features(images)  # type: ignore[operator]
        finally:
            hook.remove()
        if len(received) != 1 or not isinstance(received[0], Tensor):
            raise StagesError(f"the last stage of backbone {self.name} does not receive one tensor; leave stages at 1")
        return self._as_maps(received[0]), given

    def _as_maps(self, value: Tensor) -> Float[Tensor, "batch features h w"]:
        if value.ndim == 4:
            square = value.shape[1] == value.shape[2] != value.shape[3]  # of families that do not say their layout
            channels_last = getattr(self.network, "output_fmt", None) == "NHWC" or square
            return value.permute(0, 3, 1, 2) if channels_last else value
        places = value[:, _prefix_tokens(self.network) :] if value.ndim == 3 else value
        side = math.isqrt(places.shape[1])
        if value.ndim != 3 or side * side != places.shape[1]:
            raise StagesError(
                f"the last stage of backbone {self.name} receives {tuple(value.shape)}, which are no maps; leave "
                "stages at 1"
            )
        return places.transpose(1, 2).reshape(len(places), -1, side, side)


def two_stages(spec: BackboneSpec, network: nn.Module) -> TwoStages:
    """A network with its last stage found.

    Raises:
        StagesError: it cannot be found, or what it receives are no maps.
    """
    modules = modules_after_cut(network, 1)
    if not modules:
        raise StagesError(f"the last stage of backbone {spec.architecture} is not known; leave stages at 1")
    return TwoStages(network, modules[0], spec.architecture, spec.size)


def as_maps(network: nn.Module, features: Any, name: str) -> Float[Tensor, "batch features h w"]:
    """Maps from what a timm network's `forward_features` gives: [B, d, h, w], [B, h, w, d] or [B, tokens, d], by
    family, or a list of these, of which the last is taken.

    Raises:
        UsageError: they are no square maps of the network's channels.
    """
    d = int(network.num_features)  # type: ignore[arg-type]
    last: Tensor = features[-1] if isinstance(features, list | tuple) else features
    if last.ndim == 4:
        channels_last = getattr(network, "output_fmt", None) == "NHWC" or last.shape[1] != d
        last = last.permute(0, 3, 1, 2) if channels_last else last
        if last.shape[1] == d:
            return last
    if last.ndim == 3 and last.shape[-1] == d:
        tokens = last[:, _prefix_tokens(network) :]
        side = math.isqrt(tokens.shape[1])
        if side and side * side == tokens.shape[1]:
            return tokens.transpose(1, 2).reshape(tokens.shape[0], d, side, side)
    shapes = [tuple(one.shape) for one in features] if isinstance(features, list | tuple) else tuple(last.shape)
    raise UsageError(
        f"backbone {name} gives features of shape {shapes}, which are no square maps of {d} channels; choose another "
        "backbone or a square image size"
    )


def _prefix_tokens(network: nn.Module) -> int:
    """How many tokens stand before those of the locations; networks that do not say so have a class token or none."""
    declared = getattr(network, "num_prefix_tokens", None)
    if declared is not None:
        return int(declared)
    return int(any(name.startswith("cls_token") for name, _ in network.named_parameters(recurse=True)))


def _is_frozen(norm: nn.Module) -> bool:
    return any(not parameter.requires_grad for parameter in norm.parameters())
