from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image


def _make_photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth coloured image without any symmetry, so that every turn and flip of it is another image."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def make_photo() -> Callable[..., Image.Image]:
    return _make_photo


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    return _make_photo(160, 120)
