"""Groups of classes that keep a promise together, read from a file."""

import csv
from pathlib import Path

from partlabel.errors import LabelError


def read_groups(path: Path) -> dict[str, tuple[str, ...]]:
    """Class names by group, from a CSV file with the columns `class` and `group`.

    Raises:
        LabelError: the file cannot be read, lacks a column, or names a class twice.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = {"class", "group"} - {*(reader.fieldnames or ())}
            if missing:
                raise LabelError(f"{path} has no column {min(missing)!r}; groups need the columns class and group")
            rows = [(row["class"], row["group"]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{path} cannot be read as a file of groups ({error}); give 'class', or a CSV file") from error
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    for number, (name, group) in enumerate(rows, start=2):
        if name is None or not group:
            raise LabelError(f"{path}, line {number}: a class and its group are needed")
        if name in seen:
            raise LabelError(f"{path}, line {number}: class {name!r} comes twice; a class has one promise")
        seen.add(name)
        found.setdefault(group, []).append(name)
    return {group: tuple(names) for group, names in found.items()}
