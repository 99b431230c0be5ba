import pickle
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from partlabel.errors import UsageError
from partlabel.images.randomness import item_randomness
from partlabel.images.views import VIEW_KINDS, ViewSettings, _cutout, build_view

MakePhoto = Callable[..., Image.Image]

RAW = {"mean": (0, 0, 0), "std": (1, 1, 1)}


def see(kind: str, image: Image.Image, settings: ViewSettings, item: str = "a") -> torch.Tensor:
    with item_randomness(0, 0, item, kind):
        return build_view(kind, settings)(image)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_plain_squashes_and_normalises(photo: Image.Image, interpolation: str):
    chosen = ViewSettings(size=48, interpolation=interpolation)
    small = photo.resize((48, 48), Image.Resampling[interpolation.upper()])
    expected = (np.asarray(small) / 255 - np.array(chosen.mean)) / np.array(chosen.std)
    np.testing.assert_allclose(build_view("plain", chosen)(photo).permute(1, 2, 0), expected, atol=1e-6)


def test_plain_centre(photo: Image.Image):
    seen = build_view("plain", ViewSettings(size=60, crop="center", **RAW))(photo)
    expected = photo.resize((80, 60), Image.Resampling.BILINEAR).crop((10, 0, 70, 60))
    np.testing.assert_allclose(seen.permute(1, 2, 0) * 255, np.asarray(expected), atol=1e-3)


@pytest.mark.parametrize("kind", VIEW_KINDS)
@pytest.mark.parametrize("crop", ["squash", "center"])
@pytest.mark.parametrize("size", [(1, 1), (1, 400), (300, 2), (64, 64), (37, 91)])
def test_every_view_of_any_shape(make_photo: MakePhoto, kind: str, crop: str, size: tuple[int, int]):
    for item in map(str, range(20)):
        seen = see(kind, make_photo(*size), ViewSettings(size=32, crop=crop), item)
        assert type(seen) is torch.Tensor
        assert (seen.shape, seen.dtype) == ((3, 32, 32), torch.float32)
        assert seen.is_contiguous()
        assert torch.isfinite(seen).all()


def global_states() -> tuple[object, list[int]]:
    return random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002


@pytest.mark.parametrize("kind", ["weak", "strong"])
def test_all_draws_come_from_torch(photo: Image.Image, kind: str):
    states = []
    seen = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        before = global_states()
        seen.append(torch.stack([see(kind, photo, ViewSettings(size=40), str(item)) for item in range(60)]))
        states.append(before == global_states())
    assert states == [True, True]
    assert torch.equal(*seen)
    assert len({one.numpy().tobytes() for one in seen[0]}) > 55


def position(seen: torch.Tensor) -> tuple[float, float]:
    """Slope of the red channel to the right and downwards, per pixel."""
    return float(seen[0, :, 1:].sub(seen[0, :, :-1]).median()), float(seen[0, 1:].sub(seen[0, :-1]).median())


@pytest.mark.parametrize("kind", ["weak", "strong"])
def test_flip_can_be_switched_off(kind: str):
    ramp = Image.fromarray(np.tile(np.linspace(20, 230, 100, dtype=np.uint8)[None, :, None], (100, 1, 3)))
    slopes = {
        flip: [position(see(kind, ramp, ViewSettings(size=50, flip=flip, **RAW), str(item)))[0] for item in range(200)]
        for flip in (True, False)
    }
    mirrored = np.mean(np.array(slopes[True]) < -1e-3)
    assert 0.35 < mirrored < 0.6
    # Solarize and the rotation do not turn the ramp round; nothing else may.
    assert np.mean(np.array(slopes[False]) < -1e-3) == 0


@pytest.mark.parametrize("size", [(200, 100), (90, 160)])
@pytest.mark.parametrize(("crop", "scale"), [("squash", 0.6), ("squash", 0.25), ("squash", 1.0), ("center", 0.5)])
def test_random_crop_keeps_its_share(size: tuple[int, int], crop: str, scale: float):
    width, height = size
    columns, rows = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    image = Image.fromarray(np.stack([columns * 255, rows * 255, rows * 0], -1).astype(np.uint8))
    frame = size if crop == "squash" else (min(size),) * 2
    shares, stretches = [], []
    for item in range(100):
        seen = see("weak", image, ViewSettings(size=64, crop=crop, crop_scale=scale, flip=False, **RAW), str(item))
        across = float(seen[0, 32, -2] - seen[0, 32, 1]) * 64 / 61 * width / frame[0]
        down = float(seen[1, -2, 32] - seen[1, 1, 32]) * 64 / 61 * height / frame[1]
        shares.append(across * down)
        stretches.append(across / down)
    assert min(shares) > scale - 0.05
    assert max(shares) < 1.06
    assert max(stretches) < 4 / 3 + 0.1
    assert min(stretches) > 3 / 4 - 0.1
    if scale < 1:
        assert min(shares) < scale + 0.1
        assert max(shares) > 0.9
        assert max(stretches) > 1.1
        assert min(stretches) < 0.9


def _boxes(square: int, width: int, height: int) -> list[tuple[int, int, int, int]]:
    return [
        (left, top, left + square, top + square)
        for left in range(width - square + 1)
        for top in range(height - square + 1)
    ]


