"""Feature maps and class maps drawn over images."""

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOUR_MAP = "inferno"

Map = NDArray[np.float32]


def range_text(values: Map) -> str:
    """Lowest and highest value, with three significant digits: attention is small, logits are not."""
    low, high = (f"{float(value):.3g}".replace("-", "\N{MINUS SIGN}") for value in (values.min(), values.max()))
    return f"{low} to {high}"


def overlay(decoded: Image.Image, class_map: Map) -> Image.Image:
    """Draw a map `[h, w]`, stretched from its lowest to its highest value, over a grey copy of the whole image."""
    low, high = class_map.min(), class_map.max()
    scaled = (class_map - low) / (high - low) if high > low else np.zeros_like(class_map)
    heat = np.clip(np.asarray(Image.fromarray(scaled).resize(decoded.size, Image.Resampling.BICUBIC)), 0, 1)
    colours = matplotlib.colormaps[COLOUR_MAP](heat)[..., :3]
    grey = np.asarray(decoded.convert("L"))[..., None] / 255
    mixed = 0.5 * grey + 0.5 * colours
    return Image.fromarray(np.rint(255 * mixed).astype(np.uint8))
