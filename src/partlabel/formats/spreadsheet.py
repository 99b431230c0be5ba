"""Excel workbooks (.xlsx) as CSV text, so that every reader of tables takes them."""

import csv
import datetime
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

from partlabel.errors import LabelError, UsageError

SUFFIXES = (".xlsx",)
_UNPACKED_AT_MOST = 1 << 30  # bytes; a workbook of some kB can unpack to more than there is memory


def write_as_csv(path: Path, out: Path) -> str:
    """Write the first sheet of a workbook as CSV; rows and columns keep their numbers.

    A number is its shortest text (1.0 is `1`), TRUE and FALSE are `True` and `False`, a date is in ISO 8601.

    Returns:
        The name of the sheet.

    Raises:
        UsageError: openpyxl is not installed.
        LabelError: the file is no workbook, has several sheets with content, or holds a formula without a stored value.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise UsageError(
            f"{path}: workbooks are read with openpyxl; pip install 'partlabel[xlsx]', or save the sheet as CSV UTF-8"
        ) from error
    _refuse_bomb(path)
    try:
        with (
            closing(openpyxl.load_workbook(path, read_only=True, data_only=True)) as values,
            closing(openpyxl.load_workbook(path, read_only=True)) as formulas,
        ):
            return _write(values, formulas, out, path)
    except LabelError:
        raise
    except Exception as error:  # openpyxl raises whatever a damaged part happens to cause
        raise LabelError(f"{path} cannot be read as a workbook ({str(error)[:200]}); save the sheet as CSV") from error


def _write(values: Any, formulas: Any, out: Path, path: Path) -> str:
    filled = [sheet.title for sheet in values.worksheets if _has_content(sheet)]
    if not filled:
        raise LabelError(f"{path} has no sheet with content")
    if len(filled) > 1:
        raise LabelError(
            f"{path} has {len(filled)} sheets with content ({', '.join(map(repr, filled[:5]))}); keep the one with "
            f"the labels, or save it as CSV UTF-8"
        )
    with out.open("w", encoding="utf-8", newline="") as stream:
        _copy(values[filled[0]], formulas[filled[0]], csv.writer(stream, lineterminator="\n"), path)
    return str(filled[0])


def _refuse_bomb(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(part.file_size for part in archive.infolist())
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise LabelError(f"{path} is no workbook ({error}); save the sheet as CSV UTF-8") from error
    if size > _UNPACKED_AT_MOST:
        raise LabelError(
            f"{path} unpacks to {size:,} bytes, too much for a sheet of labels; save the sheet as CSV UTF-8"
        )


def _has_content(sheet: Any) -> bool:
    return any(cell is not None for row in sheet.iter_rows(values_only=True) for cell in row)


def _copy(values: Any, formulas: Any, out: Any, path: Path) -> None:
    width = 0
    for row, (shown, written) in enumerate(zip(values.iter_rows(), formulas.iter_rows(), strict=True), 1):
        for one, other in zip(shown, written, strict=True):
            if other.data_type == "f" and one.value is None:
                raise LabelError(
                    f"{path}, row {row}: cell {other.coordinate} holds a formula without a stored value; save the "
                    f"file in a spreadsheet program, and if it yields nothing write the value itself"
                )
        cells = [_as_text(cell.value) for cell in shown]
        while len(cells) > width and not cells[-1] and row > 1:
            cells.pop()
        if row == 1:
            while cells and not cells[-1]:  # formatted, but empty columns
                cells.pop()
            width = len(cells)
        out.writerow([*cells, *[""] * (width - len(cells))])


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
