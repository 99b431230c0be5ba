"""Where the weights of a backbone come from: timm by name, a Hugging Face repository, or a folder."""

import json
import stat
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError, safe_open

from partlabel.errors import UsageError
from partlabel.models.encoders.architecture import first_line

_CONFIG_BYTES = 1 << 20
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".tar")
_IN_A_REPOSITORY = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors")


def described(name: str) -> tuple[str, dict[str, Any]]:
    """Plain architecture name and its arguments, for names that point to a folder or a repository as well.

    Arguments of the classifier, which is left out, are dropped.

    Raises:
        UsageError: the folder or repository holds no description, or cannot be reached.
    """
    if name.startswith("local-dir:"):
        config = _folder_config(_folder(name))
        architecture, arguments = config.get("architecture"), config.get("model_args")
    elif name.startswith(("hf-hub:", "hf_hub:")):
        repository = name.split(":", 1)[1]
        _check_reachable(name, repository, ("config.json",))
        try:
            _, architecture, arguments = timm.models.load_model_config_from_hf(repository)
        except Exception as error:
            raise _cannot_be_had(name, first_line(error)) from error
    else:
        return name, {}
    if not isinstance(architecture, str) or not isinstance(arguments or {}, dict):
        raise UsageError(f"the config.json of backbone {name!r} names no architecture of timm")
    kept = {key: value for key, value in (arguments or {}).items() if key not in {"num_classes", "global_pool"}}
    return architecture, kept


def check_weights(name: str) -> None:
    """Find out before anything is made whether the weights of a backbone can be had.

    A folder is never looked for elsewhere; a repository that is not in the local cache is asked for once.

    Raises:
        UsageError: the weights are missing, damaged or out of reach; says which file and why.
    """
    if name.startswith("local-dir:"):
        _check_folder(_folder(name))
        return
    if name.startswith(("hf-hub:", "hf_hub:")):
        repository = name.split(":", 1)[1]
    else:
        config = timm.get_pretrained_cfg(name, allow_unregistered=True)
        if config is None or not config.has_weights:
            raise UsageError(
                f"timm has no pretrained weights for {name!r}; start from random weights with --from-scratch, or give "
                "a folder with local-dir:DIR"
            )
        if not config.hf_hub_id or config.file or config.state_dict:
            return
        repository = config.hf_hub_id
    _check_reachable(name, repository, _IN_A_REPOSITORY)


def _folder(name: str) -> Path:
    return Path(name.removeprefix("local-dir:"))


def _folder_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise UsageError(f"backbone folder {folder} has no config.json; it must be a folder saved by timm")
    try:
        with path.open("rb") as stream:
            text = stream.read(_CONFIG_BYTES + 1)
        config = json.loads(text) if len(text) <= _CONFIG_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read ({first_line(error)}); copy the folder again") from error
    if not isinstance(config, dict):
        raise UsageError(f"{path} is not a description of a network; copy the folder again")
    return config


def _check_folder(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.name.endswith(_WEIGHT_SUFFIXES))
    if not files:
        raise UsageError(f"backbone folder {folder} holds no weights: model.safetensors is missing; copy it again")
    for path in files:
        if not path.exists() or not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is not a file that can be read; copy it again")
        with path.open("rb") as stream:
            if stream.read(42).startswith(b"version https://git-lfs"):
                raise UsageError(f"{path} is a Git LFS pointer and not the weights; fetch them with: git lfs pull")
        if path.suffix == ".safetensors":
            try:
                with safe_open(path, "pt"):
                    pass
            except (OSError, SafetensorError) as error:
                raise UsageError(
                    f"the weights in {path} are damaged ({first_line(error)}); copy the file again"
                ) from error


def _check_reachable(name: str, repository: str, files: tuple[str, ...]) -> None:
    """Ask once, and only where the local cache lacks the files; a download would try for a minute."""
    plain, _, revision = repository.partition("@")
    if any(isinstance(try_to_load_from_cache(plain, file, revision=revision or None), str) for file in files):
        return
    try:
        get_hf_file_metadata(hf_hub_url(plain, files[0], revision=revision or None))
    except HfHubHTTPError as error:
        if error.response.status_code in {401, 403}:  # a repository that does not exist is answered like a closed one
            raise _cannot_be_had(name, "there is no such repository, or it is not open to you") from error
    except Exception as error:
        raise _cannot_be_had(name, f"{first_line(error)}; is there a network?") from error


def _cannot_be_had(name: str, why: str) -> UsageError:
    return UsageError(
        f"the weights of backbone {name!r} are not in the local cache and cannot be fetched ({why}); give a folder "
        "with local-dir:DIR, or start from random weights with --from-scratch"
    )
