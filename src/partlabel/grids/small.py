"""A grid made so small that every row of it is trained in a second or two, to try a file out before it costs days.

Kept are methods, maskings, data sets and overrides by their names, and all settings that make a method what it is. Data
become a few built-in scenes, networks a tiny one from random weights, and whatever only costs time, such as sizes,
epochs and widths, the least that still runs every part. One seed, one data set and one masking are run; the settings of
the others are checked with the file.
"""

from collections.abc import Mapping
from typing import Any

TITLE = "SMALL TRIAL, its numbers mean nothing: "
SCENES = {"builtin": "digit_scenes", "train": 48, "test": 16, "size": 32}
BACKBONE = "test_resnet"
EPOCHS = 2
_REPLACED: dict[str, Any] = {
    "backbone": BACKBONE,
    "pretrained": False,
    "size": 64,  # tiny networks make 2 × 2 places of it
    "epochs": EPOCHS,
    "batch_size": 16,
    "workers": 0,
    "accumulate": 1,
    "amp": "none",
    "accelerator": "cpu",
    "validate_every": 1,
}
"""What every training has."""
_IF_SAID: dict[str, Any] = {
    "schedule_epochs": EPOCHS + 1,
    "step_epochs": [1],
    "devices": 1,
    "strategy": "auto",
    "loggers": [],
    "backbone_args": {},
    "joint_space": "off",
    "image_vector": "places",
    "label_vectors": "learned",
    "draws": 1,
    "maps_by": "torch",
}
"""What a training has whose settings say something of it."""
_LARGEST: dict[str, int] = {
    "lora_rank": 2,
    "reduction": 32,
    "hidden": 32,
    "feed_forward": 32,
    "expansion": 32,
    "label_features": 16,
    "dictionary_size": 16,
    "refresh_every": 2,
    "graph_top": 5,
    "steps": 1,
    "layers": 1,
    "warmup_epochs": 1,
    "every": 1,
}
"""Settings that cost time, and how large they may be."""
_TOP = 3
"""Of the ten classes of the scenes, how many predictions count as the highest, so that some labels are missed."""
_NEEDED: dict[str, dict[str, Any]] = {"risk": {"class_prior": 0.2}}
"""What settings need beside them on so few labels."""
_LEFT_OUT = {"crop_from", "crop_sides", "checkpoint_every"}
"""Settings that belong to what is replaced."""


def small(written: Mapping[str, Any]) -> dict[str, Any]:
    """The small form of a checked grid file.

    Args:
        written: the content of the file, variables not filled in; none are left in the result.
    """
    data, masking = (next(iter(written[kind])) for kind in ("data", "masking"))
    content = {name: value for name, value in written.items() if name not in {"top", "keep_runs"}}
    content |= {
        "title": TITLE + written.get("title", "Results"),
        "seeds": written["seeds"][:1],
        "data": {data: SCENES},
        "masking": {masking: written["masking"][masking]},
        "settings": {**_settings(written.get("settings", {})), **_REPLACED},
    }
    for kind in ("start", "method"):
        if kind in written:
            content[kind] = {label: _settings(row) for label, row in written[kind].items()}
    content["override"] = [
        {**one, **_names(one, "data", data), **_names(one, "masking", masking), "settings": _settings(one["settings"])}
        for one in written.get("override", ())
        if _holds(one, "data", data) and _holds(one, "masking", masking)
    ]
    if "recognised" in written:
        content["recognised"] = {**written["recognised"], "top": min(written["recognised"]["top"], _TOP)}
    if "published" in written:
        named = written["published"].get("data", {})
        content["published"] = {**written["published"], "data": {data: named[data]} if data in named else {}}
    return content


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if name in _REPLACED or name in _IF_SAID:
            found[name] = {**_REPLACED, **_IF_SAID}[name]
        elif name in _LEFT_OUT or "${" in str(value):
            continue
        elif name == "lr" and isinstance(value, list):
            found[name] = value[0]
        elif name in _LARGEST and type(value) is int:
            found[name] = min(value, _LARGEST[name])
        else:
            found[name] = value
        found |= _NEEDED.get(name, {})
    return found


def _holds(entry: Mapping[str, Any], kind: str, name: str) -> bool:
    return kind not in entry or name in _listed(entry[kind])


def _names(entry: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """Of the names that an entry lists, the one that is left."""
    return {kind: name} if kind in entry and _listed(entry[kind]) else {}


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
