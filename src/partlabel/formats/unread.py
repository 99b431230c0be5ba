"""Label files that are not read yet: what they are, and how to bring their labels in today."""

from partlabel.errors import LabelError
from partlabel.formats.base import Source

_COMPRESSED = (".gz", ".bz2", ".xz", ".zip", ".zst", ".7z")
_NOT_READ = {
    ".xls": "old workbooks are not read; save it as .xlsx or as CSV UTF-8",
    ".ods": "OpenDocument sheets are not read; save it as .xlsx or as CSV UTF-8",
    ".feather": "Feather files are not read; write it as Parquet, in the columns image, class and state",
}


def refuse_unread(source: Source, endings: str) -> None:
    """Refuse a file of a kind that no format reads, whatever format is named for it.

    Args:
        source: the file.
        endings: the endings that are read, in words.

    Raises:
        LabelError: it is one; says what to do.
    """
    if source.is_folder:
        return
    if source.suffix in _COMPRESSED:
        raise LabelError(f"{source.path} is compressed; unpack it first, so that its name ends in {endings}")
    if source.suffix in _NOT_READ:
        raise LabelError(f"{source.path}: {_NOT_READ[source.suffix]}")