@pytest.mark.parametrize(
    ("chosen", "resized", "sides"),
    [
        ({"random_crop": "scales"}, 16, (16, 14, 12, 10, 8)),
        ({"random_crop": "scales", "crop_from": 15, "crop_sides": (13, 9)}, 15, (13, 9)),
        ({"random_crop": "fixed"}, 16, (14,)),
        ({"random_crop": "fixed", "crop_from": 15}, 15, (14,)),
    ],
)
@pytest.mark.parametrize("crop", ["squash", "center"])
def test_squares_are_cut_out_of_the_resized_image(
    chosen: dict[str, object], resized: int, sides: tuple[int, ...], crop: str
) -> None:
    """Each view is one of the squares that loops over sides and places cut out with Pillow; all are drawn alike."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8))
    whole = image.resize(
        (resized, resized) if crop == "squash" else (resized * 5 // 4, resized), Image.Resampling.BILINEAR
    )
    possible = {
        np.asarray(whole.crop(box).resize((14, 14), Image.Resampling.BILINEAR)).tobytes(): (square, box)
        for square in sides
        for box in _boxes(square, *whole.size)
    }
    settings = ViewSettings(size=14, crop=crop, flip=False, **chosen, **RAW)
    torch.manual_seed(0)
    view = build_view("weak", settings)
    seen = [(view(image) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy() for _ in range(600)]
    drawn = [possible[one.tobytes()] for one in seen]
    for square in sides:
        mine = [box for side, box in drawn if side == square]
        assert len(mine) == pytest.approx(600 / len(sides), rel=0.35)
        room = whole.width - square
        assert {box[0] for box in mine} == set(range(room + 1))
        assert np.mean([box[1] for box in mine]) == pytest.approx((whole.height - square) / 2, abs=0.5)
    assert settings.decode_side >= resized
    plain = build_view("plain", ViewSettings(size=14, crop=crop, **RAW))(image)
    assert torch.equal(plain, build_view("plain", settings)(image))


def test_the_squares_of_the_published_pipeline() -> None:
    """At 448 pixels: 512, and out of it squares of 512, 448, 384, 320 and 256 (PU-MLC's official code)."""
    settings = ViewSettings(size=448, random_crop="scales")
    assert (settings.resized_side, settings.sides) == (512, (512, 448, 384, 320, 256))
    assert ViewSettings(size=224, random_crop="fixed").resized_side == 256
    with pytest.raises(ValidationError, match="cuts squares of 448 pixels out of images resized to 400; set crop_from"):
        ViewSettings(size=448, random_crop="fixed", crop_from=400)
    assert ViewSettings(size=448, crop_from=400).random_crop == "area"


def test_nothing_is_cropped_at_scale_one(photo: Image.Image):
    chosen = ViewSettings(size=40, crop_scale=1, flip=False)
    assert torch.equal(see("weak", photo, chosen), see("plain", photo, chosen))


@given(size=st.integers(1, 400), scale=st.floats(0.05, 1), area=st.floats(0, 1), stretch=st.floats(-1, 1))
@settings(max_examples=200)
def test_decode_side_is_enough_for_any_crop(size: int, scale: float, area: float, stretch: float):
    share = scale + (1 - scale) * area
    shape = min(4 / 3, 1 / share) ** stretch
    side = ViewSettings(size=size, crop_scale=scale).decode_side
    assert side * np.sqrt(share * shape) >= size * (1 - 1e-9)
    assert side >= size


def test_cutout_paints_one_rectangle():
    black = Image.new("RGB", (60, 40))
    painted = []
    for seed in range(200):
        torch.manual_seed(seed)
        pixels = np.asarray(_cutout(black))
        rows, columns = np.nonzero(pixels.any(-1))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) == 2
        box = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (box == box[0, 0]).all()
        assert box.shape[0] <= 20
        assert box.shape[1] <= 30
        painted.append(rows.size / 2400)
    assert max(painted) == 0.25
    # Centre anywhere: a side keeps 7/8 of itself on average.
    assert np.mean(painted) == pytest.approx(0.25 * (7 / 8) ** 2, rel=0.1)
    assert not np.asarray(black).any()


def test_strong_differs_from_weak_and_plain_draws_nothing(photo: Image.Image):
    chosen = ViewSettings(size=40)
    before = torch.get_rng_state()
    build_view("plain", chosen)(photo)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(see("weak", photo, chosen), see("strong", photo, chosen))


@pytest.mark.parametrize("kind", VIEW_KINDS)
def test_views_can_be_sent_to_a_worker(photo: Image.Image, kind: str):
    chosen = ViewSettings(size=40)
    copy = pickle.loads(pickle.dumps(build_view(kind, chosen)))
    with item_randomness(0, 0, "a", kind):
        assert torch.equal(copy(photo), see(kind, photo, chosen))


def test_settings_are_checked_and_round_trip():
    chosen = ViewSettings(size=96, mean=(0.5, 0.5, 0.5), crop="center", flip=False)
    assert ViewSettings.model_validate_json(chosen.model_dump_json()) == chosen
    for wrong in (
        {"size": 0},
        {"std": (1, 0, 1)},
        {"crop": "middle"},
        {"crop_scale": 0},
        {"crop_scale": 1.5},
        {"sise": 5},
    ):
        with pytest.raises(ValidationError):
            ViewSettings(**wrong)
    with pytest.raises(UsageError, match="'medium'; choose from plain, weak, strong"):
        build_view("medium", chosen)


def test_a_part_of_more_pixels_than_pillow_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same part as of any image, without a warning or an error, but for rounding and the border."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8).repeat(3, 0).repeat(3, 1))
    view = build_view("weak", ViewSettings(size=24, flip=False))
    torch.manual_seed(3)
    usual = view(image)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    torch.manual_seed(3)
    large = view(image)
    torch.testing.assert_close(large[:, 2:-2, 2:-2], usual[:, 2:-2, 2:-2], rtol=0, atol=0.02)
