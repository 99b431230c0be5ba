"""Keywords of a collection of photographs: in XMP sidecars, or inside the images as XMP or IPTC.

A keyword is present; whatever an image does not have as a keyword is unknown, because nobody says that it lacks it. A
class is called by the leaf of a hierarchical keyword; what a leaf stands under becomes no class by that. Keywords under
`partlabel` say more; a person gives the verdict on a suggestion by giving the image one of the first three instead:

| hierarchical keyword | the class cat is |
|---|---|
| `partlabel|present|cat` | present, by a verdict |
| `partlabel|absent|cat` | absent, by a verdict |
| `partlabel|unsure|cat` | unknown, and not asked again: somebody could not decide |
| `partlabel|known absent|cat` | absent, as it was imported |
| `partlabel|suggested|cat|0.93` | unknown; a model suggests it with this probability |

Photographs are never written, nor sidecars beside them: a written table is a new folder of sidecars.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from partlabel.errors import EmptyTableError, LabelError
from partlabel.files import storage_errors
from partlabel.formats.base import Format, Source
from partlabel.formats.collect import ClassNames
from partlabel.formats.image_tree import some_entries
from partlabel.formats.listing import Listing
from partlabel.formats.new_folder import new_folder
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, WriteOptions
from partlabel.formats.sidecars.keywords import (
    ABSENT,
    KNOWN_ABSENT,
    PREFIX,
    PRESENT,
    SUGGESTED,
    UNSURE,
    ClassPaths,
    LeftOut,
    statements,
)
from partlabel.formats.sidecars.photographs import PHOTOGRAPHS, SIDECAR, collection
from partlabel.formats.sidecars.xmp import embedded_keywords, xmp_document
from partlabel.formats.suggested import Suggested, Suggestion
from partlabel.labels import LabelTable, State
from partlabel.labels import Source as CellSource
from partlabel.wording import amount

_OPENED_AT_MOST = 12  # images, to see whether there are keywords inside


class Sidecars(Format):
    """A folder of photographs with keywords."""

    name = "sidecars"
    title = "folder of photographs with keywords (XMP sidecars, embedded XMP or IPTC)"
    states = (
        "a keyword is present; those under partlabel|absent are absent, under partlabel|unsure unsure; else unknown"
    )
    suffixes = ()
    takes = frozenset({"folder"})
    options = frozenset({"unlisted"})
    advice = "copy a sidecar beside an image that has none: one of its own would be replaced by these keywords"
    written_with = frozenset({"suggested"})
    keeps_unsure = True

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether a sidecar is among its first entries, or an image with keywords inside."""
        entries = some_entries(source.path)
        for folder in [entry for entry in entries if entry.is_dir(follow_symlinks=False)][:5]:
            entries += some_entries(Path(folder.path))
        files = [Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False)]
        if any(path.suffix.casefold() == SIDECAR for path in files):
            return True
        images = islice((path for path in files if path.suffix.casefold() in PHOTOGRAPHS), _OPENED_AT_MOST)
        return any(map(_has_keywords, images))

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read the keywords of all photographs below a folder; classes are sorted by name.

        Raises:
            LabelError: a sidecar is damaged, or no photograph has a keyword.
        """
        listing = Listing(source, options, self.name, "image", "XMP")
        found, left_out = collection(source.path), LeftOut()
        said = {name: statements(keywords, left_out) for name, keywords in found.keywords.items()}
        if not said:
            raise EmptyTableError(f"{source.path} holds neither photographs nor sidecars")
        if not any(said.values()):
            raise LabelError(
                f"{source.path}: none of {amount(len(said), 'photograph')} has a keyword, in a sidecar or inside; is "
                f"this another folder?"
            )
        paths = ClassPaths(one.path for some in said.values() for one in some)
        for sentence in (*found.notes, *left_out.notes(), paths.note()):
            if sentence:
                listing.note(sentence)
        classes = sorted({paths.name(one.path) for some in said.values() for one in some})
        listing.names = ClassNames(None, trusted=True)  # a grandmother may be called Nan
        columns = {name: listing.declare(name, 0) for name in classes}
        for record, (name, some) in enumerate(said.items(), 1):
            row = listing.image(name, record)
            known = dict.fromkeys(
                (columns[paths.name(one.path)], one.state, one.source) for one in some if one.probability is None
            )
            _add(listing, row, [*known], record)
            decided = {column for column, _, _ in known}
            for one in some:
                if one.probability is not None and (column := columns[paths.name(one.path)]) not in decided:
                    listing.suggest(row, column, one.probability, record)
        return listing.finish()

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write a new folder of sidecars, `a/b.jpg.xmp` for the image `a/b.jpg`.

        Verdicts stay verdicts; other sources are not kept. Probabilities have two decimals.

        Raises:
            LabelError: the folder is not empty, or a name would change or is none of a file.
        """
        _check_images(table.images, path)
        _check_classes(_kept(table, options.suggested), path)
        suggested = options.suggested.by_image()
        advice = "name a new folder, and copy the sidecars beside the photographs from there"
        with new_folder(path, advice) as folder:
            for row, image in enumerate(table.images):
                target = folder / f"{image}{SIDECAR}"
                with storage_errors(path / image):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    document = xmp_document(*_keywords(table, row, suggested.get(image, [])))
                    target.write_text(document, encoding="utf-8", newline="\n")

    def losses(self, table: LabelTable) -> Mapping[str, str]:
        """Classes without a known or unsure cell, and the order of images and classes."""
        kept = _kept(table)
        lost = {}
        if len(kept) < len(table.classes):
            count = amount(len(table.classes) - len(kept), "class", "classes")
            lost["classes"] = (
                f"{count} without a known or unsure cell would be left out, as no image has such a keyword"
            )
        if list(table.images) != sorted(table.images) or kept != sorted(kept):
            lost["order"] = "images and classes would come back sorted by name"
        return lost


