"""Which architectures are built, and with what: names that timm knows and a short list of arguments.

A description of a network (the `model.json` of a bundle, the `config.json` of a folder of weights) may come from a
stranger. timm hands unknown arguments on to code that reads files, loads pickles or asks the network, and one large
number is enough to take all memory. So every argument is checked by name, type and range, here and nowhere else, and
what is built from a description is built on torch's meta device first, where it takes no memory.
"""

import re
from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import nn

from partlabel.errors import UsageError

_WHOLE = {
    "img_size": 4096,
    "patch_size": 256,
    "window_size": 64,
    "output_stride": 32,
    "depth": 256,
    "depths": 256,
    "layers": 256,
    "embed_dim": 16384,
    "embed_dims": 16384,
    "dims": 16384,
    "num_heads": 256,
    "reg_tokens": 64,
    "base_width": 4096,
    "cardinality": 4096,
    "stem_width": 4096,
}
"""Positive whole numbers, or up to eight of them, and the largest that is taken."""
_NUMBERS = {
    "drop_rate": 1,
    "drop_path_rate": 1,
    "proj_drop_rate": 1,
    "attn_drop_rate": 1,
    "pos_drop_rate": 1,
    "patch_drop_rate": 1,
    "mlp_ratio": 64,
    "init_values": 64,
}
"""Numbers from 0, and the largest that is taken."""
_SWITCHES = {"class_token", "dynamic_img_size", "no_embed_class", "pre_norm", "qkv_bias", "strict_img_size"}
_WORDS = {"act_layer", "global_pool", "norm_layer", "pad_type", "stem_type"}
ARGUMENTS = ("in_chans", *_WHOLE, *_NUMBERS, *sorted(_SWITCHES), *sorted(_WORDS))


def check_architecture(name: str, arguments: Mapping[str, Any]) -> None:
    """Check a timm name, with or without the tag of its weights, and arguments of its architecture.

    Raises:
        UsageError: the name is a source of weights or unknown to timm, or an argument is not on the list or out of
            range; says what is.
    """
    plain = name.split(".", maxsplit=1)[0]
    if not re.fullmatch(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_.-]*)?", name) or not timm.is_model(plain):
        near = timm.list_models(f"*{plain[:8]}*")[:5] if re.fullmatch(r"\w+", plain) else []
        raise UsageError(f"no backbone {name!r} in timm" + (f"; similar names: {', '.join(near)}" if near else ""))
    for argument, value in arguments.items():
        if argument not in ARGUMENTS:
            raise UsageError(
                f"backbone {name!r}: {argument!r} is not an argument that is taken; these are {', '.join(ARGUMENTS)}"
            )
        if value is not None and not _is_allowed(argument, value):
            raise UsageError(f"backbone {name!r}: {argument} cannot be {str(value)[:60]!r}; {_range(argument)}")


def skeleton(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """An architecture on the meta device, in eval mode: shapes without memory.

    Raises:
        UsageError: as `check_architecture`, or timm cannot build it.
    """
    check_architecture(name, arguments)
    try:
        with torch.device("meta"):
            return timm.create_model(name, pretrained=False, num_classes=0, **arguments).eval()
    except Exception as error:
        raise UsageError(f"backbone {name!r} cannot be built: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """What an error of a library says, as a part of a sentence."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _is_allowed(argument: str, value: Any) -> bool:
    if argument == "in_chans":  # timm writes it down; images have three
        return bool(value == 3)
    if argument in _SWITCHES:
        return isinstance(value, bool)
    if argument in _WORDS:
        return isinstance(value, str) and re.fullmatch(r"\w{0,32}", value) is not None
    if argument in _NUMBERS:
        return isinstance(value, int | float) and 0 <= value <= _NUMBERS[argument]
    several = value if isinstance(value, list | tuple) else [value]
    return 0 < len(several) <= 8 and all(type(one) is int and 1 <= one <= _WHOLE[argument] for one in several)


def _range(argument: str) -> str:
    if argument == "in_chans":
        return "it is 3"
    if argument in _SWITCHES:
        return "it is true or false"
    if argument in _WORDS:
        return "it is a word"
    if argument in _NUMBERS:
        return f"it is a number from 0 to {_NUMBERS[argument]}"
    return f"it is a whole number from 1 to {_WHOLE[argument]}, or a short list of such numbers"
