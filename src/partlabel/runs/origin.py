"""Whether a run was trained by this user: only then are the images read that the run names by itself.

A run folder that came from elsewhere may name any folder as its image folder and any file below it as an image, and a
report carries the images that it shows. So a run gets a seal when it is trained: a keyed hash of its image folder and
its labels. The key is a file of the user's own, which no stranger knows.
"""

import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_KEY_BYTES = 32


def sealed(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a run with the user's seal; without one where there is no place to keep a key."""
    plain = {name: value for name, value in inputs.items() if name != "seal"}
    key = _key(make=True)
    return plain if key is None else {**plain, "seal": _seal(key, plain)}


def is_own(inputs: Mapping[str, Any], labels_hash: str) -> bool:
    """Whether the inputs, with these labels, carry the seal of this user."""
    key, seal = _key(make=False), inputs.get("seal")
    if key is None or not isinstance(seal, str):
        return False
    return hmac.compare_digest(
        _seal(key, {**inputs, "labels_hash": labels_hash}).encode(), seal.encode("utf-8", "replace")
    )


def _seal(key: bytes, inputs: Mapping[str, Any]) -> str:
    message = f"{inputs.get('images')}\n{inputs.get('labels_hash')}".encode("utf-8", "surrogatepass")
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def _key(*, make: bool) -> bytes | None:
    """The user's key, made when it is first needed; None where it can neither be read nor made."""
    try:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        path = Path(state) / "partlabel" / "key"
        if make and not path.is_file():
            _make_key(path)
        key = path.read_bytes()
    except (OSError, RuntimeError):  # no home, or none that can be written
        return None
    return key if len(key) == _KEY_BYTES else None


def _make_key(path: Path) -> None:
    """Readable by the user alone, and whole for whoever sees it; the first of several processes wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with open(handle, "wb") as stream:
            stream.write(secrets.token_bytes(_KEY_BYTES))
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)
