"""Two small towers in a folder of open_clip, with random weights: something to train from nothing on built-in scenes,
and to try the way from a folder to a tagger with where no published weights are at hand.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from partlabel.errors import MissingDependencyError
from partlabel.models.encoders.clip_folder import CONFIG


def write_towers(
    folder: Path,
    *,
    size: int = 32,
    patch: int = 8,
    width: int = 32,
    layers: int = 1,
    features: int = 16,
    network: str = "",
    seed: int = 0,
) -> str:
    """Write a tower for images and a transformer for texts, and return the name of the backbone, `local-dir:FOLDER`.

    Args:
        folder: where; made if it is not there.
        size: side of the images, in pixels.
        patch: side of a location, in pixels.
        width: channels of both towers.
        layers: blocks of both towers.
        features: channels of the joint space.
        network: timm's name of the image tower; "": a transformer, to which `patch` applies.
        seed: of the weights.

    Raises:
        MissingDependencyError: open_clip is not installed.
    """
    try:
        import open_clip
    except ImportError as error:
        raise MissingDependencyError("two towers need open_clip: pip install 'partlabel[clip]'") from error
    blocks = {"layers": layers, "width": width}
    vision: dict[str, Any] = {**blocks, "image_size": size, "patch_size": patch, "head_width": 16}
    if network:
        vision = {"image_size": size, "timm_model_name": network, "timm_pool": "avg", "timm_proj": None}
    text = {**blocks, "heads": width // 16, "context_length": 40, "vocab_size": 49408}
    model = {"embed_dim": features, "vision_cfg": vision, "text_cfg": text}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        towers = open_clip.CLIP(**model)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in towers.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    preprocessing = {"size": size, "mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / CONFIG).write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocessing}))
    return f"local-dir:{folder}"
