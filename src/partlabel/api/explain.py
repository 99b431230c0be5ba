"""`explain`: where in an image the model sees its labels, drawn over the image, and what the labels are."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from partlabel.api.predict import image_files, judged, open_model, readable_images
from partlabel.drawing.explanation import SIDE, Row, draw_explanation
from partlabel.drawing.marks import Mark, mark, possible_marks
from partlabel.drawing.overlays import Map
from partlabel.errors import UsageError
from partlabel.files import atomic_path, storage_errors, write_json
from partlabel.formats.opening import ReadArguments, Table
from partlabel.images.decode import decode
from partlabel.images.views import build_view
from partlabel.inference.file_states import FileStates, given_labels, readable_name
from partlabel.labels import Int8Array, State
from partlabel.models.bundle import BundleInfo
from partlabel.models.explain_maps import activation_strength, label_maps
from partlabel.models.tagger import Tagger
from partlabel.progress import SILENT, Reporter
from partlabel.report.parts import percent
from partlabel.runs.folder import RunFolder
from partlabel.training.data import view_settings

OVERVIEW = "explained.json"

_UNSAFE = re.compile(r"[^\w.-]+")
_TITLES = {
    "class": "class map of {}",
    "gradient": "gradient map (Grad-CAM)",
    "backbone": "backbone alone, class-free: L2 norm over the channels of its maps",
}


def explain(
    run: Path | str | RunFolder,
    paths: Sequence[Path | str] | Path | str,
    *,
    out: Path | str,
    labels: Sequence[str] | None = None,
    top: int = 5,
    maps: Literal["method", "gradient"] = "method",
    table: Table | None = None,
    truth: Table | None = None,
    images: Path | str | None = None,
    broken: str = "fail",
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
) -> dict[str, Any]:
    """Draw a figure an image: for each label its map over the image, beside the strength of the backbone's own maps.

    Args:
        run: a run, or a bundle (its `model` folder) copied anywhere.
        paths: files, or folders that are searched for images.
        out: folder for one PNG an image, and explained.json, which says the same in numbers and words.
        labels: classes to show; by default the `top` most probable ones, and those that are present in table or truth.
        top: how many.
        maps: "method": the maps of the method's head, or gradient maps (Grad-CAM) if it has none; "gradient": both.
        table: labels that training knew, or the path of a label file; by default those of the run itself.
        truth: true labels, or the path of a label file, by which the other labels are marked as right, wrong or not
            annotated.
        images: folder that the names in table and truth are relative to; by default the one the run was trained on. The
            run's own labels belong to that one whatever is given here, unless it is gone.
        broken: what to do about images that cannot be read: "fail" names them, "skip" leaves them out and says so.
        reporter: where progress goes.
        read: how to read label files.

    Returns:
        The content of explained.json.

    Raises:
        ImageError: no such image, or one cannot be read.
        UsageError: an unknown class or setting, or labels without a folder that tells which image is which.
        LabelError: table or truth has none of the images, or none of the classes.
    """
    if maps not in {"method", "gradient"}:
        raise UsageError(f"maps {maps!r} is not 'method' or 'gradient'")
    if top < 1:
        raise UsageError(f"top {top} shows no label; give 1 or more")
    tagger, info = open_model(run)
    wanted = None if labels is None else _columns(labels, info.classes)
    files = readable_images(image_files(paths), Path.cwd().anchor, broken, reporter)
    known, true = given_labels(run, table, truth, images, info.classes, files, reporter, read or {})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    explainer = _Explainer(tagger.to(device), device, info, wanted, top, maps == "gradient", known, true)
    folder = Path(out)
    with storage_errors(folder):
        (folder / OVERVIEW).unlink(missing_ok=True)  # it would speak of figures that are now replaced
    entries = []
    with reporter.track("explaining images") as tick:
        for number, file in enumerate(files, 1):
            figure, entry = explainer(file)
            name = f"{number:03d}-{_UNSAFE.sub('_', file.stem)[:40]}.png"
            with atomic_path(folder / name) as temporary:
                figure.save(temporary, "PNG", compress_level=1)  # more: a fifth fewer bytes in four times the time
            entries.append({"image": readable_name(file), "figure": name, **entry})
            tick(number, len(files))
    overview = {
        "method": info.method,
        "calibrated": info.calibration is not None,
        "table": known is not None,
        "truth": true is not None,
        "images": entries,
    }
    write_json(folder / OVERVIEW, overview)
    return overview


class _Scores(NamedTuple):
    """Of one image, each `[C]`."""

    logits: NDArray[np.float32]
    probability: NDArray[np.float64]
    predicted: NDArray[np.bool_]


class _Explainer(NamedTuple):
    """From an image file to its figure and the same in numbers and words."""

    tagger: Tagger
    device: torch.device
    info: BundleInfo
    wanted: list[int] | None
    top: int
    gradient: bool
    known: FileStates | None
    true: FileStates | None

    @torch.no_grad()
    def __call__(self, file: Path) -> tuple[Image.Image, dict[str, Any]]:
        settings = view_settings(self.info.backbone)
        decoded = decode(file, at_least=settings.plain_side)
        features = self.tagger.features(build_view("plain", settings)(decoded)[None].to(self.device))
        logits = self.tagger.head(features).logits.float().cpu().numpy()
        probability, predicted = judged(logits, self.info)
        scores = _Scores(logits[0], probability[0], predicted[0])
        states, truths = self._given(file)
        columns = self.wanted or _shown(scores, (states, truths), self.top)
        maps = label_maps(self.tagger.head, features, columns, gradient=self.gradient)
        strength = activation_strength(features)[0].cpu().numpy()
        entries, rows = [], []
        for place, column in enumerate(columns):
            drawn = {str(kind): values[0, place].float().cpu().numpy() for kind, values in maps.items()}
            entry, found = self._label(column, scores, states, truths)
            entries.append({**entry, "maps": {kind: _range(one) for kind, one in drawn.items()}})
            rows.append(Row(entry["class"], _lines(entry), found, (*drawn.values(), strength)))
        # A JPEG is decoded no larger than the network needs, so that it sees the same pixels as in `predict`.
        shown = decoded if max(decoded.size) >= SIDE else decode(file, at_least=SIDE)
        titles = [_TITLES[kind].format(self.info.method) for kind in (*maps, "backbone")]
        legend = possible_marks(states is not None, truths is not None)
        figure = draw_explanation(shown, readable_name(file.name), titles, rows, legend)
        return figure, {"labels": entries, "backbone": _range(strength)}

    def _given(self, file: Path) -> tuple[Int8Array | None, Int8Array | None]:
        """States of an image in the table, None if it is not there, and in the truth, None if none was given."""
        states = None if self.known is None else self.known(file)
        if self.true is None:
            return states, None
        truths = self.true(file)
        return states, np.full(len(self.info.classes), State.UNKNOWN, np.int8) if truths is None else truths

    def _label(
        self, column: int, scores: _Scores, states: Int8Array | None, truths: Int8Array | None
    ) -> tuple[dict[str, Any], Mark | None]:
        """A label in numbers and words, and its mark."""
        state, truth = (None if given is None else State(int(given[column])) for given in (states, truths))
        found = mark(state, truth, bool(scores.predicted[column]))
        entry = {
            "class": self.info.classes[column],
            "probability": float(scores.probability[column]),
            "logit": float(scores.logits[column]),
            "predicted": bool(scores.predicted[column]),
            "state": None if state is None else state.name.lower(),
            "truth": None if truth is None else truth.name.lower(),
            "mark": None if found is None else found.words,
        }
        return entry, found


def _columns(labels: Sequence[str], classes: tuple[str, ...]) -> list[int]:
    """Numbers of the named classes, in the order given, each once."""
    position = {name: column for column, name in enumerate(classes)}
    for name in labels:
        if name not in position:
            near = get_close_matches(name, classes) or get_close_matches(name.casefold(), classes)
            similar = (
                f"similar names: {', '.join(near)}" if near else f"its classes begin with {', '.join(classes[:5])}"
            )
            raise UsageError(f"the model has no class {name!r}; {similar}")
    if not labels:
        raise UsageError("no label is named; name some, or leave the option out to see the most probable ones")
    return list(dict.fromkeys(position[name] for name in labels))


def _shown(scores: _Scores, given: Sequence[Int8Array | None], top: int) -> list[int]:
    """The most probable classes, then the other ones that are present by what is given."""
    order = np.lexsort((-scores.logits, -scores.probability))
    present = np.zeros(order.size, bool)
    for states in given:
        if states is not None:
            present |= states == State.PRESENT
    rest = order[top:]
    return [*order[:top].tolist(), *rest[present[rest]].tolist()]


def _lines(entry: dict[str, Any]) -> tuple[str, ...]:
    lines = [f"{percent(entry['probability'])}, {'' if entry['predicted'] else 'not '}predicted"]
    lines += [
        f"{what}: {entry[key]}" for key, what in (("state", "label"), ("truth", "truth")) if entry[key] is not None
    ]
    return tuple(lines)


def _range(values: Map) -> dict[str, float]:
    return {"lowest": float(values.min()), "highest": float(values.max())}
