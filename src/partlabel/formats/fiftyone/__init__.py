"""FiftyOne: folders of the types FiftyOneDataset and FiftyOneImageClassificationDataset.

Of a FiftyOneDataset the label fields `present`, `absent`, `unsure` and `suggested` are read, or the only one as
present; `columns` says which are meant in other datasets. Labels of `suggested` are suggestions with their confidence,
and those with the tag `accepted`, `rejected` or `unsure` are verdicts. A sample of which neither present nor absent nor
unsure is set has been looked at by nobody; one with an empty list has.

A FiftyOneImageClassificationDataset has no absent labels, and names images without their endings, which come from the
folder `data` where it is there. In it, and in the only field of a dataset, labels with a confidence are suggestions.

A FiftyOneDataset is written, without images: the paths of its samples are the names of the images below the prefix,
and `Dataset.from_dir(..., rel_dir=IMAGES)` finds them.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from partlabel.errors import LabelError
from partlabel.formats.annotation_tools import STATED, brief, brief_list, check_roles
from partlabel.formats.base import Format, Source
from partlabel.formats.fiftyone.documents import write_dataset
from partlabel.formats.fiftyone.folder import Folder
from partlabel.formats.header import closest
from partlabel.formats.listing import Listing
from partlabel.formats.new_folder import new_folder
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, WriteOptions
from partlabel.labels import LabelTable, State
from partlabel.labels import Source as CellSource
from partlabel.wording import amount

_VERDICTS = {
    "accepted": (State.PRESENT, CellSource.REVIEW),
    "rejected": (State.ABSENT, CellSource.REVIEW),
    "unsure": (State.UNKNOWN, CellSource.UNSURE),
}
_ROLES = (*STATED, "suggested")
_SIMPLE = re.compile(r'\s*\{\s*"(classes|labels)"\s*:')


class FiftyOne(Format):
    """Datasets of FiftyOne."""

    name = "fiftyone"
    title = "FiftyOne dataset (folder)"
    states = "label fields present, absent and unsure; a class in none of them is unknown"
    suffixes = ()
    takes = frozenset({"folder"})
    options = frozenset({"unlisted", "columns"})
    advice = "load it with rel_dir, the folder of the images"
    written_with = frozenset({"suggested", "prefix"})
    keeps_unsure = True

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether it holds the files of a dataset of FiftyOne."""
        folder = Folder(source.path)
        return folder.is_dataset or _SIMPLE.match(folder.head("labels.json")) is not None

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read a dataset.

        Raises:
            LabelError: a file is missing or damaged, it is not clear which field is meant, and the like.
            UsageError: `columns` gives a role that this format does not have.
        """
        check_roles(options.roles, _ROLES, self.name)
        folder = Folder(source.path)
        dataset = _Dataset(Listing(source, options, self.name, "sample"))
        if folder.is_dataset:
            dataset.read_samples(folder)
        else:
            dataset.read_simple(folder)
        return dataset.finish()

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write a FiftyOneDataset as a new folder. Of sources, unsure alone is kept.

        Raises:
            LabelError: there is such a folder, and it is not empty.
        """
        with new_folder(path) as folder:
            write_dataset(table, folder, options)


class _Label(NamedTuple):
    """One label of a field."""

    name: Any
    confidence: Any = None
    tags: Any = ()


