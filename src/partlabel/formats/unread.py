"""Label files that are not read yet: what they are, and how to bring their labels in today."""

import json
from typing import Any

from partlabel.errors import LabelError
from partlabel.formats.base import Source

_HEAD = 1 << 16
_COMPRESSED = (".gz", ".bz2", ".xz", ".zip", ".zst", ".7z")
_NOT_READ = {
    ".tsv": "tabs between columns are not read; save it as CSV, with commas between columns",
    ".tab": "tabs between columns are not read; save it as CSV, with commas between columns",
    ".xlsx": "spreadsheets are not read; save the sheet as CSV UTF-8, with commas between columns",
    ".xls": "spreadsheets are not read; save the sheet as CSV UTF-8, with commas between columns",
    ".ods": "spreadsheets are not read; save the sheet as CSV UTF-8, with commas between columns",
    ".feather": "Feather files are not read; write it as Parquet, in the columns image, class and state",
    ".xml": "XML is not read; write one line per image as JSON Lines",
}
_LINES = '{"image": "a.jpg", "present": ["cat"], "absent": ["dog"]}'


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
    if source.suffix in {".json", ".geojson"}:
        raise LabelError(
            f"{source.path}: {_json_kind(source)}; write one line per image, such as {_LINES}, to a file "
            "that ends in .jsonl"
        )


def _json_kind(source: Source) -> str:
    """What a JSON file seems to hold, from its start: annotation files may be large."""
    with source.path.open("rb") as file:
        head = file.read(_HEAD).decode("utf-8", "replace")
    if '"annotations"' in head or '"categories"' in head or _keys(head) >= {"images"}:
        if "neg_category_ids" in head or "not_exhaustive_category_ids" in head:
            return (
                "LVIS annotations are not read yet (classes of neg_category_ids are absent, those of "
                "not_exhaustive_category_ids are present with more to come, and unlisted ones are unknown)"
            )
        return (
            "COCO annotations are not read yet (a category without a box is absent only if your classes are complete); "
            "MS-COCO 2014 itself is read as coco2014:DIR"
        )
    if '"choices"' in head or '"completions"' in head:
        return "exports of Label Studio are not read yet"
    return "a JSON document is not read"


def _keys(head: str) -> set[str]:
    """The keys of a small JSON object."""
    try:
        found: Any = json.loads(head)
    except (ValueError, RecursionError):
        return set()
    return set(found) if isinstance(found, dict) else set()
