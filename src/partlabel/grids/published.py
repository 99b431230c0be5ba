"""Numbers that a paper prints, read from a CSV, and which rows and data of a grid they stand beside.

The CSV has the columns of `COLUMNS`, one printed number a line, UTF-8:

table        the number of the table in the paper
row          the method, as printed
data         the data set, as printed
masking      what is known of the training labels; "average": the mean over the maskings of the table
measure      as in `partlabel.grids.measures`; mAP is that of the convention
value        as printed, in %
convention   of an mAP: "raw", "voc12" (envelope), or "unknown"; empty for other measures
selection    which model was judged: "best epoch on test", "last epoch", or "unknown"
note         misprints, what the averages are over, and the like
"""

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from partlabel.errors import UsageError
from partlabel.grids.measures import MEASURES
from partlabel.wording import amount

COLUMNS = ("table", "row", "data", "masking", "measure", "value", "convention", "selection", "note")
AVERAGE = "average"
CONVENTIONS = ("raw", "voc12", "unknown", "")
_MAP_OF = {"raw": "mAP", "voc12": "mAP voc12"}


class Number(NamedTuple):
    """One printed number; `value` in %, the rest as it stands in the CSV."""

    table: str
    row: str
    data: str
    masking: str
    measure: str
    value: float
    convention: str
    selection: str
    note: str


@dataclass(frozen=True)
class Published:
    """The numbers of one table, and what of a grid they stand beside.

    Args:
        source: file and table, for captions.
        numbers: the numbers.
        rows: the paper's row for each row of the grid that has one.
        data: the paper's data set for each of the grid that has one.
    """

    source: str
    numbers: tuple[Number, ...]
    rows: Mapping[str, str]
    data: Mapping[str, str]

    def averaged(self, number: Number, maskings: Iterable[str]) -> list[str] | None:
        """The maskings of a grid that an average is over; None if the grid lacks one of those that the paper prints."""
        own = list(maskings)
        printed = {
            one.masking
            for one in self.numbers
            if (one.data, one.measure) == (number.data, number.measure) and one.masking != AVERAGE
        }
        if printed - set(own):
            return None
        return [masking for masking in own if not printed or masking in printed]


def measure_of(number: Number, measures: Iterable[str]) -> str:
    """The measure of a grid that a printed number is compared with.

    An mAP of unknown convention is compared with the first mAP of the grid.
    """
    if number.measure != "mAP":
        return number.measure
    first = (name for name in measures if name.startswith("mAP") and "group" not in name)
    return _MAP_OF.get(number.convention) or next(first, "mAP")


def read_published(
    path: Path,
    table: str,
    rows: Mapping[str, str],
    data: Mapping[str, str],
    *,
    own: tuple[Iterable[str], Iterable[str]],
) -> Published:
    """The numbers of a table.

    Args:
        path: the CSV.
        table: which table of it.
        rows: the paper's name of rows of the grid that are called otherwise here.
        data: the same of data sets.
        own: the names of rows and data sets of the grid.

    Raises:
        UsageError: the file cannot be read, has no such table, or a name is in neither the grid nor the table.
    """
    numbers = [one for one in _numbers(path) if one.table == table]
    if not numbers:
        known = dict.fromkeys(one.table for one in _numbers(path))
        raise UsageError(f"published: {path} has no table {table!r}; it has {', '.join(known)}")
    where = f"table {table} of {path.name}"
    matched = []
    for what, names, labels, printed in (
        ("rows", rows, list(own[0]), dict.fromkeys(one.row for one in numbers)),
        ("data", data, list(own[1]), dict.fromkeys(one.data for one in numbers)),
    ):
        for label, name in names.items():
            if label not in labels:
                raise UsageError(f"published.{what}: the grid has no {label!r}; it has {', '.join(labels)}")
            if name not in printed:
                raise UsageError(f"published.{what}: {where} has no {name!r}; it has {', '.join(printed)}")
        matched.append({label: names.get(label, label) for label in labels if names.get(label, label) in printed})
        if not matched[-1]:
            raise UsageError(
                f"published.{what}: nothing of the grid is in {where}; say what is what, "
                f'such as "{labels[0]}" = "{next(iter(printed))}"'
            )
    return Published(where, tuple(numbers), *matched)


def _numbers(path: Path) -> list[Number]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            if tuple(next(reader, ())) != COLUMNS:
                raise UsageError(f"published: {path} does not have the columns {','.join(COLUMNS)}")
            lines = [(reader.line_num, line) for line in reader if line]
    except OSError as error:
        raise UsageError(f"published: {path} cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"published: {path} is no CSV in UTF-8 ({error})") from error
    found: dict[tuple[object, ...], Number] = {}
    for place, line in lines:
        try:
            number = _number(line)
            if found.setdefault((*number[:5], number.convention), number) is not number:
                raise ValueError("the same number stands on a line before")
        except ValueError as error:
            raise UsageError(f"published: {path}, line {place}: {error}") from error
    return list(found.values())


def _number(line: list[str]) -> Number:
    if len(line) != len(COLUMNS):
        raise ValueError(f"{amount(len(line), 'field')} instead of {len(COLUMNS)}")
    table, row, data, masking, measure, value, convention, selection, note = line
    meant = {name.casefold(): name for name in MEASURES}.get(measure.casefold(), measure)
    if meant != measure:
        raise ValueError(f"no measure {measure!r}; did you mean {meant!r}?")
    if convention not in CONVENTIONS:
        raise ValueError(f"convention {convention!r} is not one of {', '.join(CONVENTIONS[:-1])}, or empty")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (0 <= number <= 100 if measure in MEASURES else math.isfinite(number)):
        raise ValueError(f"value {value!r} is no number{' from 0 to 100' if measure in MEASURES else ''}")
    return Number(table, row, data, masking, measure, number, convention, selection, note)
