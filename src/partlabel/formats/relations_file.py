"""Relations between classes from a file: a CSV of one's own, or the hierarchy that a data set brings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from partlabel.errors import LabelError
from partlabel.formats.header import listed
from partlabel.formats.json_text import read_json
from partlabel.formats.text import as_table, cell_name, even_records, examine
from partlabel.relations import Pair, Relations

_COLUMNS = ("class", "relation", "other")


def read_relations(path: Path | str) -> Relations:
    """Implications and exclusions between classes.

    Args:
        path: a CSV with the columns `class`, `relation` (implies or excludes) and `other`; or JSON: the class hierarchy
            of Open Images (`LabelName`, `Subcategory`; parts imply nothing), or COCO annotations, whose categories
            imply their supercategory. Classes of Open Images are called by their descriptions where a file
            `*class-descriptions*.csv` lies beside the hierarchy.

    Raises:
        LabelError: it cannot be read, states something else, or relations contradict each other.
    """
    path = Path(path)
    if not path.is_file():
        raise LabelError(f"{path} does not exist")
    is_json = path.suffix.casefold() == ".json"
    implies, excludes = (_from_json(path), list[Pair]()) if is_json else _from_csv(path)
    if not implies and not excludes:
        raise LabelError(f"{path} states no relation between classes")
    try:
        return Relations(tuple(dict.fromkeys(implies)), tuple(dict.fromkeys(excludes)))
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from error


def _from_csv(path: Path) -> tuple[list[Pair], list[Pair]]:
    rows = even_records(as_table(examine(path)))
    header = [name.strip().casefold() for name in next(rows)[1]]
    if sorted(header) != sorted(_COLUMNS):
        raise LabelError(f"{path} has the columns {listed(header)}; relations have {', '.join(_COLUMNS)}")
    place = [header.index(name) for name in _COLUMNS]
    found: dict[str, list[Pair]] = {"implies": [], "excludes": []}
    for line, cells in rows:
        name, relation, other = (cells[column].strip() for column in place)
        if relation.casefold() not in found:
            raise LabelError(f"{path}, line {line}: relation {relation!r} is not implies or excludes")
        if not name or not other:
            raise LabelError(f"{path}, line {line}: a class is not named; write both")
        found[relation.casefold()].append((cell_name(name), cell_name(other)))
    return found["implies"], found["excludes"]


def _from_json(path: Path) -> list[Pair]:
    content = read_json(path)
    if isinstance(content, dict) and "LabelName" in content:
        words = _descriptions(path.parent)
        return [(words.get(name, name), words.get(other, other)) for name, other in _nested(content, path)]
    categories = content.get("categories") if isinstance(content, dict) else None
    if not isinstance(categories, list):
        raise LabelError(f"{path} is no class hierarchy: neither LabelName with Subcategory, nor a list of categories")
    pairs = [(one.get("name"), one.get("supercategory")) for one in categories if isinstance(one, dict)]
    return [
        (name, other) for name, other in pairs if isinstance(name, str) and isinstance(other, str) and name != other
    ]


def _nested(top: dict[str, Any], path: Path) -> Iterator[Pair]:
    """Each class with the one above it, and not with the root, which names no thing."""
    waiting: list[tuple[Any, str | None]] = [(one, None) for one in _below(top)]
    while waiting:
        node, above = waiting.pop()
        name = node.get("LabelName") if isinstance(node, dict) else None
        if not isinstance(name, str) or not name:
            raise LabelError(f"{path}: an entry of the hierarchy has no LabelName")
        if above is not None:
            yield name, above
        waiting += [(one, name) for one in _below(node)]


def _below(node: dict[str, Any]) -> list[Any]:
    found = node.get("Subcategory", [])
    return found if isinstance(found, list) else [found]


def _descriptions(folder: Path) -> dict[str, str]:
    """Words for the classes of Open Images, where a file of them lies in the folder."""
    for path in sorted(folder.glob("*class-descriptions*.csv")):
        return {cells[0]: cells[1] for _, cells in even_records(as_table(examine(path))) if len(cells) == 2}
    return {}
