"""All label formats, and which of them a file or folder is."""

from pathlib import Path

from partlabel.errors import LabelError, UsageError
from partlabel.formats.base import Format, Source
from partlabel.formats.class_folders import ClassFolders
from partlabel.formats.coco import Coco
from partlabel.formats.cvat import Cvat
from partlabel.formats.datumaro import Datumaro
from partlabel.formats.fiftyone import FiftyOne
from partlabel.formats.header import unclear
from partlabel.formats.hugging_face import HuggingFace
from partlabel.formats.label_studio import LabelStudio
from partlabel.formats.long import Long
from partlabel.formats.lvis import Lvis
from partlabel.formats.one_hot import OneHotCsv
from partlabel.formats.open_images import OpenImages
from partlabel.formats.options import ReadOptions, one_of
from partlabel.formats.sidecars import Sidecars
from partlabel.formats.tags import TagLists
from partlabel.formats.text import DELIMITED
from partlabel.formats.unread import refuse_unread
from partlabel.formats.voc import Voc
from partlabel.formats.yolo import Yolo

FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        OneHotCsv(),
        Long(),
        TagLists(),
        Cvat(),
        FiftyOne(),
        LabelStudio(),
        Coco(),
        Lvis(),
        Datumaro(),
        Voc(),
        Yolo(),
        ClassFolders(),
        HuggingFace(),
        OpenImages(),
        Sidecars(),
    )
}
_WRITTEN_BY_DEFAULT = "long"


def suffixes() -> str:
    """The endings of label files, in words."""
    names = list(
        dict.fromkeys(suffix for format in FORMATS.values() if "file" in format.takes for suffix in format.suffixes)
    )
    return " or ".join([", ".join(names[:-1]), names[-1]])


def format_of(source: Source, options: ReadOptions) -> Format:
    """The format of a file or folder: as named, or by its ending, or by its content.

    Raises:
        LabelError: it has none, or several.
        UsageError: the named one is unknown, or does not read such a file.
    """
    refuse_unread(source, suffixes())
    kind = "folder" if source.is_folder else "file"
    if options.format is not None:
        named = FORMATS[one_of("format", options.format, FORMATS)]
        if kind not in named.takes:
            raise UsageError(f"{source.path} is a {kind}, and {named.name} is read from a {' or '.join(named.takes)}")
        if not source.is_folder:
            _check_suffix(source.path, named)
        return named
    possible = [
        format
        for format in FORMATS.values()
        if kind in format.takes and (source.is_folder or source.suffix in format.suffixes)
    ]
    if not possible:
        raise LabelError(f"{source.path}: the name does not end in {suffixes()}; say the format with --format")
    if len(possible) == 1 and not source.is_folder:
        return possible[0]
    fitting = [format for format in possible if format.sniff(source, options)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting and source.suffix in DELIMITED:
        raise unclear(source.columns(options))
    names = ", ".join(format.name for format in fitting or possible)
    if not fitting and source.is_folder:
        raise LabelError(
            f"{source.path} is a folder, and looks like none of {names}; give the file in it that lists the labels, or "
            f"say what it is with --format"
        )
    if not fitting:
        raise LabelError(f"{source.path} looks like none of {names}; say what it is with --format")
    raise LabelError(f"{source.path} could be {names}; say which with --format")


def written_format(path: Path, name: str | None) -> Format:
    """The format to write a file or folder in: as named, or by its ending.

    Raises:
        UsageError: the ending tells none or several, or the named one is unknown, not written, or has other endings.
    """
    if name is not None:
        named = FORMATS[one_of("format", name, FORMATS)]
        if not named.writes:
            raise UsageError(f"{named.name} is read only ({named.states}); name another format")
        if "file" in named.takes:
            _check_suffix(path, named)
        if path.suffix.casefold() in named.read_only:
            raise UsageError(f"{path}: {named.name} is not written to {path.suffix} files; end the name in .csv")
        return named
    suffix = path.suffix.casefold()
    possible = [
        one for one in FORMATS.values() if one.writes and suffix in one.suffixes and suffix not in one.read_only
    ]
    if not possible:
        ends = dict.fromkeys(
            end for one in FORMATS.values() if one.writes for end in one.suffixes if end not in one.read_only
        )
        raise UsageError(f"{path}: the name does not end in {' or '.join(ends)}; rename it or say the format")
    plain = next((format for format in possible if format.name == _WRITTEN_BY_DEFAULT), None)
    if plain is None and len(possible) > 1:
        names = ", ".join(format.name for format in possible)
        raise UsageError(f"{path}: {suffix} files are {names}; say which (convert: --to)")
    return plain or possible[0]


def _check_suffix(path: Path, format: Format) -> None:
    suffix = path.suffix.casefold()
    owners = [other.name for other in FORMATS.values() if suffix in other.suffixes]
    if owners and format.name not in owners:
        raise UsageError(
            f"{path}: a {path.suffix} file is {' or '.join(owners)}, not {format.name}; leave the format out or rename "
            f"the file"
        )
