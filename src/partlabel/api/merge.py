"""`merge`: two label tables made one, such as yours and the suggestions that you have checked."""

from pathlib import Path
from typing import Literal, cast

from partlabel.errors import EmptyTableError, LabelError, UsageError
from partlabel.formats import write_table
from partlabel.formats.relations_file import read_relations
from partlabel.labels import LabelTable
from partlabel.merging import merge as merged_tables
from partlabel.merging import merge_related
from partlabel.names import alike_across, same_file_key, told_apart
from partlabel.opening import ReadArguments, Table, header_of, open_table, refuse_input
from partlabel.progress import SILENT, Reporter


def merge(
    table: Table,
    other: Table,
    *,
    out: Path | str | None = None,
    prefer: Literal["first", "second"] | None = None,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
) -> LabelTable:
    """Union of two tables over the union of their images and classes; a known state beats an unknown one.

    Args:
        table: label table, or the path of a label file; it is not changed.
        other: label table, or the path of a label file of any format, read as `read` says but for its format and
            what is unlisted; it is not changed.
        out: label file to write.
        prefer: which table decides where one says present and the other absent.
        reporter: where findings go.
        read: how to read the label file.

    Raises:
        LabelError: a file cannot be read, the tables write one name in two ways, or they contradict each other and
            `prefer` does not decide.
        UsageError: `out` is a file that is read, or `prefer` is something else.
        StorageError: the file cannot be written.
    """
    if prefer not in {"first", "second", None}:
        raise UsageError(f"prefer {prefer!r} is not 'first', 'second' or None")
    if out is not None:
        refuse_input(out, table, other)
    read = read or {}
    coded = read.get("codes") is not None  # codes hold for both files, and one of them may not need them
    first, _ = open_table(table, reporter, read, shared=coded)
    second = _second(other, first, reporter, read)
    _refuse_alike(first, second, reporter)
    side: Literal["self", "other"] | None = None if prefer is None else "self" if prefer == "first" else "other"
    if (relations := read.get("relations")) is None:
        merged, clashes = merged_tables(first, second, side)
    else:
        merged, clashes = merge_related(first, second, read_relations(relations), side)
    if clashes and prefer is None:
        raise LabelError(
            f"{len(clashes)} cell(s) are present in one table and absent in the other, first: class "
            f"{clashes[0].class_name!r} of {clashes[0].image!r}; say which one is right (--prefer first, or second)"
        )
    for new, what in (
        ([name for name in second.images if name not in first.image_positions], "image(s)"),
        ([name for name in second.classes if name not in first.class_positions], "class(es)"),
    ):
        if new:
            reporter.say(f"{len(new)} {what} are in the second table only, first: {new[0]!r}")
    if out is not None:
        write_table(merged, out)
        before, after = first.counts_by_class(), merged.counts_by_class()
        gains = [int(new.sum() - old.sum()) for new, old in zip(after[:2], before[:2], strict=True)]
        reporter.say(f"{out}: {gains[0]:+,} present and {gains[1]:+,} absent cells")
    return merged


def _second(other: Table, first: LabelTable, reporter: Reporter, read: ReadArguments) -> LabelTable:
    """The second table; where its file holds suggestions of which none is left, a table that adds nothing."""
    try:
        return open_table(other, reporter, _of_second(other, reporter, read), shared=True)[0]
    except EmptyTableError:
        from partlabel.recovery.suggestions_file import holds_suggestions

        if isinstance(other, LabelTable) or not holds_suggestions(other):
            raise
        reporter.say(f"{other} lists no image; nothing is added")
        return first.select_images([])


def _of_second(other: Table, reporter: Reporter, read: ReadArguments) -> ReadArguments:
    """The options that hold for the second file too: not its format, which may be another, not the declaration that
    what is unlisted is absent, which was made for the first, and no columns that it does not have.
    """
    how = cast(ReadArguments, {name: value for name, value in read.items() if name not in {"format", "unlisted"}})
    if isinstance(other, LabelTable):
        return how
    columns = header_of(other)
    kept = {name: value for name, value in (read.get("where") or {}).items() if columns is None or name in columns}
    for name in (read.get("where") or {}).keys() - kept.keys():
        reporter.say(f"{other} has no column {name!r}; --where holds for the first file alone")
    how["where"] = kept
    how["ignore"] = [name for name in read.get("ignore", ()) if columns is None or name in columns]
    return how


def _refuse_alike(first: LabelTable, second: LabelTable, reporter: Reporter) -> None:
    """Refuse tables that write one class or image in two ways; names of images that differ by case are only reported,
    because such files exist side by side.
    """
    for what, pairs in (
        ("class", alike_across(first.classes, second.classes)),
        ("image", alike_across(first.images, second.images, same_file_key)),
    ):
        if pairs:
            shown = ", ".join("{} in the first and {} in the second".format(*told_apart(*pair)) for pair in pairs[:3])
            raise LabelError(
                f"{len(pairs)} {what} name(s) of the two tables look alike and differ: {shown}; they would become two "
                f"{'classes' if what == 'class' else 'images'}: make the names equal, or rename one more clearly"
            )
    if alike := alike_across(first.images, second.images):
        mine, theirs = alike[0]
        reporter.say(
            f"{len(alike)} image name(s) of the two tables look alike and are kept apart, first: {mine!r}, {theirs!r}"
        )
