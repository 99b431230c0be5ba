"""Writing a label table in any format, so that no state is lost without the user's word."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from partlabel.errors import LabelError, UsageError
from partlabel.formats.base import Format
from partlabel.formats.catalogue import FORMATS, written_format
from partlabel.formats.codes import CodeMap
from partlabel.formats.options import check_separator
from partlabel.formats.reading import WriteOptions
from partlabel.formats.suggested import NO_SUGGESTIONS, Suggested
from partlabel.labels import LabelTable, State

LOSABLE = ("absent", "unknown", "images", "classes", "order")
"""What `lose` may name: a state, or images or classes that nothing is known of, or the order of the classes."""
_BINARY = {".parquet", ".jsonl", ".ndjson", ".json"}


def write_table(
    table: LabelTable,
    path: Path | str,
    *,
    codes: str | None = None,
    format: str | None = None,
    separator: str | None = None,
    suggested: Suggested = NO_SUGGESTIONS,
    prefix: str | None = None,
    lose: Iterable[str] = (),
) -> None:
    """Write a label file, whole or not at all. All states and orders survive; a format that would change any refuses.

    The long format keeps everything. One-hot files and tag lists do not keep the sources of cells. A one-hot file
    spells out every cell, and so keeps the states that a background implies, not the background itself; so do the
    formats of other tools. What is unsure stays so in formats with `keeps_unsure`, and is unknown in the others.

    Args:
        table: what to write; it has at least one image and one class.
        path: the file, or the folder of formats that are folders; .jsonl and .ndjson are tag lists, .parquet and .csv
            are long.
        codes: the values of the states, as in `read_table`; without it the words present, absent and unknown.
        format: key of `FORMATS`, where the ending does not tell.
        separator: what stands between names in CSV tag lists; `;` by default.
        suggested: suggestions to write beside the labels, in formats that hold them; those of cells that are known or
            unsure are left out.
        prefix: what to put before every image name, such as the address that an annotation tool shows images from.
        lose: words of `LOSABLE`: what may be lost where the format cannot hold it.

    Raises:
        LabelError: the table cannot be kept in this format; says why, and which word of `lose` would allow it.
        UsageError: an argument cannot be used.
        StorageError: the file cannot be written.
    """
    path, lose = Path(path), frozenset(lose)
    options = WriteOptions(
        codes=CodeMap.parse(codes), separator=check_separator(separator), suggested=suggested, prefix=prefix or ""
    )
    chosen = written_format(path, format)
    for name, given in (
        ("codes", codes is not None),
        ("separator", separator is not None),
        ("suggested", len(suggested) > 0),
        ("prefix", prefix is not None),
    ):
        if given and name not in chosen.written_with:
            raise UsageError(f"{path}: {chosen.name} is written without {name}; leave it out")
    if wrong := lose - {*LOSABLE}:
        raise UsageError(f"lose {sorted(wrong)[0]!r} is not one of {', '.join(LOSABLE)}")
    if not table.images or not table.classes:
        raise LabelError(f"{path}: a table without {'images' if not table.images else 'classes'} cannot be written")
    _check_names(table, path)
    _check_suggested(suggested, table, path)
    table = held(table, chosen, path, lose)
    chosen.write(table, path, replace(options, suggested=suggested.open_in(table)))


def held(table: LabelTable, format: Format, path: Path, lose: frozenset[str]) -> LabelTable:
    """What a format can hold of a table, where the user allows the losses.

    Raises:
        LabelError: something would be lost that `lose` does not name.
    """
    missing = {word: text for word, text in format.losses(table).items() if word not in lose}
    if missing:
        reasons = "; ".join(missing.values())
        words = " ".join(f"--lose {word}" for word in missing)
        raise LabelError(f"{path}: {format.name} cannot hold all of the table: {reasons}; to write it so, give {words}")
    return _in_two_states(table, format, path, lose) if format.two_states else table


def _in_two_states(table: LabelTable, format: Format, path: Path, lose: frozenset[str]) -> LabelTable:
    counts = table.counts_by_class()
    absent, unknown = int(counts.absent.sum()), int(counts.unknown.sum())
    if not absent or not unknown:
        return table
    if lose >= {"absent", "unknown"}:
        raise UsageError(f"{path}: --lose absent and --lose unknown exclude each other; give one")
    if not lose & {"absent", "unknown"}:
        able = [other.name for other in FORMATS.values() if other.writes and not other.two_states]
        raise LabelError(
            f"{path}: {format.name} tells present from the rest only, and the table has {absent:,} absent and "
            f"{unknown:,} unknown cells; write {', '.join(able)}, or give up one state: --lose absent forgets what is "
            f"known to be absent, --lose unknown declares every unknown cell absent"
        )
    cells = table.cells()
    present = cells.states == State.PRESENT
    return LabelTable.from_cells(
        table.images,
        table.classes,
        cells.image_index[present],
        cells.class_index[present],
        np.ones(int(present.sum()), np.int8),
        cells.sources[present],
        State.ABSENT if "unknown" in lose else State.UNKNOWN,
    )


def _check_suggested(suggested: Suggested, table: LabelTable, path: Path) -> None:
    for what, names, used, there in (
        ("image", suggested.images, suggested.image_index, table.image_positions),
        ("class", suggested.classes, suggested.class_index, table.class_positions),
    ):
        if strange := next((names[at] for at in np.unique(used) if names[at] not in there), None):
            raise LabelError(
                f"{path}: a suggestion is of {what} {strange!r}, which the table lacks; suggest cells of the table"
            )


def _check_names(table: LabelTable, path: Path) -> None:
    plain_text = path.suffix.casefold() not in _BINARY
    for name in (*table.images, *table.classes):
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise LabelError(f"{path}: the name {name!r} cannot be written as Unicode text; rename it") from error
        if plain_text and "\0" in name:
            raise LabelError(f"{path}: the name {name!r} holds a zero byte, which a text file must not; rename it")
