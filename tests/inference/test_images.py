"""What a model can be asked about, and the sentences for the rest."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partlabel.errors import ImageError, UsageError
from partlabel.inference.images import image_files, readable_images
from partlabel.progress import SILENT


@pytest.mark.parametrize(
    "given",
    [Image.new("RGB", (4, 4)), [Image.new("RGB", (4, 4))], np.zeros((4, 4, 3)), [b"bytes"], io.BytesIO(), [None], 7],
)
def test_what_is_no_path_is_a_sentence(given: Any) -> None:
    with pytest.raises(UsageError, match="an image is given by its path, not as"):
        image_files(given)


def test_addresses_are_not_downloaded() -> None:
    with pytest.raises(UsageError, match=r"'https://example\.org/a\.jpg' is an address, and nothing is downloaded"):
        image_files(["https://example.org/a.jpg"])


def test_the_reasons_are_told(tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    for broken in ("fail", "skip"):
        with pytest.raises(ImageError, match=r"none of the 1 image can be read: .*bad\.png.*begins with") as error:
            readable_images([bad], broken, SILENT)
        assert "--broken skip" not in str(error.value)  # it would not help
    Image.new("RGB", (4, 4)).save(tmp_path / "good.png")
    files = [tmp_path / "good.png", bad]
    with pytest.raises(ImageError, match=r"1 of 2 images cannot be read: .*begins with.*; leave them out"):
        readable_images(files, "fail", SILENT)
    assert readable_images(files, "skip", SILENT) == files[:1]
