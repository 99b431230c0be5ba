"""Suggestions as predictions for the tasks that a project has: its own controls, its own choices, its task numbers.

The form is what Label Studio takes at `/api/projects/ID/import/predictions`: a list of {task, result, score,
model_version}. Tasks with predictions in them would be imported as new tasks beside those that are there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from partlabel.errors import LabelError, UsageError
from partlabel.formats.annotation_tools import brief, brief_list
from partlabel.formats.label_studio.config import config_path
from partlabel.formats.label_studio.project import Project
from partlabel.formats.label_studio.tasks import OURS, names_of, read_tasks
from partlabel.formats.renaming import read_renaming
from partlabel.formats.suggested import Suggested, Suggestion
from partlabel.wording import amount


class Predictions(NamedTuple):
    """Predictions as Label Studio takes them, and what their owner should know."""

    predictions: list[dict[str, Any]]
    notes: tuple[str, ...]


class _Target(NamedTuple):
    """The control that lists what is present.

    Args:
        name: of the control.
        to_name: what it is about.
        key: what its names stand under.
        single: whether one name at most can be chosen.
        nested: whether a name is the way to it in a tree.
        offered: its names, by the names of classes here.
    """

    name: str
    to_name: str
    key: str
    single: bool
    nested: bool
    offered: Mapping[str, str]

    def result(self, number: int, suggested: Sequence[Suggestion]) -> dict[str, Any]:
        """The item of a prediction."""
        names = [self.offered[one.class_name] for one in suggested]
        return {
            "id": f"{OURS}-{number}",
            "from_name": self.name,
            "to_name": self.to_name,
            "type": self.key,
            "value": {self.key: [name.split("/") for name in names] if self.nested else names},
            "meta": {"scores": {name: one.probability for name, one in zip(names, suggested, strict=True)}},
        }


def predictions_of(project: Project, images: Sequence[str], suggested: Suggested) -> Predictions | None:
    """Predictions of a project whose tasks have numbers; None where none has, because it was never imported.

    Args:
        project: the project that a file was exported from.
        images: names of the images of its tasks, in the order in which they first come.
        suggested: what is suggested of them.

    Raises:
        LabelError: there is no control that takes suggestions, or it does not offer a class.
    """
    by_image, tasks = suggested.by_image(), list(_tasks(project))
    if all(number is None for number, _, _ in tasks):
        return None
    target = _target(project, suggested)
    found: list[dict[str, Any]] = []
    left_out = 0
    for number, row, chosen in tasks:
        some = by_image.get(images[row], [])
        if number is None and some:
            raise LabelError(f"{project.listing.path}: the task of {images[row]!r} has no id; export the project again")
        kept = some if not target.single else [] if chosen else some[:1]
        left_out += len(some) - len(kept)
        if kept and number is not None:
            best = kept[0].probability
            result = [target.result(number, kept)]
            found.append({"task": number, "model_version": OURS, "score": best, "result": result})
    notes = [
        f"{amount(len(found), 'prediction')} for tasks of the project, in its control {brief(target.name)}; no labels"
    ]
    if left_out:
        notes.append(f"{amount(left_out, 'suggestion')} left out: {brief(target.name)} takes one choice only")
    notes.append(
        "send them by POST to /api/projects/ID/import/predictions; Import on the page would take them for tasks"
    )
    return Predictions(found, tuple(notes))


def _tasks(project: Project) -> "list[tuple[int | None, int, bool]]":
    """Of each task: its number, the row of its image, and whether something is chosen as present in it."""
    listing, rows = project.listing, []
    for record, task in read_tasks(listing.path):
        chosen = names_of(one for one in task.chosen if project.gives_present(one.control))
        rows.append((task.id, listing.image(project.image(task, record), record), bool(chosen)))
    return rows


def _target(project: Project, suggested: Suggested) -> _Target:
    """The control for suggestions.

    Raises:
        LabelError: there is none, or it lacks a class.
    """
    path, config = project.listing.path, project.config
    seen: dict[str, tuple[str, str]] = {}
    names: dict[str, dict[str, None]] = {}
    for _, task in read_tasks(path):
        for one in (*task.chosen, *task.predicted):
            if one.to_name and one.key and project.gives_present(one.control):
                seen.setdefault(one.control, (one.to_name, one.key))
                names.setdefault(one.control, {}).update(dict.fromkeys(one.names))
    able = [name for name in project.stated if project.gives_present(name)]
    able = [
        name for name in able if name in seen or (name in config.controls and config.controls[name].kind == "choices")
    ]
    if len(able) != 1:
        what = (
            f"has several ({brief_list(able)}): say which with --columns present=NAME" if able else _no_control(project)
        )
        raise LabelError(f"{path}: suggestions need one control of choices for what is present; the project {what}")
    name = able[0]
    if (control := config.controls.get(name)) is not None:
        target = _Target(name, control.to_name, control.key, control.single, control.nested, {})
        offered = control.classes
    else:
        to_name, key = seen[name]
        target, offered = (
            _Target(name, to_name, key, single=False, nested=key == "taxonomy", offered={}),
            [*names[name]],
        )
    return target._replace(offered=_by_class(project, name, offered, suggested))


def _no_control(project: Project) -> str:
    beside = config_path(project.listing.path).name
    return f"has none here; save its labelling configuration (Settings, Labeling Interface, Code) beside it as {beside}"


def _by_class(project: Project, control: str, offered: Sequence[str], suggested: Suggested) -> dict[str, str]:
    """What the control calls each class that is suggested.

    Raises:
        LabelError: it does not offer one.
        UsageError: several of its choices became one class by `--rename`.
    """
    new = {} if (file := project.listing.options.rename) is None else read_renaming(file)
    found: dict[str, list[str]] = {}
    for name in offered:
        found.setdefault(new.get(name, name), []).append(name)
    path, wanted = project.listing.path, dict.fromkeys(one.class_name for one in suggested)
    if missing := [name for name in wanted if name not in found]:
        add = "add them to the labelling configuration in its settings, and export again"
        if control not in project.config.controls:
            add += f", or save that configuration beside the export as {config_path(path).name}, if they are there"
        raise LabelError(
            f"{path}: the control {brief(control)} of the project does not offer {brief_list(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} suggested; {add}"
        )
    if unclear := [name for name in wanted if len(found[name]) > 1]:
        raise UsageError(
            f"--rename makes {brief_list(found[unclear[0]])} one class, so that it is not clear which of them to "
            f"suggest; leave these out of it"
        )
    return {name: found[name][0] for name in wanted}
