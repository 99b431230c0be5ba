"""Building backbones: with weights by name, or the bare architecture of a spec."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers.attention_pool2d import AttentionPool2d, RotAttentionPool2d
from torch import nn

from partlabel.errors import UsageError
from partlabel.models.encoders.architecture import check_architecture, first_line, skeleton
from partlabel.models.encoders.base import LARGEST_SIZE, Backbone, BackboneSpec, JointSpace, Preprocessing, TrainParts
from partlabel.models.encoders.clip_folder import ImageTower, image_tower, image_weights, is_clip_folder
from partlabel.models.encoders.joint_space import projection_of
from partlabel.models.encoders.local_global import BranchScale, add_local_global
from partlabel.models.encoders.pretrained import check_weights, described
from partlabel.models.encoders.timm_maps import TimmBackbone, as_maps
from partlabel.models.encoders.twin import TwinBackbone

_IMAGENET = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD, "interpolation": "bilinear"}
_FITTED: dict[str, dict[str, Any]] = {}
"""What `_fitted` has found in this process, by what was asked."""


def create_backbone(
    name: str,
    *,
    pretrained: bool = True,
    size: int | None = None,
    freeze: bool = False,
    train_last: int = 0,
    model_args: Mapping[str, Any] | None = None,
    local_global: bool = False,
    branch_scale: BranchScale = "constant",
    frozen_norm: bool = False,
    train_parts: TrainParts = "all",
    joint_space: JointSpace = "off",
    preprocessing: Preprocessing = "backbone",
    stages: int = 1,
) -> TimmBackbone:
    """Build a backbone by timm name, `hf-hub:` name or `local-dir:` folder, of timm or of open_clip.

    A name without tag takes timm's own choice of weights, which may not be those of a paper: "resnet101" is
    `resnet101.a1h_in1k`, a newer recipe; papers that start from torchvision's weights need `resnet101.tv_in1k`.

    Args:
        name: a name that timm knows, or where its description and weights lie.
        pretrained: load the pretrained weights; False starts from random ones.
        size: side of the square input image in pixels; the network's own by default.
        freeze: see `TimmBackbone`.
        train_last: see `TimmBackbone`.
        model_args: further arguments of the architecture, such as output_stride (`architecture.ARGUMENTS`).
        local_global: give its 3 × 3 convolutions a global branch each.
        branch_scale: what the branches start from (`GlobalBranch`).
        frozen_norm: see `TimmBackbone`.
        train_parts: see `TimmBackbone`.
        joint_space: the maps are those of the space that images and texts share, beside a vector of the whole image
            (`encoders.joint_space`); "off": the maps before the pooling.
        preprocessing: mean, spread and interpolation of images as its weights were trained with, as timm says, or as
            torchvision's weights for ImageNet were.
        stages: how many of the last stages give features, 1 or 2.

    Raises:
        UsageError: no such backbone, or its weights cannot be had, or it gives no maps at this size, or it has nothing
            to give a global branch to, or no joint space.
    """
    if size is not None and not 0 < size <= LARGEST_SIZE:
        raise UsageError(f"size {size} is not a number of pixels from 1 to {LARGEST_SIZE}")
    tower = image_tower(Path(name.removeprefix("local-dir:"))) if is_clip_folder(name) else None
    architecture, given = (tower.architecture, tower.arguments) if tower else described(name)
    size = size or (tower.size if tower else None)
    arguments = _fitted(architecture, {**given, **(model_args or {})}, size)
    if pretrained and tower is None:
        check_weights(name)
    joint = joint_space != "off"
    network = _network(name, tower, pretrained, joint, arguments)
    config: dict[str, Any] = {**vars(network)["pretrained_cfg"], **(tower.config if tower else {})}
    if preprocessing == "imagenet":
        config = {**config, **_IMAGENET}
    spec = BackboneSpec(
        architecture=architecture,
        model_args=arguments,
        size=size or int(config["input_size"][-1]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config.get("interpolation") or "bicubic",
        local_global=local_global,
        joint_space=joint_space,
        joint_features=projection_of(network).width if joint else 0,
        joint_linear=projection_of(network).linear if joint else True,
        stages=stages,
    )
    if local_global:
        add_local_global(network, branch_scale)
    return TimmBackbone(
        spec, network, freeze=freeze, train_last=train_last, frozen_norm=frozen_norm, train_parts=train_parts
    )


def _network(
    name: str, tower: ImageTower | None, pretrained: bool, joint: bool, arguments: Mapping[str, Any]
) -> nn.Module:
    """The timm network of a name or of an image tower, with the layer into the joint space where it is asked for."""
    given: dict[str, Any] = dict(arguments)
    if tower is not None:
        outputs = tower.features if joint and tower.linear else 0
        given |= {"num_classes": outputs}
        if pretrained:
            weights = image_weights(tower, name)
            given |= {"pretrained_cfg_overlay": {"state_dict": weights, "num_classes": outputs or tower.features}}
    elif not joint:  # the projection into the joint space is timm's classifier
        given |= {"num_classes": 0}
    try:
        network: nn.Module = timm.create_model(tower.architecture if tower else name, pretrained=pretrained, **given)
        vars(network)["pretrained_cfg"].pop("state_dict", None)
        return network
    except Exception as error:
        what = "weights do not load" if pretrained else "architecture cannot be built"
        raise UsageError(f"backbone {name!r}: its {what} ({first_line(error)})") from error


def rebuild_backbone(spec: BackboneSpec, *, freeze: bool = False, train_last: int = 0) -> Backbone:
    """The architecture of a spec with random weights, on torch's default device; its weights come from a bundle.

    Raises:
        UsageError: the spec names something that is not built (`architecture.check_architecture`).
    """
    if spec.copies == 2:
        one = spec.model_copy(update={"copies": 1})
        first, second = (rebuild_backbone(one, freeze=freeze, train_last=train_last) for _ in range(2))
        return TwinBackbone(first, second)
    check_architecture(spec.architecture, spec.model_args)
    outputs = spec.joint_features if spec.joint_linear else 0
    network = timm.create_model(spec.architecture, pretrained=False, num_classes=outputs, **spec.model_args)
    if spec.joint_space != "off" and projection_of(network).width != spec.joint_features:
        raise UsageError(f"joint_features of backbone {spec.architecture!r} do not fit its projection")
    if spec.local_global:
        add_local_global(network)
    return TimmBackbone(spec, network, freeze=freeze, train_last=train_last)


def _fitted(architecture: str, arguments: dict[str, Any], size: int | None) -> dict[str, Any]:
    """The arguments with which an architecture takes images of a size.

    Raises:
        UsageError: there are none, or what it gives are no maps.
    """
    asked = repr((architecture, sorted(arguments.items()), size))
    if asked not in _FITTED:
        _FITTED[asked] = _tried(architecture, arguments, size)
    return dict(_FITTED[asked])


def _tried(architecture: str, arguments: dict[str, Any], size: int | None) -> dict[str, Any]:
    """The same, tried without memory."""
    network = skeleton(architecture, arguments)
    own = int(vars(network)["pretrained_cfg"]["input_size"][-1])
    if size and _needs_its_size(network):
        arguments = {**arguments, "img_size": size}
        network = skeleton(architecture, arguments)
    side = size or own
    try:
        with torch.no_grad(), torch.device("meta"):
            features = network.forward_features(torch.empty(1, 3, side, side))  # type: ignore[operator]
    except Exception as error:
        raise UsageError(
            f"backbone {architecture!r} does not take images of {side} × {side} pixels ({first_line(error)}); its own "
            f"size is {own}, set by leaving size out"
        ) from error
    as_maps(network, features, architecture)
    return arguments


def _needs_its_size(network: nn.Module) -> bool:
    """Whether the maps, not only an attention pooling that is not used, depend on the size that a network is built
    for.
    """
    pooling = getattr(network, "head", None)
    return bool(vars(network)["pretrained_cfg"].get("fixed_input_size")) and not isinstance(
        pooling, (AttentionPool2d, RotAttentionPool2d)
    )
