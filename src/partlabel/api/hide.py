"""`hide`: a complete table made incomplete, with a record of how."""

from pathlib import Path
from typing import Any

from partlabel.files import storage_errors, write_json
from partlabel.formats import write_table
from partlabel.labels import LabelTable
from partlabel.masking import hide as mask
from partlabel.opening import ReadArguments, Table, open_table, refuse_input
from partlabel.progress import SILENT, Reporter


def hide(
    table: Table,
    *,
    masking: str = "known_ratio",
    out: Path | str | None = None,
    seed: int | None = None,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
    **settings: Any,
) -> LabelTable:
    """Make known cells unknown, the same on any machine.

    Args:
        table: label table, the path of a label file, or `NAME:DIR` of a published data set; it is not changed.
        masking: a name in `partlabel.masking.MASKINGS`.
        out: where to write the table; `out` + ".json" then records masking, settings, seed, hashes and counts.
        seed: seed of the draw; None: the masking's own.
        reporter: where findings go.
        read: how to read the label file.
        **settings: settings of the masking, such as ratio.

    Raises:
        PartlabelError: unknown masking or setting, labels that do not fit it, or `out` is the file that is read.
    """
    if out is not None:
        refuse_input(out, table)
    labels, _ = open_table(table, reporter, read or {})
    hidden = mask(labels, masking, seed=seed, **settings)
    if out is not None:
        # A table without a record says nothing; beside the record of another table it would mislead.
        with storage_errors(Path(f"{out}.json")):
            Path(f"{out}.json").unlink(missing_ok=True)
        write_table(hidden.table, out)
        write_json(f"{out}.json", hidden.record)
        before, after = hidden.record["before"], hidden.record["after"]
        reporter.say(
            f"{out}: {after['present']:,} of {before['present']:,} present and {after['absent']:,} of "
            f"{before['absent']:,} absent cells are still known ({out}.json says how)"
        )
    return hidden.table
