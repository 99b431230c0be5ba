"""Tasks of a Label Studio export: what was chosen and predicted in each, whichever export it is."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from partlabel.errors import LabelError
from partlabel.formats.annotation_tools import brief, brief_list
from partlabel.formats.json_text import entries

OURS = "partlabel"
_UPLOAD = re.compile(r"(?:https?://[^/]+)?/data/upload/\d+/(?:[0-9a-f]{8}-)?(.+)", re.DOTALL)
_LOCAL = re.compile(r"(?:https?://[^/]+)?/data/local-files/\?d=(.+)", re.DOTALL)
_IMAGE = re.compile(r"\.(jpe?g|png|webp|bmp|gif|tiff?|avif|jp2|hei[cf])([?#].*)?$", re.IGNORECASE | re.DOTALL)
_OF_A_REGION = {"x", "points", "rle", "vertices"}
_ABOUT_THE_TASK = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}


class Chosen(NamedTuple):
    """Names that were chosen or predicted in a control.

    Args:
        control: its name.
        kind: choices; labels, of boxes and the like; text, which may be a choice; other, which is none.
        names: what was chosen.
        scores: of each name, where they are kept.
        score: of all of them, where there is one.
        ours: whether partlabel predicted it.
        key: what the names stand under: `choices`, `taxonomy`, ...
        to_name: what the control is about.
    """

    control: str
    kind: str
    names: Sequence[str] = ()
    scores: Mapping[str, Any] = MappingProxyType({})
    score: Any = None
    ours: bool = False
    key: str = ""
    to_name: str = ""

    def probability(self, name: str) -> Any:
        """Of one name, None where there is none."""
        value = self.scores.get(name, self.score)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if is_number and 0 <= value <= 1 else None


class Task(NamedTuple):
    """One entry.

    Args:
        data: its data.
        chosen: what annotations chose.
        looked: whether somebody annotated it, perhaps with nothing.
        predicted: what predictions chose.
        shown: the names that partlabel had predicted when an annotation was made.
        cancelled: how many annotations are cancelled.
        numbered: how many predictions are given by their numbers only.
        id: by which the project knows it.
    """

    data: Mapping[str, Any]
    chosen: list[Chosen]
    looked: bool
    predicted: Sequence[Chosen] = ()
    shown: frozenset[str] = frozenset()
    cancelled: int = 0
    numbered: int = 0
    id: int | None = None


def read_tasks(path: Path) -> Iterator[tuple[int, Task]]:
    """All tasks with their numbers, from 1.

    Raises:
        LabelError: the file is no JSON, or an entry no task.
    """
    for record, entry in enumerate(entries(path, "item"), 1):
        yield record, _task(entry, f"{path}, task {record}")


def _task(entry: Any, place: str) -> Task:
    if not isinstance(entry, dict):
        raise LabelError(f"{place} is no object; export the project as JSON or JSON-MIN")
    if not isinstance(entry.get("data"), dict):
        return _short_task(entry, place)
    given = entry.get("annotations")
    annotations = _objects(entry.get("completions") if given is None else given, "annotations", place)
    used = [one for one in annotations if not (one.get("was_cancelled") or one.get("skipped"))]
    chosen = [found for one in used for _, found in _items(one, "the result of an annotation", place)]
    whole, numbered = _without_numbers(entry.get("predictions"))
    predicted = [found for one in _objects(whole, "predictions", place) for found in _predicted(one, place)]
    before = [one["prediction"] for one in used if isinstance(one.get("prediction"), dict)]
    shown = frozenset(names_of(found for one in before for found in _predicted(one, place) if found.ours))
    cancelled = len(annotations) - len(used)
    return Task(entry["data"], chosen, bool(used), predicted, shown, cancelled, numbered, _id(entry))


def _id(entry: Mapping[str, Any]) -> int | None:
    number = entry.get("id")
    return number if type(number) is int else None


def _without_numbers(predictions: Any) -> tuple[Any, int]:
    """Predictions without those of which only the number is given, and how many these are."""
    if not isinstance(predictions, list):
        return predictions, 0
    whole = [one for one in predictions if type(one) is not int]
    return whole, len(predictions) - len(whole)


def _items(given: Mapping[str, Any], what: str, place: str) -> Iterator[tuple[Mapping[str, Any], Chosen]]:
    for item in _objects(given.get("result"), what, place):
        if found := _of_item(item, place):
            yield item, found


def _predicted(prediction: Mapping[str, Any], place: str) -> Iterator[Chosen]:
    model = prediction.get("model_version")
    ours = isinstance(model, str) and model.startswith(OURS)
    for item, found in _items(prediction, "the result of a prediction", place):
        yield found._replace(score=item.get("score", prediction.get("score")), ours=ours)


def _objects(values: Any, what: str, place: str) -> list[dict[str, Any]]:
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise LabelError(
            f"{place}: {what} should be a list of objects; export the project as JSON, with whole annotations"
        )
    return values


def _of_item(item: Mapping[str, Any], place: str) -> Chosen | None:
    """What one item of a result chose; None of what is no control, such as a relation."""
    control, value = item.get("from_name"), item.get("value")
    if not isinstance(control, str) or not isinstance(value, dict):
        return None
    to_name = item.get("to_name")
    found = _of_value(control, value, place)._replace(to_name=to_name if isinstance(to_name, str) else "")
    meta = item.get("meta")
    scores = meta.get("scores") if isinstance(meta, dict) else None
    return found._replace(scores=scores) if isinstance(scores, dict) else found


def _of_value(control: str, value: Mapping[str, Any], place: str) -> Chosen:
    for key, names in value.items():
        if key in {"choices", "taxonomy"} and not _OF_A_REGION & value.keys():
            return Chosen(control, "choices", _names(names, control, place), key=key)
        if key == "labels" or key.endswith("labels"):
            return Chosen(control, "labels", _names(names, control, place))
    return Chosen(control, "other")


def _names(names: Any, control: str, place: str) -> list[str]:
    """Chosen names; what was chosen in a tree is a list that leads to it, and is joined by slashes."""
    found = [names] if isinstance(names, str) else names
    if isinstance(found, list):
        joined = ["/".join(name) if _is_way(name) else name for name in found]
        if all(isinstance(name, str) and name for name in joined):
            return joined
    raise LabelError(
        f"{place}: what is chosen in the control {brief(control)} is no list of names; export the project again"
    )


def _is_way(name: Any) -> bool:
    return isinstance(name, list) and bool(name) and all(isinstance(part, str) for part in name)


def _short_task(entry: Mapping[str, Any], place: str) -> Task:
    """An entry of JSON-MIN, in which data and controls are keys side by side."""
    chosen = [
        found for key, value in entry.items() if key not in _ABOUT_THE_TASK for found in _of_key(key, value, place)
    ]
    looked = entry.get("annotation_id") is not None or any(one.kind in {"choices", "labels"} for one in chosen)
    return Task(entry, chosen, looked, id=_id(entry))


def _of_key(key: str, value: Any, place: str) -> Iterator[Chosen]:
    if isinstance(value, str):
        yield Chosen(key, "text", [value] if value else [])
    elif isinstance(value, dict):
        yield _of_value(key, value, place)
    elif isinstance(value, list):
        texts = [one for one in value if isinstance(one, str)]
        if texts:
            yield Chosen(key, "text", texts)
        yield from (_of_value(key, one, place) for one in value if isinstance(one, dict))


def image_key(data: Mapping[str, Any], role: str | None, configured: str | None, place: str) -> str:
    """The key of `data` that the image is in.

    Raises:
        LabelError: none is clear.
    """
    if role is not None:
        return role
    if "image" in data:
        return "image"
    if configured is not None and configured in data:
        return configured
    likely = [key for key, value in data.items() if isinstance(value, str) and _IMAGE.search(value)]
    if len(likely) == 1:
        return likely[0]
    keys = likely or data
    raise LabelError(
        f"{place}: it is not clear which key of its data holds the image (there are: {brief_list(keys)}); say it with "
        f"--columns image=KEY"
    )


def image_name(address: str) -> tuple[str, bool]:
    """The name of an image from its address in Label Studio, and whether it was uploaded there."""
    if local := _LOCAL.fullmatch(address):
        return unquote(local[1]), False
    if upload := _UPLOAD.fullmatch(address):
        return unquote(upload[1]), True
    return address, False


def image_address(prefix: str, name: str, path: Path) -> str:
    """The address of an image below a prefix.

    Raises:
        LabelError: Label Studio would take the address for another one.
    """
    is_local = _LOCAL.fullmatch(prefix + "x") is not None
    address = prefix + (quote(name) if is_local else name)
    expected = image_name(prefix + "x")[0][:-1] + name if is_local else address
    if image_name(address) != (expected, False):
        raise LabelError(
            f"{path}: the image {name!r} is called as Label Studio calls its uploads, and would come back under "
            f"another name; rename it"
        )
    return address


def names_of(found: Iterable[Chosen]) -> set[str]:
    """All names in some choices."""
    return {name for one in found for name in one.names}
