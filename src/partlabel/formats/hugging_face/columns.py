"""Which columns of a data set name the image and its classes, and what their values mean."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from partlabel.errors import LabelError
from partlabel.formats.annotation_tools import STATED
from partlabel.formats.header import IMAGE_COLUMNS, closest, listed
from partlabel.formats.hugging_face.shards import Shard

FILE_NAME = "file_name"
_TAGS = ("tags", "labels", "classes", "objects", "label")
_SEPARATOR = ";"


class ClassColumn(NamedTuple):
    """A column of classes.

    Args:
        name: as the table has it.
        classes: the names that numbers stand for; None where it has texts.
    """

    name: str
    classes: Sequence[str] | None


class Roles(NamedTuple):
    """The columns that are read: of images, and of classes by a word of `STATED`."""

    image: str
    classes: Mapping[str, ClassColumn]


def roles_of(shard: Shard, said: Mapping[str, str]) -> Roles:
    """The columns of a table, as the user names them or as they are usually called.

    Raises:
        LabelError: one is missing, or several could be meant.
    """
    for name in said.values():
        if name not in shard.names:
            raise LabelError(f"{shard.path} has no column {name!r}; {closest(name, shard.names)}")
    image = said.get("image") or _image(shard)
    found = {role: said.get(role) or role for role in STATED if role in said or role in shard.names}
    if found.keys() <= {"unsure"}:
        found["present"] = _tags(shard)
    return Roles(image, {role: _class_column(shard, name) for role, name in found.items()})


def _image(shard: Shard) -> str:
    names = [name for name in shard.names if name == FILE_NAME or name.endswith(f"_{FILE_NAME}")]
    usual = [name for name in IMAGE_COLUMNS if name in shard.names]
    for found in (names, [name for name in usual if name not in shard.pictures], usual):
        if len(found) > 1 and found is names and FILE_NAME not in names:
            raise LabelError(
                f"{shard.path} has several columns with names of files, {listed(found)}; say which with --columns "
                f"image={found[0]}"
            )
        if found:
            return FILE_NAME if FILE_NAME in found else found[0]
    raise LabelError(
        f"{shard.path} has no column {FILE_NAME} with the names of images; its columns are {listed(shard.names)}; say "
        f"which one it is with --columns image=NAME"
    )


def _tags(shard: Shard) -> str:
    usual = [name for name in _TAGS if name in shard.names]
    found = [name for name in usual if name in shard.lists] or usual
    if len(found) == 1:
        return found[0]
    what = f"several columns that may list classes, {listed(found)}" if found else "no column present or absent"
    raise LabelError(
        f"{shard.path} has {what}; its columns are {listed(shard.names)}; say which one names the classes of an "
        f"image with --columns present=NAME"
    )


def _class_column(shard: Shard, name: str) -> ClassColumn:
    feature = shard.features.get(name)
    if isinstance(feature, list) and len(feature) == 1:
        feature = feature[0]
    elif isinstance(feature, dict) and feature.get("_type") in {"List", "LargeList", "Sequence"}:
        feature = feature.get("feature")
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return ClassColumn(name, None)
    classes = feature.get("names")
    if not isinstance(classes, list) or not all(isinstance(one, str) and one for one in classes):
        raise LabelError(f"{shard.path}: the ClassLabel of column {name!r} has no names; write the names into it")
    if len(set(classes)) < len(classes):
        raise LabelError(f"{shard.path}: the ClassLabel of column {name!r} has a name twice; rename one")
    return ClassColumn(name, classes)


def class_names(value: Any, column: ClassColumn, place: str) -> list[str] | None:
    """The classes that a value names; None where it says that nobody looked.

    Raises:
        LabelError: it names none.
    """
    if value is None or (value == -1 and column.classes is not None and not isinstance(value, bool)):
        return None  # -1 is what datasets writes for a label that is not known
    if isinstance(value, str) and column.classes is None:
        value = _split(value, column, place)
    return [_name(one, column, place) for one in (value if isinstance(value, list) else [value])]


def _split(text: str, column: ClassColumn, place: str) -> Iterable[Any]:
    if not text.lstrip().startswith("["):
        return [part for one in text.split(_SEPARATOR) if (part := one.strip())]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LabelError(
            f'{place}, column {column.name!r}: {text[:60]!r} is no JSON list; write it as ["cat", "dog"] or as cat;dog'
        ) from error
    return found if isinstance(found, list) else [found]


def _name(value: Any, column: ClassColumn, place: str) -> str:
    where = f"{place}, column {column.name!r}"
    if column.classes is not None:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(column.classes):
            return column.classes[value]
        if isinstance(value, str) and value in column.classes:
            return value
        raise LabelError(f"{where}: {str(value)[:60]!r} is none of its {len(column.classes):,} classes")
    if isinstance(value, int | float):
        raise LabelError(f"{where}: {value!r} is a number, and nothing says which class it stands for; write names")
    if not isinstance(value, str) or not value:
        raise LabelError(f"{where}: {str(value)[:60]!r} is no name of a class; write a list of names")
    return value
