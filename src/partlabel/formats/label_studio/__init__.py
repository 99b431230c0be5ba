"""Label Studio: exports as JSON and JSON-MIN, older ones with `completions`, and tasks to import.

partlabel writes three controls, `present`, `absent` and `unsure`, which offer all classes; a class that is chosen in
none of them is unknown.
The labelling configuration that belongs to them lies beside the tasks, as `labels.config.xml` beside `labels.json`.
Paste it into the settings of the project before the tasks are imported. It keeps the classes and their order: without
it, they come in the order in which they were first chosen.

A project of another make: with one control of choices, or with boxes and the like, the classes chosen are present, and
nothing is absent. A class of a tree is the way to it, joined by slashes. With several controls of choices, `columns`
says which are meant. Cancelled annotations are left out. All annotations of one task count.

Predictions are suggestions, with the probability of each class in `meta.scores` of the item, or of all its classes in
`score` of the item or of the prediction. A class that partlabel suggested and that an annotation chooses is a verdict;
an export tells so by the predictions, or by the prediction that Label Studio keeps with the annotation.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from partlabel.errors import LabelError
from partlabel.files import atomic_path, write_text
from partlabel.formats.annotation_tools import (
    STATED,
    ImageCells,
    brief,
    brief_list,
    check_roles,
    image_cells,
    refuse_xml_unfit,
)
from partlabel.formats.base import Format, Source
from partlabel.formats.header import closest
from partlabel.formats.label_studio.config import Config, config_path, config_text, read_config
from partlabel.formats.label_studio.tasks import (
    OURS,
    Chosen,
    Task,
    image_address,
    image_key,
    image_name,
    names_of,
    read_tasks,
)
from partlabel.formats.listing import Listing
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, WriteOptions
from partlabel.labels import LabelTable, State
from partlabel.labels import Source as CellSource
from partlabel.wording import amount

_Stated = tuple[State, CellSource]
_PRESENT = STATED["present"]
_OWN_KEYS = ('"annotations"', '"completions"', '"predictions"', '"annotation_id"')


class LabelStudio(Format):
    """Tasks of Label Studio."""

    name = "label_studio"
    title = "Label Studio JSON or JSON-MIN"
    states = "controls present, absent and unsure; a class that is chosen in none is unknown"
    suffixes = (".json",)
    options = frozenset({"unlisted", "columns"})
    advice = "put the .config.xml beside it into the settings of a new project before the tasks are imported"
    written_with = frozenset({"suggested", "prefix"})
    keeps_unsure = True

    def companions(self, path: Path) -> tuple[Path, ...]:
        """The labelling configuration."""
        return (config_path(path),)

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether it is a list whose entries have the keys of tasks."""
        text = source.ends
        return text.lstrip()[:1] == "[" and any(key in text for key in _OWN_KEYS)

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read an export; all tasks, of which those that nobody annotated are unknown in any case.

        Raises:
            LabelError: it is no list of tasks, it is not clear which control or key is meant, and the like; names the
                task.
            UsageError: `columns` gives a role that Label Studio does not have.
        """
        check_roles(options.roles, ("image", *STATED), self.name)
        if source.ends.lstrip()[:1] != "[":
            raise LabelError(f"{source.path} is no list of tasks; export the project as JSON or JSON-MIN")
        listing = Listing(source, options, self.name, "task")
        config = read_config(source.path)
        project = _Project(listing, config)
        for control, offered in config.controls.items():
            for name in offered.classes if control in project.stated else ():
                listing.names.column(name, lambda: str(config.path))
        for record, task in read_tasks(source.path):
            project.add(task, record)
        return project.finish()

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write tasks, and their labelling configuration beside them. Of sources, unsure alone is kept.

        Below a prefix with `/data/local-files/?d=` the names are written as addresses (`%20` for a space), because
        Label Studio takes them so.

        Raises:
            LabelError: a class has a character that XML cannot hold, or an image is called like an upload.
        """
        refuse_xml_unfit(table.classes, path)
        with atomic_path(path) as temporary:
            with temporary.open("w", encoding="utf-8", newline="\n") as stream:
                for number, one in enumerate(image_cells(table, options.suggested)):
                    task = _as_task(one, number, image_address(options.prefix, one.image, path))
                    stream.write(("[\n" if not number else ",\n") + json.dumps(task, ensure_ascii=False))
                stream.write("\n]\n")
            write_text(config_path(path), config_text(table.classes))


