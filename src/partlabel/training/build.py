"""From a run's settings to what a phase trains on: backbone, method, sources."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from partlabel.errors import UsageError
from partlabel.images.limits import limits_of
from partlabel.images.views import ViewSettings
from partlabel.methods.base import Context, Method
from partlabel.methods.build import build_method, method_class
from partlabel.models.encoders.base import Backbone, view_settings
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.lora import add_lora
from partlabel.models.encoders.timm_maps import TimmBackbone
from partlabel.models.encoders.twin import TwinBackbone
from partlabel.progress import Reporter
from partlabel.runs.settings import TrainSettings, is_default
from partlabel.training.data import MapPlan, Source, image_source, map_source


def compute_device(settings: TrainSettings) -> torch.device:
    """Where maps are computed and images scored: the device that training uses, of several this process's own."""
    if settings.accelerator not in {"auto", "gpu", "cuda"} or not torch.cuda.is_available():
        return torch.device("cpu")
    local = os.environ.get("LOCAL_RANK", "")
    return torch.device("cuda", _device_number(settings.devices, int(local) if local.isdecimal() else 0))


def _device_number(devices: int | str, local_rank: int) -> int:
    """Number of a process's GPU: "3," and "1,3" name GPUs, anything else counts them from 0."""
    if isinstance(devices, str) and "," in devices:
        named = [int(part) for part in devices.split(",") if part.strip().isdecimal()]
        if named:
            return named[local_rank % len(named)]
    return local_rank


def build(settings: TrainSettings, context: Context) -> Method[Any]:
    """A method on its backbone, its new weights drawn from the seed alone.

    Raises:
        UsageError: unknown names, weights that cannot be had, or settings that exclude each other.
    """
    _check_lora(settings)
    torch.manual_seed(settings.seed)
    backbone: Backbone = _backbone(settings)
    if method_class(settings.method).networks == 2 and not (settings.freeze and not settings.train_last):
        backbone = TwinBackbone(backbone, _backbone(settings))
    shown_views(settings, backbone)
    method = build_method(settings.method, settings.method_settings, backbone, context)
    method.tagger.frozen_head_norm = settings.frozen_norm == "all"
    if settings.accumulate > 1 and method.batch_global:
        raise UsageError(
            f"method {settings.method} takes its {' and '.join(method.batch_global)} over the whole batch, which "
            "accumulate would split; use a larger batch_size or more devices instead"
        )
    if settings.freeze:
        method.tagger.use_trunk_output()
    else:
        method.to(memory_format=torch.channels_last)  # quicker convolutions (docs/decisions)
    return method


def _backbone(settings: TrainSettings) -> TimmBackbone:
    backbone = create_backbone(
        settings.backbone,
        pretrained=settings.pretrained,
        size=settings.size,
        freeze=settings.freeze,
        train_last=settings.train_last,
        model_args=settings.backbone_args,
        local_global=settings.local_global,
        branch_scale=settings.branch_scale,
        frozen_norm=bool(settings.frozen_norm),
        train_parts=settings.train_parts,
        joint_space=settings.joint_space,
        preprocessing=settings.preprocessing,
        stages=settings.stages,
    )
    if settings.lora_rank:
        add_lora(
            backbone.network,
            settings.lora_rank,
            settings.lora_alpha,
            targets=settings.lora_targets,
            dropout=settings.lora_dropout,
            behind=backbone.joint_layers,
        )
        backbone.batch_statistics = settings.lora_norm == "batch"
    return backbone


def _check_lora(settings: TrainSettings) -> None:
    """Low-rank changes are all that is trained of a backbone."""
    if not settings.lora_rank:
        return
    if settings.frozen_norm and settings.lora_norm == "batch":
        raise UsageError(
            "frozen_norm keeps the running statistics that lora_norm='batch' changes; leave one of them out"
        )
    others = {
        "freeze": settings.freeze,
        "local_global": settings.local_global,
        "train_parts": settings.train_parts != "all",
    }
    for name, given in others.items():
        if given:
            raise UsageError(f"lora_rank and {name} both say what of the backbone is trained; leave one of them out")


def check_crops(settings: TrainSettings, views: tuple[str, ...]) -> None:
    """Refuse crops of views that are never drawn: of a frozen backbone the first weak view is the plain one, which is
    not cropped, as crop_scale 1 says.

    Raises:
        UsageError: no view is cropped; says what to do.
    """
    if not settings.freeze or settings.draws > 1 or "strong" in views:
        return
    for name in ("random_crop", "crop_scale"):
        if not is_default(settings, name) and (name, getattr(settings, name)) != ("crop_scale", 1):
            raise UsageError(
                f"{name} has no effect, because the maps of a frozen backbone are those of the plain view alone; set "
                f"draws above 1, or leave {name} out"
            )


def shown_views(settings: TrainSettings, backbone: Backbone) -> ViewSettings:
    """How images are shown to a backbone in training.

    Raises:
        UsageError: the squares to cut out are larger than what they are cut out of.
    """
    names = ("flip", "random_crop", "crop_scale", "crop_from", "crop_sides")
    try:
        return view_settings(backbone.spec, **{name: getattr(settings, name) for name in names})
    except ValidationError as error:
        raise UsageError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error


def sources(
    settings: TrainSettings,
    backbone: Backbone,
    views: tuple[str, ...],
    names: Sequence[str],
    root: Path,
    reporter: Reporter,
) -> tuple[Source, Source]:
    """Where training gets its views and scoring its plain view."""
    shown = shown_views(settings, backbone)
    if not settings.freeze:
        limits = limits_of(settings.max_image_mb)
        return (
            image_source(root, names, views, shown, settings.seed, limits),
            image_source(root, names, ("plain",), shown, settings.seed, limits),
        )
    source = map_source(map_plan(settings, backbone, views, names, root), reporter)
    return source.only(views), source.only(("plain",))


def map_plan(
    settings: TrainSettings, backbone: Backbone, views: tuple[str, ...], names: Sequence[str], root: Path
) -> MapPlan:
    """The maps that training with these views and scoring read."""
    return MapPlan(
        backbone,
        root,
        names,
        tuple(dict.fromkeys(("plain", *views))),
        shown_views(settings, backbone),
        seed=settings.seed,
        draws=settings.draws,
        device=compute_device(settings),
        maps_by=settings.maps_by,
        limits=limits_of(settings.max_image_mb),
    )
