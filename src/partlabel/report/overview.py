"""The head of a report: what was trained on what, how good it is by which measure, and the settings."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from partlabel.evaluation.measures import MEASURES
from partlabel.labels import LabelTable
from partlabel.methods.catalogue import entry
from partlabel.models.bundle import BundleInfo
from partlabel.recovery import Audited, Promise, Suggestions, SuggestionScore
from partlabel.report.classes import Judged
from partlabel.runs.folder import RunFolder
from partlabel.runs.settings import TrainSettings
from partlabel.wording import amount, percent


class Card(NamedTuple):
    """One number, what it is, and what it stands on."""

    title: str
    value: str
    note: str


class Setting(NamedTuple):
    """One setting as used, and whether it differs from the default."""

    name: str
    value: str
    changed: bool


def cards(labels: LabelTable, held_out: Judged | None, evaluation: Mapping[str, Any] | None) -> list[Card]:
    """The headline numbers."""
    found = []
    if evaluation is not None:
        known, classes = evaluation["known"], evaluation["classes"]
        stands_on = (
            f"{classes['scored']:,} of {classes['total']:,} classes, {_cells(known['present'], known['absent'])}"
        )
        seen = evaluation.get("images_used_in_training")
        what = "mAP on test" if not seen else "mAP on images that partly served in training"
        found.append(Card(what, percent(evaluation["mAP"]["raw"]), f"raw; {stands_on}"))
    if held_out is not None:
        cells = _cells(int(held_out.present.sum()), int(held_out.absent.sum()))
        stands_on = f"{held_out.scored.sum():,} of {len(labels.classes):,} classes, {cells}"
        found.append(Card("mAP on held-out cells", percent(held_out.mean), f"raw; {stands_on}"))
    present, absent, unknown = (int(part.sum()) for part in labels.counts_by_class())
    total = present + absent + unknown
    found.append(
        Card(
            "labels known",
            percent((present + absent) / total if total else None),
            f"{len(labels):,} images × {len(labels.classes):,} classes: {present:,} present, {absent:,} absent, "
            f"{unknown:,} unknown",
        )
    )
    return found


def recovered_card(suggestions: Suggestions, score: SuggestionScore | None) -> Card:
    """How many labels were suggested, and how many rightly, where the truth is known."""
    thresholds = suggestions.thresholds
    note = f"of {int(suggestions.unknown.sum()):,} unknown cells; "
    if isinstance(thresholds, Promise | Audited):
        note += (
            f"at least {100 * thresholds.target_precision:g} % of them right, promised at "
            f"{100 * thresholds.confidence:g} % confidence"
        )
    else:
        note += f"aimed at precision {thresholds.target_precision:g}, which is estimated and not promised"
    if score is not None and score.suggested:
        note += (
            f"; by the truth given: precision {percent(score.precision)} ({score.correct:,} right, {score.wrong:,} "
            f"wrong, {score.unjudged:,} not annotated), recall {percent(score.recall)}"
        )
    return Card("labels suggested", f"{len(suggestions):,}", note)


def facts(settings: TrainSettings, info: BundleInfo | None) -> list[tuple[str, str]]:
    """Method, backbone and training, as pairs of term and description."""
    method = entry(settings.method)
    weights = "pretrained weights" if settings.pretrained else "random weights"
    frozen = ", frozen" + (f" but for the last {settings.train_last} stage(s)" if settings.train_last else "")
    size = info.backbone.size if info is not None else settings.size
    return [
        ("method", f"{settings.method}: {method.title}, {method.venue}"),
        ("unknown labels", f"{method.unknown}"),
        ("backbone", f"{settings.backbone}, {weights}{frozen if settings.freeze else ''}"),
        *([("images", f"{size} × {size} pixels")] if size else []),
        ("training", f"fitted at once, seed {settings.seed}" if method.fitted else _steps(settings)),
    ]


def _steps(settings: TrainSettings) -> str:
    return (
        f"{amount(settings.epochs, 'epoch')}, batches of {settings.batch_size}, {settings.optimizer}, learning rate "
        f"{settings.learning_rate:g} ({settings.schedule}), seed {settings.seed}"
    )


def notes(run: RunFolder, settings: TrainSettings, has_held_out: bool) -> list[str]:
    """What a reader must know of the numbers."""
    info = run.info
    found = []
    if info.get("status") != "done":
        found.append(f"This run is not finished: its status is {info.get('status', 'unknown')!r}.")
    if info.get("init_knew"):
        found.append(f"The run whose weights it starts from was trained on {info['init_knew']} of the held-out cells.")
    if "label_vectors" in info:
        found.append(f"{info['label_vectors'].rstrip('.')}.")
    if "auto" in info:
        taken = info["start"]["method"] if "start" in info else settings.method
        found.append(f"auto took {taken} for these labels: {info['auto']['reason']}.")
    if "start" in info:
        value = run.start.info.get("held_out", {}).get("mAP") if (run.start.path / "run.json").is_file() else None
        judged = "" if value is None else f", whose held-out mAP is {percent(value)}"
        found.append(f"Training started from a {info['start']['method']} fit to the same cells (in start/){judged}.")
    if not has_held_out:
        return found
    found.append(
        "Held-out cells are known labels that the training did not see; "
        + (
            f"it saw nothing of their images, {info['held_out_images']} that were held out whole."
            if "held_out_images" in info
            else "their images were seen with other labels."
        )
    )
    chose = [
        *(["the learning rate"] if "found_lr" in info else []),
        *(["the epoch"] if settings.select == "best" else []),
    ]
    if chose:
        found.append(f"The held-out cells also chose {' and '.join(chose)}, so their numbers are a little too good.")
    if settings.refit:
        found.append(
            "The model was trained once more on all known cells afterwards (refit). Every number on held-out cells "
            "is of the model before that; the shipped model has seen these cells."
        )
    return found


def measures(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The measures of a test, as pairs of name and percentage."""
    return [(one.title, percent(one.of(evaluation))) for one in MEASURES.values()]


def all_settings(settings: TrainSettings) -> list[Setting]:
    """The settings as used, those of the method last."""
    defaults = {
        name: field.get_default(call_default_factory=True) for name, field in TrainSettings.model_fields.items()
    }
    own = settings.model_dump(mode="json", exclude={"method_settings"})
    return [
        *(Setting(name, json.dumps(value), getattr(settings, name) != defaults[name]) for name, value in own.items()),
        *(Setting(name, json.dumps(value), True) for name, value in settings.method_settings.items()),
    ]


def _cells(present: int, absent: int) -> str:
    return f"{amount(present + absent, 'known cell')} ({present:,} present, {absent:,} absent)"
