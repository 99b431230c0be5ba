"""Published data sets as tables: read once, kept in the cache, compared with the published counts."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from partlabel.cache import default_cache, trusted
from partlabel.datasets.spec import Spec
from partlabel.errors import LabelError, StorageError, UsageError
from partlabel.formats import ReadArguments, read_written, write_table
from partlabel.formats.options import ReadOptions
from partlabel.labels import LabelTable
from partlabel.progress import Reporter

_USED = frozenset({"where", "classes", "conflicts"})  # there are no conflicts: each reader says what a cell is


def open_published(spec: Spec, reporter: Reporter, read: ReadArguments) -> LabelTable:
    """The table of a data set; counts that differ from the published ones are reported.

    Args:
        spec: which one; `where` is in its options already.
        reporter: where progress and findings go.
        read: of the options of reading, `classes` chooses among the classes; files have the others.

    Raises:
        LabelError: a file is missing or broken, or a class is none of the data set.
        UsageError: an option of reading that data sets do not have.
    """
    checked = ReadOptions.of(read)
    if unused := unused_by_published(spec, read):
        raise UsageError(f"{spec.dataset.name} does not use --{unused[0]}, which belongs to label files; leave it out")
    sources = spec.sources()
    kept = _kept_in(spec, sources)
    table = _cached(kept)
    if table is None:
        with reporter.track(f"reading {spec.dataset.title}") as tick:
            table = spec.dataset.read(spec.root, spec.options, tick)
        if not table.images:
            raise LabelError(f"{spec} has no image; choose other options")
        _keep(table, kept, reporter)
    for note in spec.dataset.notes(table, spec.root, spec.options):
        reporter.say(note)
    if checked.classes is None:
        return table
    if unknown := [name for name in checked.classes if name not in table.class_positions]:
        raise LabelError(f"{spec.dataset.name} has no class {unknown[0]!r}; its first ones are {_first(table)}")
    return table.select_classes(list(checked.classes))


def unused_by_published(spec: Spec, read: ReadArguments) -> list[str]:
    """Options of reading that are given, but that data sets do not use."""
    checked, fields = ReadOptions.of(read), ReadOptions.model_fields
    return [name for name in fields if name not in _USED and getattr(checked, name) != fields[name].default]


def _first(table: LabelTable) -> str:
    return ", ".join(map(repr, table.classes[:5]))


def _kept_in(spec: Spec, sources: Sequence[Path]) -> Path | None:
    """Where the table is kept: a name that changes with the files, the options and the reader."""
    try:
        folder = default_cache() / "datasets"
    except StorageError:
        return None
    states = [(str(path), (state := path.stat()).st_size, state.st_mtime_ns) for path in sources]
    what = json.dumps(
        [spec.dataset.name, spec.dataset.version, dict(spec.options), spec.dataset.layout(spec.root), states]
    )
    return folder / f"{spec.dataset.name}-{hashlib.sha256(what.encode()).hexdigest()[:24]}.parquet"


def _cached(kept: Path | None) -> LabelTable | None:
    if kept is None or not trusted(kept):
        return None
    try:
        return read_written(kept)
    except LabelError:  # damaged: the official files are still there
        return None


def _keep(table: LabelTable, kept: Path | None, reporter: Reporter) -> None:
    if kept is None:
        return
    try:
        kept.parent.parent.mkdir(0o777 if "PARTLABEL_CACHE" in os.environ else 0o700, parents=True, exist_ok=True)
        write_table(table, kept)
    except OSError as error:
        reporter.say(f"the table is not kept for the next time: {error}")
