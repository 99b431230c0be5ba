"""Where in an image a model sees its labels: the maps of each label, its numbers, and what was known of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from partlabel.drawing.explanation import SIDE, Row, draw_explanation
from partlabel.drawing.marks import Mark, mark, possible_marks
from partlabel.drawing.overlays import Map
from partlabel.images.decode import decode
from partlabel.images.limits import Limits
from partlabel.images.views import build_view
from partlabel.inference.decisions import decide, refuse_not_finite
from partlabel.inference.file_states import FileStates
from partlabel.labels import Int8Array, State
from partlabel.models.bundle import BundleInfo
from partlabel.models.encoders.base import view_settings
from partlabel.models.explain_maps import activation_strength, ends_of, label_maps
from partlabel.models.tagger import Tagger
from partlabel.wording import percent, readable_name

_TITLES = {
    "class": "class map of {}",
    "gradient": "gradient map (Grad-CAM)",
    "heat": "heat map of {}: what is positive, by its largest value",
    "attended": "class map of {} times its attention to the label",
    "coarse": "coarse head of {}: logit of each place",
    "backbone": "backbone alone, class-free: L2 norm over the channels of its maps",
}


class _Scores(NamedTuple):
    """Of one image, each `[C]`."""

    logits: NDArray[np.float32]
    probability: NDArray[np.float64]
    predicted: NDArray[np.bool_]


class Explainer(NamedTuple):
    """From an image file to its figure, and the same in numbers and words.

    Args:
        tagger: the model, on its device.
        device: where it is.
        info: what its bundle says.
        wanted: numbers of the classes to show; None for the `top` most probable and those known to be present.
        top: how many.
        gradient: gradient maps beside the method's own.
        others: the head's further maps too.
        known: what training knew.
        true: what is true.
        limits: what an image may be.
    """

    tagger: Tagger
    device: torch.device
    info: BundleInfo
    wanted: list[int] | None
    top: int
    gradient: bool
    others: bool
    known: FileStates | None
    true: FileStates | None
    limits: Limits

    @torch.no_grad()
    def __call__(self, file: Path) -> tuple[Image.Image, dict[str, Any]]:
        """The figure of an image, and its labels in numbers and words."""
        settings = view_settings(self.info.backbone)
        decoded = decode(file, limits=self.limits, at_least=settings.plain_side)
        features = self.tagger.features(build_view("plain", settings)(decoded)[None].to(self.device))
        logits = self.tagger.head(*features).logits.float().cpu().numpy()
        refuse_not_finite(logits, [file])
        decisions = decide(logits, self.info.thresholds, self.info.calibration)
        scores = _Scores(logits[0], decisions.probability[0], decisions.predicted[0])
        states, truths = self._given(file)
        columns = self.wanted or _shown(scores, (states, truths), self.top)
        maps = label_maps(self.tagger.head, features, columns, gradient=self.gradient, others=self.others)
        strength = activation_strength(features.maps)[0].cpu().numpy()
        entries, rows = [], []
        for place, column in enumerate(columns):
            drawn = {kind: values[0, place].float().cpu().numpy() for kind, values in maps.items()}
            entry, found = self._label(column, scores, states, truths)
            entries.append({**entry, "maps": {kind: _range(one) for kind, one in drawn.items()}})
            ends = tuple(ends_of(self.tagger.head.scales.get(kind, "own"), one) for kind, one in drawn.items())
            rows.append(Row(entry["class"], _lines(entry), found, (*drawn.values(), strength), ends))
        # A JPEG is decoded no larger than the network needs, so that it sees the same pixels as in `predict`.
        shown = decoded if max(decoded.size) >= SIDE else decode(file, limits=self.limits, at_least=SIDE)
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
