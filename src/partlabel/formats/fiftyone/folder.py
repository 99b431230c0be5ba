"""The files of a FiftyOne dataset, none of them outside its folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from partlabel.errors import LabelError
from partlabel.formats.json_text import entries, read_json

_LABELS = [f"fiftyone.core.labels.{kind}" for kind in ("Classification", "Classifications", "Detection", "Detections")]


class Metadata(NamedTuple):
    """What metadata.json says.

    Args:
        fields: the key in a sample of each label field.
        default_classes: the classes of fields that have no list of their own.
        own_classes: the lists of fields.
    """

    fields: dict[str, str]
    default_classes: list[str]
    own_classes: dict[str, list[str]]

    def classes(self, field: str) -> list[str]:
        """The classes of a field, as far as they are listed."""
        return self.own_classes.get(field) or self.default_classes


class Simple(NamedTuple):
    """What labels.json says."""

    classes: list[str]
    labels: dict[str, Any]


class Folder:
    """A folder that FiftyOne exported.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def is_dataset(self) -> bool:
        """Whether it is a FiftyOneDataset."""
        return (self.path / "metadata.json").is_file() and (self.path / "samples.json").is_file()

    def head(self, name: str) -> str:
        """The beginning of a file, empty where it cannot be read."""
        try:
            with self._file(name).open("rb") as file:
                return file.read(1000).decode("utf-8-sig", "replace")
        except (OSError, LabelError):
            return ""

    def _file(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            raise LabelError(f"{self.path} has no {name}; export the dataset again as FiftyOneDataset")
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise LabelError(f"{path} is a link that leads out of the folder; put the file itself there")
        return path

    def metadata(self) -> Metadata:
        """Fields and classes.

        Raises:
            LabelError: metadata.json is damaged.
        """
        path = self._file("metadata.json")
        document = read_json(path)
        if not isinstance(document, dict):
            raise LabelError(f"{path} is no object; export the dataset again")
        own = document.get("classes") or {}
        if not isinstance(own, dict):
            raise LabelError(f"{path}: 'classes' is no object of lists; export the dataset again")
        return Metadata(
            _fields(document.get("sample_fields"), path),
            _names(document.get("default_classes"), path),
            {str(field): _names(names, path) for field, names in own.items()},
        )

    def samples(self) -> Iterator[Any]:
        """All samples, one after the other."""
        return entries(self._file("samples.json"), "samples.item")

    def labels(self) -> Simple:
        """A FiftyOneImageClassificationDataset.

        Raises:
            LabelError: labels.json is missing or damaged.
        """
        path = self._file("labels.json")
        document = read_json(path)
        labels = document.get("labels") if isinstance(document, dict) else None
        if not isinstance(labels, dict):
            raise LabelError(f"{path} has no object 'labels'; export the dataset again")
        return Simple(_names(document.get("classes"), path), labels)

    def media(self) -> dict[str, str]:
        """The names of the files in data/ by their names without endings, where only one file is called so."""
        data, found = self.path / "data", dict[str, str]()
        if not data.is_dir() or data.is_symlink():
            return found
        several = set[str]()
        for folder, _, names in os.walk(data):
            for name in names:
                file = (Path(folder) / name).relative_to(data)
                bare = file.with_suffix("").as_posix()
                if found.setdefault(bare, file.as_posix()) != file.as_posix():
                    several.add(bare)
        return {bare: file for bare, file in found.items() if bare not in several}


def _fields(declared: Any, path: Path) -> dict[str, str]:
    """The key in a sample of each field of labels."""
    if not isinstance(declared, list) or not all(isinstance(one, dict) for one in declared):
        raise LabelError(
            f"{path}: 'sample_fields' is no list of fields; export the dataset again with a FiftyOne of these years"
        )
    return {
        one["name"]: one["db_field"] if isinstance(one.get("db_field"), str) else one["name"]
        for one in declared
        if isinstance(one.get("name"), str) and one.get("embedded_doc_type") in _LABELS
    }


def _names(names: Any, path: Path) -> list[str]:
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise LabelError(f"{path}: the classes are no list of names; export the dataset again")
    return names
