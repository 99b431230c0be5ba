"""The model bundle: a folder of safetensors and JSON, enough to tag images elsewhere. No pickle.

A bundle may come from a stranger. So `model.json` can only name an architecture and a head that are built here anyway,
with arguments that are checked; what it describes is built on torch's meta device first, compared with the names and
shapes of the weights that are there, and tried; only then is memory taken, no more than these weights need.
"""

import hashlib
import json
import math
import stat
from pathlib import Path
from typing import Any, NoReturn

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from partlabel.errors import PartlabelError, RunError
from partlabel.files import write_bytes, write_json
from partlabel.models.encoders.architecture import first_line
from partlabel.models.encoders.base import BackboneSpec
from partlabel.models.encoders.build import rebuild_backbone
from partlabel.models.fingerprint import tensors_digest
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger
from partlabel.recovery.calibrate import Calibration
from partlabel.version import __version__

FORMAT = 1

_DESCRIPTION_BYTES = 32 << 20
_UNSAVED_BYTES = 256 << 20
"""What a network may hold beside its weights: tables of positions, which are made when it is built."""
_KINDS = {"F16": True, "BF16": True, "F32": True, "F64": True, "I64": False}
"""Types of weights that are written, and whether they are floating."""
_FITTING: set[bytes] = set()
"""Digests of what `_check_fit` has found to fit in this process; trying takes longer than loading a small network."""


class BundleInfo(BaseModel):
    """What `model.json` says: everything but the weights."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    partlabel: str = __version__
    backbone: BackboneSpec
    head: HeadSpec
    classes: tuple[str, ...]
    method: str
    thresholds: tuple[float, ...] | None = None
    calibration: dict[str, Any] | None = None
    weights_sha256: str = ""

    @field_validator("partlabel", "method")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if len(value) > 200 or not value.isprintable():
            raise ValueError(f"{value[:40]!r} is not one printable line")
        return value


def save_bundle(folder: Path, tagger: Tagger, info: BundleInfo) -> None:
    """Write the weights, then `model.json` with their digest, so that the two cannot be mixed up unnoticed."""
    weights = _apart({name: tensor.detach().cpu().contiguous() for name, tensor in tagger.state_dict().items()})
    digest = tensors_digest(weights)
    write_bytes(folder / "model.safetensors", save(weights, metadata={"sha256": digest}))
    write_json(folder / "model.json", info.model_copy(update={"weights_sha256": digest}).model_dump(mode="json"))


def _apart(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights that share no memory, as safetensors wants them: networks may use one layer at several places."""
    taken: set[int] = set()
    apart = {}
    for name, tensor in weights.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in taken else tensor
        taken.add(place)
    return apart


def load_bundle(folder: Path, *, freeze: bool = False, train_last: int = 0) -> tuple[Tagger, BundleInfo]:
    """Rebuild the tagger of a bundle, in eval mode.

    Args:
        folder: where `save_bundle` wrote.
        freeze: make the backbone a frozen one, as it was trained, so that cached maps can be used. For export leave it
            False, however it was trained: the tagger is then one plain function of images.
        train_last: as it was trained.

    Raises:
        RunError: the folder holds no bundle, a torn one, one of a newer format, or one whose parts do not fit together.
    """
    info = read_info(folder)
    path = folder / "model.safetensors"
    _check_fit(info, _shapes(path), folder)
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        _unreadable(folder, error)
    if tensors_digest(weights) != info.weights_sha256:
        raise RunError(f"the weights in {folder} are not the ones model.json describes; copy the whole folder again")
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise RunError(
                f"the weights in {folder} hold numbers that are not finite, in {name}; train the model again"
            )
    tagger = Tagger(rebuild_backbone(info.backbone, freeze=freeze, train_last=train_last), info.head, info.classes)
    tagger.load_state_dict(weights)
    return tagger.eval(), info


def read_info(folder: Path) -> BundleInfo:
    """What the `model.json` of a bundle says, checked as far as that goes without the weights.

    Raises:
        RunError: there is none, it cannot be read, is of a newer format, or says what cannot be.
    """
    path = folder / "model.json"
    if not path.is_file():
        raise RunError(
            f"{folder} holds no model bundle (model.json is missing); if its training was stopped, go on with "
            "`partlabel train --resume`"
        )
    try:
        with path.open("rb") as stream:
            text = stream.read(_DESCRIPTION_BYTES + 1)
        if len(text) > _DESCRIPTION_BYTES:
            raise ValueError(f"it is larger than {_DESCRIPTION_BYTES >> 20} MB")
        described = json.loads(text, parse_constant=_not_finite)
        newer = described.get("format") if isinstance(described, dict) else None
        if isinstance(newer, int) and newer > FORMAT:
            raise RunError(f"{path} has format {newer}, newer than this release reads ({FORMAT}); update partlabel")
        info = BundleInfo.model_validate(described)
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, PartlabelError):
            raise
        raise RunError(f"{path} is not a model description: {_reason(error)}") from error
    _check_classes(info, path)
    return info


