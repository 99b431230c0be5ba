"""The folder of what can be computed again: maps of frozen backbones, tables of published data sets."""

import os
import stat
from pathlib import Path

from partlabel.errors import StorageError


def default_cache() -> Path:
    """Its path: PARTLABEL_CACHE, or partlabel below the user's cache folder.

    Raises:
        StorageError: the user has no home folder and names no other.
    """
    if chosen := os.environ.get("PARTLABEL_CACHE"):
        return Path(chosen).expanduser().absolute()
    if (base := os.environ.get("XDG_CACHE_HOME")) and Path(base).is_absolute():
        return Path(base) / "partlabel"
    try:
        return Path.home() / ".cache" / "partlabel"
    except RuntimeError as error:
        raise StorageError(
            "there is no home folder to keep computed files in; set PARTLABEL_CACHE to a folder that you can write"
        ) from error


def trusted(path: Path) -> bool:
    """Whether a cached file was written by someone whom the owner of its folder lets write there.

    In a folder that everybody may write, only what the user, root or the folder's owner wrote is read.
    """
    try:
        folder, state = path.parent.stat(), path.lstat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):
        return stat.S_ISREG(state.st_mode)
    everybody = stat.S_IMODE(folder.st_mode) & stat.S_IWOTH
    return stat.S_ISREG(state.st_mode) and (not everybody or state.st_uid in {os.getuid(), 0, folder.st_uid})