class _Project:
    """The tasks of a project as they are read.

    Args:
        listing: where they are listed; the file is read once to know the controls.
        config: the labelling configuration, perhaps empty.
    """

    def __init__(self, listing: Listing, config: Config) -> None:
        self.listing, self.roles = listing, listing.options.roles
        self.key: str | None = None
        kinds = {name: {control.kind} for name, control in config.controls.items()}
        for record, task in read_tasks(listing.path):
            if self.key is None:
                self.key = image_key(task.data, self.roles.get("image"), config.image, listing.place(record))
            for one in (*task.chosen, *task.predicted):
                if one.control != self.key:
                    kinds.setdefault(one.control, set()).add(one.kind)
        self.stated = self._controls(kinds)
        self.tasks = self.cancelled = self.numbered = self.unscored = self.not_of_present = 0
        self.uploads: dict[str, str] = {}
        self.looked: set[int] = set()

    def _controls(self, kinds: Mapping[str, set[str]]) -> dict[str, _Stated]:
        """What each control says of what is chosen in it."""
        known = [name for name, kind in kinds.items() if kind & {"choices", "labels"}]
        asked = {self.roles[role]: stated for role, stated in STATED.items() if role in self.roles}
        if asked:
            stated = self._asked(asked, kinds)
        else:
            named = {name: STATED[name.casefold()] for name in kinds if name.casefold() in STATED}
            boxes = {name: _PRESENT for name in known if "labels" in kinds[name]}
            choices = [name for name in known if name not in boxes | named]
            if any(state for state, _ in named.values()):
                choices = []
            if len(choices) > 1:
                raise LabelError(
                    f"{self.listing.path} has the controls {brief_list(choices)}; say which of them lists the "
                    f"classes that are present with --columns present=NAME, and, where one lists the absent ones, "
                    f"present=NAME,absent=NAME"
                )
            stated = boxes | named | dict.fromkeys(choices, _PRESENT)
        self._check(stated, kinds)
        return stated

    def _asked(self, asked: Mapping[str, _Stated], known: Iterable[str]) -> dict[str, _Stated]:
        missing = [name for name in asked if name not in known]
        if [*known] and len(missing) == len(asked):
            near = closest(missing[0], [name[:60] for name in known])
            raise LabelError(f"{self.listing.path} has no control {missing[0]!r}; {near}")
        for name in missing:
            self.listing.note(f"nothing is chosen in the control {name!r}")
        return dict(asked)

    def _check(self, stated: Iterable[str], kinds: Mapping[str, set[str]]) -> None:
        """Refuse a file of which no control is known, and note the other controls."""
        read = {*stated}
        others = [name for name, kind in kinds.items() if name not in read and kind != {"text"}]
        texts = [name for name, kind in kinds.items() if name not in read and kind == {"text"}]
        if not read and texts:
            raise LabelError(
                f"{self.listing.path}: it is not clear which key holds the classes (there are: "
                f"{brief_list(texts)}); say it with --columns present=KEY"
            )
        if others:
            self.listing.note(f"nothing is read from {amount(len(others), 'other control')}: {brief_list(others)}")

    def add(self, task: Task, record: int) -> None:
        """List one task."""
        row = self.listing.image(self._image(task, record), record)
        self.tasks += 1
        self.cancelled += task.cancelled
        self.numbered += task.numbered
        if task.looked or any(one.control in self.stated for one in task.chosen):
            self.looked.add(row)
        ours = task.shown | names_of(one for one in task.predicted if one.ours and self._is_present(one))
        for one in task.chosen:
            if one.control in self.stated:
                state, source = self.stated[one.control]
                for name in one.names:
                    origin = CellSource.REVIEW if state and name in ours else source
                    self.listing.cell(row, self.listing.declare(name, record), state, record, origin)
        self._suggest(task, row, record)

    def _suggest(self, task: Task, row: int, record: int) -> None:
        decided = names_of(one for one in task.chosen if one.control in self.stated)
        for one in task.predicted:
            if one.control not in self.stated:
                continue
            for name in one.names:
                probability = one.probability(name)
                self.not_of_present += not self._is_present(one)
                self.unscored += self._is_present(one) and probability is None
                if self._is_present(one) and probability is not None and name not in decided:
                    self.listing.suggest(row, self.listing.declare(name, record), probability, record)

    def _is_present(self, one: Chosen) -> bool:
        return self.stated.get(one.control) == _PRESENT

    def _image(self, task: Task, record: int) -> str:
        address = task.data.get(str(self.key))
        if not isinstance(address, str) or not address:
            keys = brief_list(task.data)
            raise LabelError(
                f"{self.listing.place(record)}: its data has no image under {brief(self.key)} (there are: {keys}); say "
                f"where it is with --columns image=KEY, or leave such tasks out"
            )
        name, uploaded = image_name(address)
        if uploaded and self.uploads.setdefault(name, address) != address:
            raise LabelError(
                f"{self.listing.place(record)}: the uploads {brief(self.uploads[name])} and {brief(address)} are both "
                f"called {brief(name)}; delete one of the two tasks, or rename and upload it again"
            )
        return name

    def finish(self) -> Reading:
        """The table and what its owner should know."""
        listing = self.listing
        for row in range(len(listing.images.rows)):
            if row not in self.looked:
                listing.nobody_looked(row)
        notes = (
            (self.cancelled, "annotation", "skipped by the annotator and left out"),
            (self.numbered, "prediction", "given by number only and left out"),
            (self.unscored, "prediction", "left out, because no score from 0 to 1 belongs to it"),
            (self.not_of_present, "prediction", "of what is absent or unsure, and left out"),
            (len(self.uploads), "image name", "taken from the address of an upload, without the code before it"),
        )
        for count, what, rest in notes:
            if count:
                listing.note(f"{amount(count, what)} {'is' if count == 1 else 'are'} {rest}")
        return listing.finish(self.tasks)


def _as_task(one: ImageCells, number: int, address: str) -> dict[str, Any]:
    items = [_item(control, f"{control}-{number}", names) for control in STATED if (names := one.named(control))]
    task: dict[str, Any] = {
        "data": {"image": address},
        "annotations": [{"result": items}] if items else [],
        "predictions": [],
    }
    if one.suggested:
        item = _item("present", f"suggested-{number}", [suggestion.class_name for suggestion in one.suggested])
        item["meta"] = {"scores": {suggestion.class_name: suggestion.probability for suggestion in one.suggested}}
        best = one.suggested[0].probability
        task["predictions"] = [{"model_version": OURS, "score": best, "result": [item]}]
    return task


def _item(control: str, id: str, names: list[str]) -> dict[str, Any]:
    return {"id": id, "from_name": control, "to_name": "image", "type": "choices", "value": {"choices": names}}
