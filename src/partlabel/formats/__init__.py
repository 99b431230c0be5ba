"""Label files: one format per module, each a `Format` that reads and writes.

The format of a file follows from the ending of its name; where an ending belongs to several formats, from its content:

| name ends in | content (headers in any case; columns of `where` and `ignore` aside) | format |
|---|---|---|
| .parquet | columns of lists | hugging_face |
| .parquet | | long |
| .jsonl, .ndjson | | tag_lists |
| .csv, .tsv, .tab, .xlsx | an image column, class and state | long |
| .csv, .tsv, .tab, .xlsx | an image column, present and absent, or one of them by `columns` | tag_lists |
| .csv, .tsv, .tab, .xlsx | an image column, and none of class, state, present, absent | one_hot_csv |
| .csv | ImageID, LabelName and Confidence | open_images |
| .json, .xml, a folder | as the tool writes it | that of the tool |

The image column is the first one named image, file, filename or path. Whatever else is refused until `format` is given.
"""

from pathlib import Path
from typing import Unpack

from partlabel.errors import LabelError, UsageError
from partlabel.formats.base import Format, Source
from partlabel.formats.catalogue import FORMATS, format_of, suffixes
from partlabel.formats.chosen import completed, read_classes
from partlabel.formats.codes import CodeMap
from partlabel.formats.long import Long
from partlabel.formats.naming import with_note_on_addresses, without_prefix
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import (
    ConflictingCell,
    Duplicate,
    Reading,
    ReadingReport,
    SkippedRow,
    WriteOptions,
)
from partlabel.formats.relations_file import read_relations
from partlabel.formats.suggested import Suggested, Suggestion
from partlabel.formats.writing import LOSABLE, write_table
from partlabel.labels import LabelTable
from partlabel.progress import Tick, unheard
from partlabel.read_arguments import ReadArguments

__all__ = [
    "FORMATS",
    "LOSABLE",
    "CodeMap",
    "ConflictingCell",
    "Duplicate",
    "Format",
    "ReadArguments",
    "ReadOptions",
    "Reading",
    "ReadingReport",
    "SkippedRow",
    "Suggested",
    "Suggestion",
    "WriteOptions",
    "format_of",
    "label_source",
    "read_table",
    "read_written",
    "suffixes",
    "unused_options",
    "write_table",
]


def label_source(path: Path | str, tick: Tick = unheard) -> Source:
    """A label file, or a folder of labels, that is there.

    Args:
        path: the file or folder.
        tick: told how much of it is read.

    Raises:
        LabelError: it is not, or no format reads such a file or folder.
    """
    path = Path(path)
    if path.is_dir():
        if not any("folder" in format.takes for format in FORMATS.values()):
            raise LabelError(f"{path} is a folder, not a label file; give the file in it that lists the labels")
    elif not path.exists():
        raise LabelError(f"{path} does not exist")
    elif not path.is_file():
        raise LabelError(
            f"{path} is a pipe or a device; labels are read more than once, so write them to a file that ends in "
            f"{suffixes()} first"
        )
    return Source(path, tick)


def read_table(path: Path | str, *, tick: Tick = unheard, **options: Unpack[ReadArguments]) -> Reading:
    """Read a label file.

    Args:
        path: the file or folder; it is never changed.
        tick: told how many megabytes of a large file are read, of how many.
        **options: the fields of `ReadOptions`: codes, unlisted, classes, where, ignore, conflicts, format, separator,
            columns, strip.

    Raises:
        LabelError: the file cannot be read as labels; names file, line and column.
        UsageError: an option cannot be used, or the format of the file does not use it.
    """
    source = label_source(path, tick)
    checked = ReadOptions.of(options)
    format = format_of(source, checked)
    if unused := checked.unused(format.options):
        raise UsageError(f"{path}: {format.name} does not use --{unused[0]}; leave it out")
    relations = None if checked.relations is None else read_relations(checked.relations)
    reading = read_classes(format, source, checked, relations)
    if checked.strip:
        reading = without_prefix(reading, checked.strip, source.path)
    if relations is not None:
        reading = completed(reading, relations, checked)
    return with_note_on_addresses(reading)


def read_written(path: Path | str) -> LabelTable:
    """A table as `write_table` wrote it to Parquet. Its names were accepted before, and are not doubted again.

    Raises:
        LabelError: the file cannot be read.
    """
    return Long().read(label_source(path), ReadOptions(), trusted=True).table


def unused_options(path: Path | str, options: ReadArguments) -> list[str]:
    """Options that are given, but that the format of this file does not use.

    Raises:
        LabelError: the file has no format.
        UsageError: an option cannot be used.
    """
    checked = ReadOptions.of(options)
    return checked.unused(format_of(label_source(path), checked).options)