def _add(listing: Listing, row: int, known: list[tuple[int, State, CellSource]], record: int) -> None:
    """Add cells, each state of a class once; a verdict stands before what was known before."""
    seen: set[tuple[int, State]] = set()
    for column, state, source in sorted(known, key=lambda cell: cell[2] != CellSource.REVIEW):
        if (column, state) not in seen:
            seen.add((column, state))
            listing.cell(row, column, state, record, source)
    if not seen:
        listing.nobody_looked(row)


def _is_control(mark: str) -> bool:
    return unicodedata.category(mark) == "Cc" or mark in "\ufffe\uffff"


def _has_keywords(path: Path) -> bool:
    try:
        found = embedded_keywords(path)
    except (OSError, ValueError):
        return False
    return bool(found.flat or found.paths)


def _keywords(table: LabelTable, row: int, suggested: Iterable[Suggestion]) -> tuple[list[str], list[str]]:
    """The flat keywords of an image, and those of the hierarchy."""
    flat, paths = [], []
    states = table.rows([row])[0]
    here = slice(table.row_starts[row], table.row_starts[row + 1])
    sources = dict(zip(table.class_index[here].tolist(), table.sources[here].tolist(), strict=True))
    for column in np.flatnonzero(~table.open_rows([row])[0]).tolist():
        name, verdict = table.classes[column], sources.get(column) == CellSource.REVIEW
        if states[column] == State.UNKNOWN:
            paths.append(f"{PREFIX}|{UNSURE}|{name}")
        elif states[column] == State.PRESENT:
            flat.append(name.rpartition("|")[2])
            paths += [name, *([f"{PREFIX}|{PRESENT}|{name}"] if verdict else [])]
        else:
            paths.append(f"{PREFIX}|{ABSENT if verdict else KNOWN_ABSENT}|{name}")
    for one in suggested:
        paths.append(f"{PREFIX}|{SUGGESTED}|{one.class_name}|{one.probability:.2f}")
    return list(dict.fromkeys(flat)), paths


def _kept(table: LabelTable, suggested: Suggested | None = None) -> list[str]:
    """Classes with a known or unsure cell or a suggestion, in the order of the table."""
    counts = table.counts_by_class()
    decided = counts.present + counts.absent > 0
    decided[table.class_index[table.sources == CellSource.UNSURE]] = True
    names = [name for name, one in zip(table.classes, decided, strict=True) if one]
    return names if suggested is None else list(dict.fromkeys([*names, *(one.class_name for one in suggested)]))


def _check_images(images: Iterable[str], path: Path) -> None:
    for name in images:
        parts = name.split("/")
        if any(part == "" or part.startswith(".") for part in parts) or "\\" in name:
            raise LabelError(
                f"{path}: the image {name!r} is no name of a file below a folder, hidden ones aside; rename it"
            )
        if Path(name).suffix.casefold() not in PHOTOGRAPHS:
            raise LabelError(
                f"{path}: the image {name!r} has no ending of an image file, which a sidecar is found by; rename it"
            )


def _check_classes(names: list[str], path: Path) -> None:
    if not names:
        raise LabelError(
            f"{path}: no cell is known or unsure and nothing is suggested, so that there is no keyword to write"
        )
    paths = ClassPaths(tuple(name.split("|")) for name in names)
    for name in names:
        levels = tuple(name.split("|"))
        if any(level != level.strip() or not level for level in levels) or any(map(_is_control, name)):
            raise LabelError(
                f"{path}: the class {name!r} has outer white space, an empty level or a control character, which no "
                f"keyword keeps; rename it"
            )
        if paths.name(levels) != name:
            raise LabelError(
                f"{path}: the class {name!r} would be read as {paths.name(levels)!r}, because '|' stands between a "
                f"keyword and what it is under; rename it"
            )
        if levels[0] == PREFIX or (levels[0] == "darktable" and len(levels) > 1):
            raise LabelError(f"{path}: keywords under {levels[0]!r} are no classes; rename {name!r}")
