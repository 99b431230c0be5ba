from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image


def _scene(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """A smooth coloured image, unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def scene() -> Callable[..., Image.Image]:
    return _scene
