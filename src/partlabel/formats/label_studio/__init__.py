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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from partlabel.errors import LabelError
from partlabel.files import atomic_path, write_text
from partlabel.formats.annotation_tools import STATED, ImageCells, check_roles, image_cells, refuse_xml_unfit
from partlabel.formats.base import Format, Source
from partlabel.formats.label_studio.config import config_path, config_text, read_config
from partlabel.formats.label_studio.predictions import predictions_of
from partlabel.formats.label_studio.project import Project
from partlabel.formats.label_studio.tasks import OURS, image_address, read_tasks
from partlabel.formats.listing import Listing
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, WriteOptions
from partlabel.formats.suggested import Suggested
from partlabel.labels import LabelTable

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
        project = Project(listing, config)
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

    def suggestions_alone(
        self, source: Source, options: ReadOptions, images: Sequence[str], suggested: Suggested
    ) -> tuple[str, tuple[str, ...]] | None:
        """Predictions for the tasks of the project that a file was exported from; None where no task has an id.

        Raises:
            LabelError: the project has no control that takes them, or no such choice.
        """
        listing = Listing(source, options, self.name, "task")
        found = predictions_of(Project(listing, read_config(source.path)), images, suggested)
        if found is None:
            return None
        lines = (json.dumps(one, ensure_ascii=False) for one in found.predictions)
        return "[\n" + ",\n".join(lines) + "\n]\n", found.notes


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