def _check_classes(info: BundleInfo, path: Path) -> None:
    """Classes, and what is said for each of them."""
    if not info.classes or len(set(info.classes)) < len(info.classes):
        raise RunError(f"{path} names no class, or one class twice; copy the whole folder again")
    for name in info.classes:
        if not name or any("\ud800" <= letter <= "\udfff" for letter in name):  # half a letter is in no label file
            raise RunError(f"{path}: {name[:60]!r} is not a name of a class; copy the whole folder again")
    if info.thresholds is not None:
        if len(info.thresholds) != len(info.classes):
            raise RunError(f"{path} has {len(info.thresholds)} thresholds for {len(info.classes)} classes")
        if not all(math.isfinite(threshold) for threshold in info.thresholds):
            raise RunError(f"{path} has a threshold that is not finite")
    if info.calibration is not None and Calibration.from_json(info.calibration).classes != info.classes:
        raise RunError(f"{path} has a calibration of other classes; it belongs to another model")


def _shapes(path: Path) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Shape of each tensor in a file of weights, and whether it is floating; the tensors are not read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise RunError(f"{path} is not a regular file; copy the whole folder again")
        with safe_open(path, "pt") as weights:
            parts = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118 (not a mapping)
            found = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in parts.items()}
    except (OSError, SafetensorError) as error:
        _unreadable(path.parent, error)
    for name, (_, kind) in found.items():
        if kind not in _KINDS:
            raise RunError(f"{path}: {name[:60]!r} has the type {kind}, which no model has")
    return {name: (shape, _KINDS[kind]) for name, (shape, kind) in found.items()}


def _check_fit(info: BundleInfo, given: dict[str, tuple[tuple[int, ...], bool]], folder: Path) -> None:
    """Build the described tagger without memory, compare it with the weights, and try it on an image without pixels."""
    parts = (info.backbone.model_dump_json(), info.head.model_dump_json(), info.classes, sorted(given.items()))
    digest = hashlib.sha256(repr(parts).encode()).digest()
    if digest in _FITTING:
        return
    model, size = info.backbone.architecture, info.backbone.size
    try:
        with torch.device("meta"), torch.no_grad():
            tagger = Tagger(rebuild_backbone(info.backbone), info.head, info.classes).eval()
            described = {
                name: (tuple(tensor.shape), tensor.is_floating_point()) for name, tensor in tagger.state_dict().items()
            }
            if described == given:
                logits: Tensor = tagger(torch.empty(1, 3, size, size)).logits
    except Exception as error:
        raise RunError(f"model.json in {folder} describes no model that can be built: {_reason(error)}") from error
    if described != given:
        odd = min(name for name in described.keys() | given.keys() if described.get(name) != given.get(name))
        what = _against(described.get(odd), given.get(odd))
        raise RunError(f"the weights in {folder} do not fit {model}: {odd[:80]} {what}; copy the whole folder again")
    beside = {id(tensor): tensor for tensor in (*tagger.parameters(), *tagger.buffers())}.values()
    if sum(tensor.nbytes for tensor in beside) - sum(t.nbytes for t in tagger.state_dict().values()) > _UNSAVED_BYTES:
        raise RunError(
            f"{model} in {folder} would need much more memory than its weights; the bundle is not one of ours"
        )
    if tuple(logits.shape) != (1, len(info.classes)):
        raise RunError(f"the model in {folder} gives {logits.shape[-1]} scores for {len(info.classes)} classes")
    _FITTING.add(digest)


def _against(described: tuple[tuple[int, ...], bool] | None, given: tuple[tuple[int, ...], bool] | None) -> str:
    if given is None:
        return "is missing"
    if described is None:
        return "belongs to nothing in it"
    if described[0] != given[0]:
        return f"has the shape {given[0]} instead of {described[0]}"
    return "has another type"


def _not_finite(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}")


def _reason(error: BaseException) -> str:
    """The first thing that is wrong, as a part of a sentence."""
    if isinstance(error, PartlabelError):
        return str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])[:80]}: {first['msg'].lower()}"
    return first_line(error)


def _unreadable(folder: Path, error: Exception) -> NoReturn:
    raise RunError(
        f"the weights in {folder} cannot be read ({first_line(error)}); copy the whole folder again"
    ) from error
