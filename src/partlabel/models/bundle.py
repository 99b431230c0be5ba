"""The model bundle: a folder of safetensors and JSON, enough to tag images elsewhere. No pickle."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from partlabel.errors import RunError
from partlabel.files import write_bytes, write_json
from partlabel.models.encoders.base import BackboneSpec
from partlabel.models.encoders.build import rebuild_backbone
from partlabel.models.fingerprint import tensors_digest
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger
from partlabel.version import __version__

FORMAT = 1


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


def save_bundle(folder: Path, tagger: Tagger, info: BundleInfo) -> None:
    """Write the weights, then `model.json` with their digest, so that the two cannot be mixed up unnoticed."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in tagger.state_dict().items()}
    digest = tensors_digest(weights)
    write_bytes(folder / "model.safetensors", save(weights, metadata={"sha256": digest}))
    write_json(folder / "model.json", info.model_copy(update={"weights_sha256": digest}).model_dump(mode="json"))


def load_bundle(folder: Path, *, freeze: bool = False, train_last: int = 0) -> tuple[Tagger, BundleInfo]:
    """Rebuild the tagger of a bundle, in eval mode.

    Args:
        folder: where `save_bundle` wrote.
        freeze: make the backbone a frozen one, as it was trained, so that cached maps can be used.
        train_last: as it was trained.

    Raises:
        RunError: the folder holds no bundle, a torn one, or one of a newer format.
    """
    path = folder / "model.json"
    if not path.is_file():
        raise RunError(
            f"{folder} holds no model bundle (model.json is missing); if its training was stopped, go on with "
            "`partlabel train --resume`"
        )
    try:
        info = BundleInfo.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise RunError(f"{path} is not a model description: {str(error).splitlines()[0]}") from error
    if info.format > FORMAT:
        raise RunError(f"{path} has format {info.format}, newer than this release reads ({FORMAT}); update partlabel")
    tagger = Tagger(rebuild_backbone(info.backbone, freeze=freeze, train_last=train_last), info.head, info.classes)
    try:
        weights = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise RunError(f"the weights in {folder} cannot be read ({error}); copy the whole folder again") from error
    if tensors_digest(weights) != info.weights_sha256:
        raise RunError(f"the weights in {folder} are not the ones model.json describes; copy the whole folder again")
    try:
        tagger.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"the weights in {folder} do not fit {info.backbone.architecture}: {str(error).splitlines()[-1]}"
        ) from error
    return tagger.eval(), info