class _Dataset:
    """A dataset as it is read, into a listing."""

    def __init__(self, listing: Listing) -> None:
        self.listing, self.path, self.roles = listing, listing.path, listing.options.roles
        self.count = self.unscored = self.scored = 0
        self.only: str | None = None

    def read_samples(self, folder: Folder) -> None:
        """List the samples of a FiftyOneDataset."""
        metadata = folder.metadata()
        fields = self._fields(metadata.fields)
        for name in dict.fromkeys(name for field in fields.values() for name in metadata.classes(field)):
            self.listing.names.column(name, lambda: str(self.path / "metadata.json"))
        for sample in folder.samples():
            self.count += 1
            if not isinstance(sample, dict):
                raise LabelError(f"{self.listing.place(self.count)} is no object; export the dataset again")
            row = self.listing.image(sample.get("filepath"), self.count)
            looked = False
            for role, field in fields.items():
                value = sample.get(metadata.fields[field])
                looked = looked or (role in STATED and value is not None)
                for label in self._labels(value, field):
                    self._add(row, label, role, field)
            if not looked:
                self.listing.nobody_looked(row)

    def _fields(self, fields: dict[str, str]) -> dict[str, str]:
        """The field of each role that has one."""
        found = {role: self.roles.get(role, role) for role in _ROLES if role in self.roles or role in fields}
        for field in found.values():
            if field not in fields:
                raise LabelError(
                    f"{self.path} has no label field {field!r}; {closest(field, [name[:60] for name in fields])}"
                )
        others = [field for field in fields if field not in found.values()]
        if found.keys() <= {"unsure"} and len(others) == 1:
            (self.only,) = others
            return {**found, "present": self.only}
        if not found or (found.keys() == {"unsure"} and others):
            names = brief_list(fields) if fields else "none"
            raise LabelError(
                f"{self.path}: it is not clear which label field lists the classes of an image (there are: {names}); "
                f"say it with --columns present=FIELD"
            )
        if others:
            self.listing.note(f"nothing is read from {amount(len(others), 'other label field')}: {brief_list(others)}")
        return found

    def _labels(self, value: Any, field: str) -> list[_Label]:
        """The labels in the value of a field: of one label, of a list of them, or none."""
        if value is None:
            return []
        inner = value.get("classifications", value.get("detections", [value])) if isinstance(value, dict) else None
        if not isinstance(inner, list) or not all(isinstance(one, dict) for one in inner):
            raise LabelError(
                f"{self.listing.place(self.count)}: the field {brief(field)} holds no labels; export the dataset again"
            )
        return [_Label(one.get("label"), one.get("confidence"), one.get("tags") or ()) for one in inner]

    def _add(self, row: int, label: _Label, role: str, field: str) -> None:
        record = self.count
        column = self.listing.declare(label.name, record)
        verdicts = [found for tag, found in _VERDICTS.items() if isinstance(label.tags, list) and tag in label.tags]
        if role == "suggested":
            for state, source in verdicts:
                self.listing.cell(row, column, state, record, source)
            if not verdicts:
                self._suggest(row, column, label)
        elif field == self.only and label.confidence is not None:
            self.scored += 1
            self._suggest(row, column, label)
        else:
            state, source = STATED[role]
            self.listing.cell(row, column, state, record, source)

    def _suggest(self, row: int, column: int, label: _Label) -> None:
        self.listing.cell(row, column, State.UNKNOWN, self.count)
        value = label.confidence
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            self.listing.suggest(row, column, value, self.count)
        else:
            self.unscored += 1

    def read_simple(self, folder: Folder) -> None:
        """List the images of a FiftyOneImageClassificationDataset."""
        if self.roles:
            raise LabelError(f"{self.path}: labels.json has one list of labels for each image; leave --columns out")
        document = folder.labels()
        classes, files = document.classes, folder.media()
        for name in classes:
            self.listing.names.column(name, lambda: str(self.path / "labels.json"))
        self.only, bare = "labels", 0
        for name, value in document.labels.items():
            self.count += 1
            row = self.listing.image(files.get(name, name), self.count)
            bare += name not in files and not Path(name).suffix
            if value is None:
                self.listing.nobody_looked(row)
                continue
            for one in value if isinstance(value, list) else [value]:
                self._add(row, self._simple_label(one, classes), "present", self.only)
        if bare:
            self.listing.note(
                f"{amount(bare, 'image name')} {'has' if bare == 1 else 'have'} no ending, because no file in data/ "
                f"is called so"
            )

    def _simple_label(self, one: Any, classes: list[str]) -> _Label:
        label = _Label(one.get("label"), one.get("confidence")) if isinstance(one, dict) else _Label(one)
        if not isinstance(label.name, int) or isinstance(label.name, bool):
            return label
        if not 0 <= label.name < len(classes):
            raise LabelError(
                f"{self.listing.place(self.count)}: there is no class number {label.name}; labels.json lists "
                f"{amount(len(classes), 'class', 'classes')}, counted from 0"
            )
        return label._replace(name=classes[label.name])

    def finish(self) -> Reading:
        """The table and what its owner should know."""
        notes = (
            (self.scored, "label", "with a confidence", "taken as a suggestion", "taken as suggestions"),
            (self.unscored, "suggestion", "without a confidence from 0 to 1", "left out", "left out"),
        )
        for count, what, which, one, several in notes:
            if count:
                self.listing.note(f"{amount(count, what)} {which} {f'is {one}' if count == 1 else f'are {several}'}")
        return self.listing.finish(self.count)
