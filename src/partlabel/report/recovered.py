"""The section of recovered labels, kept in the run so that later reports show it too."""

from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from partlabel.drawing.thumbnails import Thumbnails
from partlabel.files import write_json
from partlabel.images.limits import DEFAULT_LIMITS, Limits
from partlabel.labels import LabelTable
from partlabel.recovery import Suggestions, score_suggestions
from partlabel.report.classes import MOST_ROWS
from partlabel.report.overview import Card, recovered_card
from partlabel.report.strips import ClassStrips, recovered_strips
from partlabel.runs.folder import RunFolder
from partlabel.wording import readable_name

_FILE = "recovered.json"
_JPEG = "data:image/jpeg;base64,"


class Recovered(NamedTuple):
    """What the report shows of suggestions.

    Args:
        card: how many there are.
        strips: examples, by class.
        assumption: what their precision rests on.
        folder: where the images of the examples lie; None if there are none.
        without: classes without suggestions, and why.
        classes: number of classes with suggestions.
        judged: whether a truth was given.
    """

    card: Card
    strips: list[ClassStrips]
    assumption: str
    folder: str | None
    without: list[tuple[str, str]]
    classes: int
    judged: bool


def recovered_section(
    found: Suggestions, truth: LabelTable | None, root: Path | None, limits: Limits = DEFAULT_LIMITS
) -> Recovered:
    """The section from suggestions.

    Args:
        found: the suggestions.
        truth: true labels, if there are any.
        root: folder of the images of the suggestions; None leaves the images out.
        limits: what an image may be.
    """
    score = None if truth is None else score_suggestions(found, truth)
    reasons = ((name, found.thresholds.why_not(column)) for column, name in enumerate(found.table.classes))
    return Recovered(
        card=recovered_card(found, score),
        strips=[] if root is None else recovered_strips(found, truth, Thumbnails(root, limits)),
        assumption=found.thresholds.summary()["assumption"],
        folder=None if root is None else readable_name(root.absolute()),
        without=[(name, reason) for name, reason in reasons if reason is not None][:MOST_ROWS],
        classes=len(set(found.class_index.tolist())),
        judged=truth is not None,
    )


def keep_recovered(run: RunFolder, section: Recovered) -> None:
    """Keep the section for later reports of the run."""
    write_json(run.path / _FILE, TypeAdapter(Recovered).dump_python(section, mode="json"))


def kept_recovered(run: RunFolder) -> Recovered | None:
    """The section of the last suggestions; None if there were none, or the file does not hold it."""
    try:
        section = TypeAdapter(Recovered).validate_json((run.path / _FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    thumbnails = (tile.thumbnail for one in section.strips for strip in one.strips for tile in strip.tiles)
    return section if all(uri is None or uri.startswith(_JPEG) for uri in thumbnails) else None
