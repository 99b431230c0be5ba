"""Folders of open_clip: the image tower of a model with two towers as a network that timm builds.

Why timm and not open_clip for the image tower: what is trained on it, shipped and exported then needs neither open_clip
nor the text tower, and a bundle can only name an architecture that is checked (`encoders.architecture`). timm converts
the weights (`docs/decisions`); that both give the same vectors of images is tested for each kind of tower.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from safetensors import safe_open
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.models.encoders.architecture import first_line

CONFIG = "open_clip_config.json"

_CONFIG_BYTES = 1 << 20
_RESNETS = {
    ((3, 4, 6, 3), 64): "resnet50_clip",
    ((3, 4, 23, 3), 64): "resnet101_clip",
    ((4, 6, 10, 6), 80): "resnet50x4_clip",
    ((6, 8, 18, 8), 96): "resnet50x16_clip",
    ((3, 15, 36, 10), 128): "resnet50x64_clip",
}
"""timm's names of CLIP's ResNets, by the blocks of each stage and the width of the stem."""
_OF_RESNET = {"image_size", "layers", "width", "head_width", "patch_size"}
_OF_TRANSFORMER = {"image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio"}
_OF_TIMM = {
    "image_size",
    "timm_model_name",
    "timm_model_pretrained",
    "timm_pool",
    "timm_proj",
    "timm_proj_bias",
    "timm_drop",
    "timm_drop_path",
}
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""CLIP's own, which open_clip takes where a folder says nothing."""


class ImageTower(NamedTuple):
    """The image tower of a folder.

    Args:
        architecture: timm's name.
        arguments: of the architecture.
        weights: the file that holds them.
        size: side of the images that it was trained on, in pixels.
        features: channels of the joint space.
        linear: whether a linear layer leads into it (`BackboneSpec.joint_linear`).
        config: mean, std and interpolation, as timm keeps them.
    """

    architecture: str
    arguments: dict[str, Any]
    weights: Path
    size: int
    features: int
    linear: bool
    config: dict[str, Any]


def is_clip_folder(name: str) -> bool:
    """Whether the name of a backbone is that of a folder of open_clip."""
    return name.startswith("local-dir:") and (Path(name.removeprefix("local-dir:")) / CONFIG).is_file()


def image_tower(folder: Path) -> ImageTower:
    """The image tower that a folder describes.

    Raises:
        UsageError: the description cannot be read, or timm has no such network.
    """
    path = folder / CONFIG
    try:
        with path.open("rb") as stream:
            described = json.loads(stream.read(_CONFIG_BYTES))
        model, preprocessing = described["model_cfg"], described.get("preprocess_cfg", {})
        features, vision = int(model["embed_dim"]), dict(model["vision_cfg"])
        side = vision.get("image_size", 224)
        side = int(side[0] if isinstance(side, list) else side)
        name, arguments, linear = _network(vision, bool(model.get("quick_gelu")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path} describes no model of open_clip ({first_line(error)}); copy the folder again"
        ) from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    config = {
        "mean": tuple(preprocessing.get("mean") or _MEAN),
        "std": tuple(preprocessing.get("std") or _STD),
        "interpolation": preprocessing.get("interpolation") or "bicubic",
    }
    return ImageTower(name, arguments, _weights(folder), side, features, linear, config)


def image_weights(tower: ImageTower, name: str) -> dict[str, Tensor]:
    """Weights of an image tower, under names that timm knows: its own, or those of CLIP's networks.

    Args:
        tower: of a folder.
        name: of the backbone, for errors.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        if tower.weights.suffix == ".safetensors":
            with safe_open(tower.weights, "pt") as file:
                found = {key: file.get_tensor(key) for key in file.keys() if key.startswith("visual.")}  # noqa: SIM118
        else:
            whole = torch.load(tower.weights, map_location="cpu", weights_only=True)
            whole = {key.removeprefix("module."): value for key, value in whole.get("state_dict", whole).items()}
            found = {key: value for key, value in whole.items() if key.startswith("visual.")}
    except Exception as error:
        raise UsageError(f"backbone {name!r}: its weights do not load ({first_line(error)})") from error
    if not any(key.startswith("visual.trunk.") for key in found):
        return found
    known = timm.get_pretrained_cfg(tower.architecture)
    last = "head" if known is None else known.classifier
    named = {key.removeprefix("visual.trunk."): value for key, value in found.items() if "visual.trunk." in key}
    if (projection := found.get("visual.head.proj.weight")) is not None:
        bias = found.get("visual.head.proj.bias", torch.zeros(len(projection)))
        named |= {f"{last}.weight": projection, f"{last}.bias": bias}
    return named


def _network(vision: dict[str, Any], quick_gelu: bool) -> tuple[str, dict[str, Any], bool]:
    """Timm's name and arguments of a tower, and whether a linear layer leads into the joint space."""
    if vision.get("timm_model_name"):
        _check_known(vision, _OF_TIMM)
        if vision.get("timm_proj") == "mlp" or vision.get("timm_pool") in {"abs_attn", "rot_attn"}:
            raise UsageError("the projection of this image tower is not built here; take a tower of another kind")
        arguments = {"global_pool": vision["timm_pool"]} if vision.get("timm_pool") else {}
        return str(vision["timm_model_name"]), arguments, vision.get("timm_proj") != "none"
    layers = vision.get("layers", 12)
    if isinstance(layers, list):
        _check_known(vision, _OF_RESNET)
        kind = (tuple(layers), vision.get("width", 64))
        if kind not in _RESNETS:
            raise UsageError(f"timm has no ResNet of CLIP with the stages {list(layers)} and width {kind[1]}")
        return _RESNETS[kind], {}, True
    _check_known(vision, _OF_TRANSFORMER)
    width = vision.get("width", 768)
    arguments = {
        "patch_size": vision.get("patch_size", 16),
        "embed_dim": width,
        "depth": layers,
        "num_heads": width // vision.get("head_width", 64),
        "mlp_ratio": vision.get("mlp_ratio", 4.0),
    }
    return f"vit_base_patch16_clip_{'quickgelu_' if quick_gelu else ''}224", arguments, True


def _check_known(vision: dict[str, Any], names: set[str]) -> None:
    other = sorted(name for name, value in vision.items() if name not in names and value not in (None, False, 0, 0.0))
    if other:
        raise UsageError(f"an image tower with {', '.join(other)} is not built here; take one without")


def _weights(folder: Path) -> Path:
    for name in ("open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    raise UsageError(f"{folder} holds no weights: open_clip_model.safetensors is missing; copy the folder again")
