"""Label tables as arguments: a table, the path of a label file, or `NAME:DIR`, a published data set on disk."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

from partlabel.datasets.base import Dataset
from partlabel.datasets.catalogue import DATASETS
from partlabel.datasets.spec import Spec, parse
from partlabel.errors import UsageError
from partlabel.files import write_text
from partlabel.formats import ReadArguments, Reading, label_source, read_table, unused_options
from partlabel.formats.options import ReadOptions
from partlabel.labels import LabelTable, Source
from partlabel.names import names_alike
from partlabel.opening.published import open_published, unused_by_published
from partlabel.progress import SILENT, Reporter
from partlabel.wording import amount

__all__ = [
    "ReadArguments",
    "Table",
    "check_source",
    "header_of",
    "image_folder",
    "is_published",
    "located",
    "open_table",
    "open_truth",
    "origin",
    "published_root",
    "read_dataset",
    "refuse_input",
    "refuse_to_overwrite",
    "write_categories",
]

Table = LabelTable | Path | str
_LARGE = 1 << 25  # bytes; smaller files are read in a second


def is_published(table: Table | None) -> bool:
    """Whether an argument names a published data set, not a file."""
    return _spec(table) is not None


def check_source(table: Table) -> None:
    """Refuse a label file or data set that is not there, before anything heavy is imported.

    Raises:
        PartlabelError: it is not.
    """
    if not isinstance(table, LabelTable) and parse(table) is None:
        label_source(table)


def published_root(table: Table | None) -> Path | None:
    """The image folder of a published data set; None where the argument is a file or a table."""
    spec = _spec(table)
    return None if spec is None else spec.root


def image_folder(images: Path | str | None, *tables: Table | None) -> Path | str:
    """The image folder as given, or that of the first published data set among the tables.

    Raises:
        UsageError: neither says it.
    """
    if images is not None:
        return images
    for table in tables:
        if (root := published_root(table)) is not None:
            return root
    raise UsageError("say where the images are: the folder that the image names are relative to (--images DIR)")


def origin(table: Table) -> str:
    """Where labels came from, for records."""
    if isinstance(table, LabelTable):
        return "in memory"
    spec = parse(table)
    return str(Path(table).resolve()) if spec is None else str(spec)


def located(text: str, base: Path) -> str:
    """A label file or data set of which relative paths start from `base`, as an argument that does not."""
    spec = parse(text, base=base)
    return str(base / text) if spec is None else str(spec)


def write_categories(table: str, out: Path) -> int:
    """Write what a data set tells of each image beside its classes, as CSV with the columns image and category.

    Returns:
        The number of images.

    Raises:
        UsageError: the argument is no data set, or it tells nothing beside its classes.
        LabelError: a file is missing or broken.
    """
    spec = parse(table)
    told = None if spec is None else spec.dataset.side_information(spec.root)
    if told is None:
        telling = [name for name, one in DATASETS.items() if type(one).side_information is not Dataset.side_information]
        raise UsageError(f"{table!r} tells nothing beside its classes; {', '.join(telling)}:DIR does")
    refuse_input(out, table)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows([("image", "category"), *told.items()])
    write_text(out, text.getvalue())
    return len(told)


def refuse_input(out: Path | str, *tables: Table) -> None:
    """Refuse to write over a file that is read.

    Raises:
        UsageError: `out`, or the record beside it, is one of the tables.
    """
    refuse_to_overwrite([Path(out), Path(f"{out}.json")], *tables)


def refuse_to_overwrite(written: Iterable[Path], *tables: Table) -> None:
    """Refuse to write over a file that is read.

    Raises:
        UsageError: a file to write is one of the tables.
    """
    targets = {path.resolve() for path in written}
    for table in tables:
        if isinstance(table, LabelTable):
            continue
        spec = parse(table)
        for read in [Path(table)] if spec is None else spec.sources_of_all_splits():
            if read.resolve() in targets:
                raise UsageError(f"{read} is read and would be overwritten; give another file to write")


def open_truth(table: Table, reporter: Reporter, read: ReadArguments, *, shared: bool = False) -> LabelTable:
    """Labels to judge by. Recovered cells are unknown in them: they come from a model."""
    labels, _ = open_table(table, reporter, read, shared=shared)
    known = labels.without_recovered()
    if known is not labels:
        count = int((labels.sources == Source.RECOVERED).sum())
        reporter.say(f"{count:,} recovered cells of the truth are left out: they come from a model, nobody looked")
    return known


def open_table(
    table: Table, reporter: Reporter, read: ReadArguments, *, shared: bool = False
) -> tuple[LabelTable, Reading | None]:
    """The table itself, or what a file holds, with its reading report; findings are reported.

    Args:
        table: label table, the path of a label file, or `NAME:DIR`; of a data set there is no reading report.
        reporter: where findings go.
        read: how to read the file.
        shared: the same options hold for another file as well, so that this one need not use all of them.

    Raises:
        LabelError: the file cannot be read.
        UsageError: an option cannot be used.
    """
    if isinstance(table, LabelTable):
        return table, None
    spec = parse(table, _where(table, read, reporter) if shared else read.get("where"))
    if shared and (unused := unused_by_published(spec, read) if spec else unused_options(table, read)):
        reporter.say(
            f"{table} is read without {', '.join(f'--{name}' for name in unused)}, which its format does not use"
        )
        read = cast(ReadArguments, {name: value for name, value in read.items() if name not in unused})
    if spec is not None:
        labels = open_published(spec, reporter, read)
        for alike in names_alike(labels.classes):
            reporter.say(_alike(table, alike))
        return labels, None
    reading = _read(Path(table), reporter, read)
    for sentence in _findings(table, reading):
        reporter.say(sentence)
    return reading.table, reading


def _read(path: Path, reporter: Reporter, read: ReadArguments) -> Reading:
    if not path.is_file() or path.stat().st_size < _LARGE:
        return read_table(path, **read)
    with reporter.track(f"reading {path} (MB)") as tick:
        return read_table(path, tick=tick, **read)


def _where(table: Path | str, read: ReadArguments, reporter: Reporter) -> dict[str, str]:
    """The conditions that hold for a data set too, where they were said for two files."""
    conditions = dict(read.get("where") or {})
    spec = parse(table)
    for column in [] if spec is None else conditions.keys() - spec.options.keys():
        reporter.say(f"{table} has no option {column!r}; --where {column} holds for the other file alone")
        del conditions[column]
    return conditions


def read_dataset(text: str, reporter: Reporter = SILENT) -> LabelTable:
    """The table of a published data set on disk.

    Args:
        text: `NAME:DIR,option=value`; `partlabel datasets` tells names and options.
        reporter: where progress, and counts that differ from the published ones, go.

    Raises:
        UsageError: there is no such data set, option or value.
        LabelError: a file is missing or broken.
    """
    spec = parse(text)
    if spec is None:
        raise UsageError(f"{text!r} names no published data set; give NAME:DIR with a name of {', '.join(DATASETS)}")
    return open_published(spec, reporter, {})


def header_of(path: Path | str) -> tuple[str, ...] | None:
    """The column names of a CSV, or the options of a data set; None where a file has neither."""
    if (spec := parse(path)) is not None:
        return tuple(option.name for option in spec.dataset.options)
    source = label_source(path)
    if source.is_folder or source.suffix != ".csv":
        return None
    return source.columns(ReadOptions()).names


def _findings(path: Path | str, reading: Reading) -> Iterator[str]:
    report = reading.report
    for count, what in (
        (report.rows_skipped, "row(s) skipped"),
        (report.duplicate_count, "duplicate(s) kept once"),
        (report.conflict_count, "conflicting cell(s) made unknown"),
    ):
        if count:
            yield f"{path}: {count} {what}; `partlabel look` names them"
    if report.ignored_columns and report.format == "tag_lists":  # elsewhere a column is either needed or harmless
        yield f"{path}: nothing is read from {', '.join(map(repr, report.ignored_columns))}"
    for note in report.notes:
        yield f"{path}: {note}"
    if len(report.suggested):
        yield f"{path}: {amount(len(report.suggested), 'suggestion')} beside the labels are none; `convert` keeps them"
    for alike in names_alike(reading.table.classes):
        yield _alike(path, alike)


def _alike(path: Path | str, names: tuple[str, ...]) -> str:
    return f"{path}: {' and '.join(map(repr, names))} are different classes; rename one if they are the same"


def _spec(table: Table | None) -> Spec | None:
    return None if table is None or isinstance(table, LabelTable) else parse(table)
