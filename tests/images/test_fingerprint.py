import hashlib
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from partlabel.errors import ImageError
from partlabel.images.decode import decode
from partlabel.images.fingerprint import content_hash, perceptual_hash

MakePhoto = Callable[..., Image.Image]

HASHES = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 64), max_size=12)


def bits(first: int, second: int) -> int:
    return bin(first ^ second).count("1")


def test_content_hash(tmp_path: Path, photo: Image.Image):
    photo.save(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes() + b"\0")
    assert content_hash(tmp_path / "a.png") == content_hash(tmp_path / "b.png") != content_hash(tmp_path / "c.png")
    expected = hashlib.blake2b((tmp_path / "a.png").read_bytes(), digest_size=16).hexdigest()
    assert content_hash(tmp_path / "a.png") == expected
    with pytest.raises(ImageError, match=r"none.png' cannot be read"):
        content_hash(tmp_path / "none.png")


def test_perceptual_hash_by_scipys_transform(photo: Image.Image):
    squares = np.asarray(photo.convert("L").resize((32, 32), Image.Resampling.BILINEAR), float)
    waves = scipy.fft.dctn(squares)[1:9, 1:9].ravel()
    expected = 0
    for wave in waves:
        expected = expected * 2 + int(wave > statistics.median(waves))
    assert perceptual_hash(photo) == expected
    assert expected.bit_count() == 32


def test_hash_survives_what_keeps_the_look(make_photo: MakePhoto, tmp_path: Path):
    photos = [make_photo(640, 480, seed) for seed in range(20)]
    for photo in photos:
        photo.save(tmp_path / "a.jpg", quality=60)
        changed = [
            decode(tmp_path / "a.jpg"),
            decode(tmp_path / "a.jpg", at_least=60),
            photo.resize((200, 170)),
            photo.convert("L"),
            ImageEnhance.Brightness(photo).enhance(0.8),
        ]
        assert max(bits(perceptual_hash(photo), perceptual_hash(other)) for other in changed) <= 4
    different = [bits(perceptual_hash(a), perceptual_hash(b)) for i, a in enumerate(photos) for b in photos[:i]]
    assert min(different) > 10


def test_flat_images_hash_to_zero(tmp_path: Path):
    flat = [Image.new("RGB", (50, 40), colour) for colour in ("white", "black", (200, 30, 77))]
    flat.append(Image.linear_gradient("L"))
    flat.append(Image.fromarray(np.random.default_rng(0).integers(120, 123, (200, 300, 3), dtype=np.uint8)))
    flat[-1].save(tmp_path / "noise.jpg")
    flat.append(decode(tmp_path / "noise.jpg"))
    hashes = [perceptual_hash(image) for image in flat]
    assert hashes == [0] * len(flat)
