"""Masked label tables of a grid: written once, checked whenever they are used."""

import json
from collections.abc import Callable
from pathlib import Path

from partlabel.errors import RunError
from partlabel.formats import read_written
from partlabel.grids.cell import digest
from partlabel.grids.schema import Masking
from partlabel.labels import LabelTable
from partlabel.progress import Reporter


def masked_table(
    complete: LabelTable, masking: Masking, seed: int, stem: Path, hide: Callable[..., LabelTable], reporter: Reporter
) -> Path:
    """File of the masked table; made if there is none for this complete table, masking and seed.

    Args:
        complete: what to hide cells of.
        masking: how.
        seed: of the draw.
        stem: path of the file; what identifies the table and .parquet are put behind it.
        hide: `partlabel.api.hide.hide`.
        reporter: where progress goes.

    Raises:
        PartlabelError: the masking does not fit the table or its settings.
        RunError: the file is not what was written.
    """
    what = digest({"input": complete.hash, "masking": masking.name, "settings": masking.settings, "seed": seed})
    path = stem.with_name(f"{stem.name}--{what[:8]}.parquet")
    record = Path(f"{path}.json")
    if not (path.is_file() and record.is_file()):
        hide(complete, masking=masking.name, out=path, seed=seed, reporter=reporter, **masking.settings)
    elif read_written(path).hash != json.loads(record.read_text(encoding="utf-8"))["output_hash"]:
        raise RunError(f"{path} is not the table that {record} describes; delete both, and they are made again")
    return path


def lacking(table: LabelTable) -> str:
    """Which known cells a table has none of, in words; empty if it has both signs."""
    counts = table.counts_by_class()
    signs = [sign for sign, count in (("present", counts.present), ("absent", counts.absent)) if not count.any()]
    return f"known {' and '.join(signs)} cells" if signs else ""
