"""Maps over images: where in an image the model sees a class, and where the backbone alone answers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from partlabel.drawing.marks import Mark, mark
from partlabel.drawing.overlays import Ends, Map, overlay, range_text
from partlabel.drawing.thumbnails import fitted, jpeg, read_image
from partlabel.images.limits import DEFAULT_LIMITS, Limits
from partlabel.images.views import build_view
from partlabel.labels import LabelTable, State
from partlabel.models.bundle import BundleInfo
from partlabel.models.encoders.base import view_settings
from partlabel.models.explain_maps import activation_strength, ends_of, label_maps
from partlabel.models.tagger import Tagger

IMAGES = 6
_CLASSES = 3
_SIDE = 200


class Overlay(NamedTuple):
    """A map drawn over its image; `mark` says what the label is, where a truth was given."""

    thumbnail: str
    title: str
    caption: str
    mark: Mark | None = None


class MappedImage(NamedTuple):
    """An image, the map of its backbone, then the maps of its highest classes; `thumbnail` is None if there is none."""

    image: str
    thumbnail: str | None
    overlays: list[Overlay]
    kind: str | None = None


def chosen_images(labels: LabelTable) -> list[str]:
    """Evenly spaced images among those with a known present cell, so that no one picks the nice ones."""
    rows = np.flatnonzero(labels.counts_by_image().present)
    places = np.unique(np.linspace(0, rows.size - 1, min(IMAGES, rows.size)).astype(np.int64))
    return [labels.images[row] for row in rows[places]]


@torch.no_grad()
def mapped_images(
    tagger: Tagger,
    info: BundleInfo,
    root: Path,
    labels: LabelTable,
    images: Sequence[str],
    probability: Callable[[float, int], str],
    truth: LabelTable | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> list[MappedImage]:
    """Maps of each image: the backbone's own, then those of its highest classes.

    Args:
        tagger: in eval mode, on the CPU.
        info: of the same bundle.
        root: the image folder.
        labels: tells which of the classes are known to be there.
        images: names of images in `labels`.
        probability: from a logit and a class to a text.
        truth: true labels, by which the classes are marked.
        limits: what an image may be.
    """
    settings = view_settings(info.backbone)
    view = build_view("plain", settings)
    mapped = []
    for image in images:
        decoded = read_image(root, image, settings.plain_side, limits)  # as `predict` sees it
        if decoded is None:
            mapped.append(MappedImage(image, None, []))
            continue
        features = tagger.features(view(decoded)[None])
        logits = tagger.head(*features).logits[0].numpy()
        columns = np.argsort(-logits, kind="stable")[:_CLASSES].tolist()
        ((kind, maps),) = label_maps(tagger.head, features, columns).items()
        larger = None if settings.plain_side >= _SIDE else read_image(root, image, _SIDE, limits)
        shown = fitted(larger or decoded, _SIDE)
        states = labels.rows([labels.image_positions[image]])[0]
        overlays = [_drawn(shown, activation_strength(features.maps)[0].numpy(), "backbone alone, class-free")]
        for column, class_map in zip(columns, maps[0].numpy(), strict=True):
            text = f"{probability(float(logits[column]), column)}, label {State(states[column]).name.lower()}; "
            ends = ends_of(tagger.head.scales.get(kind, "own"), class_map)
            drawn = _drawn(shown, class_map, tagger.classes[column], text, ends)
            if truth is not None:
                threshold = 0.0 if info.thresholds is None else info.thresholds[column]
                true = state_by_name(truth, image, tagger.classes[column])
                drawn = drawn._replace(mark=mark(states[column], true, bool(logits[column] >= threshold)))
            overlays.append(drawn)
        mapped.append(MappedImage(image, jpeg(shown), overlays, kind))
    return mapped


def state_by_name(table: LabelTable, image: str, class_name: str) -> int:
    """State of a cell; unknown if the table lacks the image or the class."""
    row, column = table.image_positions.get(image), table.class_positions.get(class_name)
    return State.UNKNOWN if row is None or column is None else int(table.states_at([row], [column])[0])


def _drawn(shown: Image.Image, values: Map, title: str, caption: str = "", ends: Ends | None = None) -> Overlay:
    return Overlay(jpeg(overlay(shown, values, ends)), title, f"{caption}map {range_text(values, ends)}")
