"""Class maps over pictures: where in a picture the model sees a class."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from partlabel.images.views import build_view
from partlabel.labels import LabelTable, State
from partlabel.models.bundle import BundleInfo
from partlabel.models.tagger import Tagger
from partlabel.report.parts import number
from partlabel.report.pictures import fitted, jpeg, read_picture
from partlabel.training.data import view_settings

PICTURES = 6
_CLASSES = 3
_SIDE = 200
_COLOURS = "inferno"

Map = NDArray[np.float32]


class Overlay(NamedTuple):
    """A class map drawn over its picture."""

    picture: str
    class_name: str
    caption: str


class MappedPicture(NamedTuple):
    """A picture and the maps of its highest classes; `picture` is None if the file cannot be shown."""

    image: str
    picture: str | None
    overlays: list[Overlay]


def chosen_images(labels: LabelTable) -> list[str]:
    """Evenly spaced images among those with a known present cell, so that no one picks the nice ones."""
    rows = np.flatnonzero(labels.counts_by_image().present)
    places = np.unique(np.linspace(0, rows.size - 1, min(PICTURES, rows.size)).astype(np.int64))
    return [labels.images[row] for row in rows[places]]


@torch.no_grad()
def mapped_pictures(
    tagger: Tagger,
    info: BundleInfo,
    root: Path,
    labels: LabelTable,
    images: Sequence[str],
    probability: Callable[[float, int], str],
) -> list[MappedPicture]:
    """Maps of the highest classes of each image.

    Args:
        tagger: in eval mode, on the CPU.
        info: of the same bundle.
        root: the image folder.
        labels: tells which of the classes are known to be there.
        images: names of images in `labels`.
        probability: from a logit and a class to a text.
    """
    view = build_view("plain", view_settings(info.backbone))
    mapped = []
    for image in images:
        picture = read_picture(root, image, max(_SIDE, info.backbone.size))
        if picture is None:
            mapped.append(MappedPicture(image, None, []))
            continue
        features = tagger.features(view(picture)[None])
        logits = tagger.head(features).logits[0].numpy()
        maps = tagger.head.class_maps(features)[0].numpy()
        shown = fitted(picture, _SIDE)
        states = labels.rows([labels.image_positions[image]])[0]
        overlays = []
        for column in np.argsort(-logits, kind="stable")[:_CLASSES].tolist():
            text = f"{probability(float(logits[column]), column)}, label {State(states[column]).name.lower()}"
            low, high = float(maps[column].min()), float(maps[column].max())
            drawn = jpeg(overlay(shown, maps[column]))
            overlays.append(Overlay(drawn, tagger.classes[column], f"{text}; map {number(low)} to {number(high)}"))
        mapped.append(MappedPicture(image, jpeg(shown), overlays))
    return mapped


def overlay(picture: Image.Image, class_map: Map) -> Image.Image:
    """Draw a map `[h, w]`, stretched from its lowest to its highest value, over a grey copy of the whole picture."""
    low, high = class_map.min(), class_map.max()
    scaled = (class_map - low) / (high - low) if high > low else np.zeros_like(class_map)
    heat = np.clip(np.asarray(Image.fromarray(scaled).resize(picture.size, Image.Resampling.BICUBIC)), 0, 1)
    colours = matplotlib.colormaps[_COLOURS](heat)[..., :3]
    grey = np.asarray(picture.convert("L"))[..., None] / 255
    mixed = 0.5 * grey + 0.5 * colours
    return Image.fromarray(np.rint(255 * mixed).astype(np.uint8))
