"""Feature maps and class maps drawn over images."""

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOUR_MAP = "inferno"

Map = NDArray[np.float32]


Ends = tuple[float, float]
"""Values that are drawn darkest and brightest."""


def range_text(values: Map, ends: Ends | None = None) -> str:
    """Lowest and highest value, with three significant digits: attention is small, logits are not; and the ends, if the
    map is drawn between others.
    """
    low, high = (f"{float(value):.3g}".replace("-", "\N{MINUS SIGN}") for value in (values.min(), values.max()))
    return f"{low} to {high}" if ends is None else f"{low} to {high}, drawn from {ends[0]:g} to {ends[1]:g}"


def overlay(decoded: Image.Image, class_map: Map, ends: Ends | None = None) -> Image.Image:
    """Draw a map `[h, w]`, stretched from its lowest to its highest value, or between given ends, over a grey copy of
    the whole image.
    """
    low, high = (class_map.min(), class_map.max()) if ends is None else np.asarray(ends, np.float32)
    scaled = (class_map - low) / (high - low) if high > low else np.zeros_like(class_map)
    heat = np.clip(np.asarray(Image.fromarray(scaled).resize(decoded.size, Image.Resampling.BICUBIC)), 0, 1)
    colours = matplotlib.colormaps[COLOUR_MAP](heat)[..., :3]
    grey = np.asarray(decoded.convert("L"))[..., None] / 255
    mixed = 0.5 * grey + 0.5 * colours
    return Image.fromarray(np.rint(255 * mixed).astype(np.uint8))
