"""Writing a folder so that a reader never sees half of one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from partlabel.errors import LabelError
from partlabel.files import storage_errors


@contextmanager
def new_folder(target: Path, advice: str = "name a new folder") -> Iterator[Path]:
    """A temporary folder beside `target` that becomes it when the block ends well, and is removed when it does not.

    Args:
        target: the folder; not there, or empty.
        advice: what to do where it holds something.

    Raises:
        LabelError: there is a file of this name, or a folder that is not empty.
        StorageError: it cannot be written.
    """
    with storage_errors(target):
        if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
            raise LabelError(f"{target} is there already, and nothing in it is overwritten; {advice}")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:40]}.", suffix=".part"))
    try:
        with storage_errors(target):
            yield temporary
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o777 & ~mask)
            os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
