"""The views of an image that a network is shown: plain, weakly and strongly augmented."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import torch
from jaxtyping import Float
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torchvision.transforms import v2

from partlabel.errors import UsageError

VIEW_KINDS = ("plain", "weak", "strong")

RandomCrop = Literal["area", "scales", "fixed"]
Channels = tuple[float, float, float]
View = Callable[[Image.Image], Float[Tensor, "3 h w"]]

# Widest change of the aspect ratio by a random crop, as in Inception's random resized crop (Szegedy et al. 2015).
_STRETCH = 4 / 3
_CUTOUT_SIDE = 0.5


class ViewSettings(BaseModel):
    """How images become tensors. What the plain view depends on follows from the backbone, so that prediction repeats
    it.

    Args:
        size: side of the square view, in pixels.
        mean: mean of the red, green and blue channel on the 0..1 scale, subtracted; the default is ImageNet's.
        std: standard deviation of the same, divided by.
        interpolation: filter of the resizing, always antialiased.
        crop: "squash" resizes the whole image to a square whatever its shape, so that no labelled thing is cut off (as
            in CLSL); "center" keeps the shape and takes the central square.
        crop_scale: smallest share of the area that the random crop of weak and strong views keeps; 1 crops nothing.
            0.6 is ours: published recipes go from no crop (CLSL) down to a quarter (PU-MLC), and a crop can cut off
            what a label names.
        random_crop: how weak and strong views are cut out. "area": a part of random area and shape (`crop_scale`).
            "scales": the image is resized to `crop_from`, a square of one of `crop_sides` is cut out anywhere, and
            resized to `size` (official codes of PU-MLC and of the papers whose data pipeline it shares, such as SARB,
            at 448). "fixed": the same with a square of `size` (CLS "squished and randomly cropped into" 224; it does
            not say from what).
        crop_from: side in pixels that the image is resized to (as `crop` says) before a square is cut out; None: 8/7 of
            the size, 512 for 448.
        crop_sides: sides in pixels of which "scales" takes one; none: 8/7, 1, 6/7, 5/7 and 4/7 of the size, at 448 the
            512, 448, 384, 320 and 256 of those codes.
        flip: weak and strong views are mirrored half of the time; switch it off where left and right matter (digits,
            text).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=224, ge=1)
    mean: Channels = (0.485, 0.456, 0.406)
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (
        0.229,
        0.224,
        0.225,
    )
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    crop: Literal["squash", "center"] = "squash"
    crop_scale: float = Field(default=0.6, gt=0, le=1)
    random_crop: RandomCrop = "area"
    crop_from: int | None = Field(default=None, ge=1)
    crop_sides: tuple[Annotated[int, Field(ge=1)], ...] = ()
    flip: bool = True

    @model_validator(mode="after")
    def _squares_fit(self) -> Self:
        if self.random_crop != "area" and max(self.sides) > self.resized_side:
            raise ValueError(
                f"random_crop {self.random_crop!r} cuts squares of {max(self.sides)} pixels out of images resized to "
                f"{self.resized_side}; set crop_from to at least {max(self.sides)}"
            )
        return self

    @property
    def resized_side(self) -> int:
        """Side, in pixels, that squares are cut out of."""
        return self.crop_from if self.crop_from is not None else round(self.size * 8 / 7)

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides, in pixels, of the squares that are cut out."""
        if self.random_crop == "fixed":
            return (self.size,)
        return self.crop_sides or tuple(round(self.size * part / 7) for part in (8, 7, 6, 5, 4))

    @property
    def decode_side(self) -> int:
        """Shorter side, in pixels, that an image must be decoded with so that no view of it has to be enlarged, but for
        small squares.
        """
        if self.random_crop != "area":
            return max(self.size, self.resized_side)
        return math.ceil(self.size / math.sqrt(self.crop_scale * max(self.crop_scale, 1 / _STRETCH)))

    @property
    def plain_side(self) -> int:
        """The same for the plain view alone: by the size only, so that training, tagging and any cache see the same
        pixels.
        """
        return math.ceil(1.5 * self.size)


def build_view(kind: str, settings: ViewSettings) -> View:
    """The transform from an RGB image to one view of it, float32 `[3, size, size]`, normalised.

    "plain" resizes and draws nothing. "weak" is a random crop (see `ViewSettings.random_crop`) and a random mirroring.
    "strong" is weak, then Cutout of one rectangle in a random colour, then RandAugment, in the order of CLSL's code;
    RandAugment has torchvision's defaults (2 operations at magnitude 9 of 30; none of them mirrors). All draws come
    from torch's global CPU generator.

    Raises:
        UsageError: there is no such kind.
    """
    if kind not in VIEW_KINDS:
        raise UsageError(f"there is no view {kind!r}; choose from {', '.join(VIEW_KINDS)}")
    steps: list[Callable[[Any], Any]] = []
    filtering = v2.InterpolationMode(settings.interpolation)
    if kind != "plain":
        steps.append(_RandomCrop(settings) if settings.random_crop == "area" else _RandomSquare(settings))
        if settings.flip:
            steps.append(v2.RandomHorizontalFlip())
    elif settings.crop == "squash":
        steps.append(v2.Resize((settings.size, settings.size), filtering))
    else:
        steps += [v2.Resize(settings.size, filtering), v2.CenterCrop(settings.size)]
    if kind == "strong":
        steps += [_cutout, v2.RandAugment()]
    # Contiguous, because a batch may inherit the channels-last strides, and convolutions then round differently.
    steps += [v2.PILToTensor(), Tensor.contiguous, v2.ToDtype(torch.float32, scale=True)]
    steps.append(v2.Normalize(settings.mean, settings.std))
    view: View = v2.Compose(steps)
    return view


@dataclass(frozen=True)
class _RandomCrop:
    """A random part of the image, resized to the square.

    Unlike torchvision's RandomResizedCrop, whose parts are near square in pixels, the parts have about the shape of the
    frame that the plain view shows: the whole image when it is squashed. So training and testing distort alike, and a
    wide image loses no more than a square one.
    """

    settings: ViewSettings

    def __call__(self, image: Image.Image) -> Image.Image:
        size = self.settings.size
        frame = image.size if self.settings.crop == "squash" else (min(image.size),) * 2
        area = _uniform(self.settings.crop_scale, 1)
        widest = min(_STRETCH, 1 / area)  # beyond it a side would leave the frame
        stretch = math.exp(_uniform(-math.log(widest), math.log(widest)))
        width = max(1, round(frame[0] * math.sqrt(area * stretch)))
        height = max(1, round(frame[1] * math.sqrt(area / stretch)))
        left, top = _below(image.width - width + 1), _below(image.height - height + 1)
        if width * height > (Image.MAX_IMAGE_PIXELS or math.inf):
            # Pillow cuts out no more than it would open. Resized in place, the pixels at the border differ slightly.
            box = (left, top, left + width, top + height)
            return image.resize((size, size), Image.Resampling[self.settings.interpolation.upper()], box)
        cropped: Image.Image = v2.functional.resized_crop(
            image, top, left, height, width, [size, size], v2.InterpolationMode(self.settings.interpolation)
        )
        return cropped


@dataclass(frozen=True)
class _RandomSquare:
    """A random square of the image resized, of one of several sides, resized to the size of the view."""

    settings: ViewSettings

    def __call__(self, image: Image.Image) -> Image.Image:
        settings = self.settings
        filtering, side = v2.InterpolationMode(settings.interpolation), settings.resized_side
        whole = v2.functional.resize(image, [side, side] if settings.crop == "squash" else [side], filtering)
        square = settings.sides[_below(len(settings.sides))]
        left, top = _below(whole.width - square + 1), _below(whole.height - square + 1)
        cropped: Image.Image = v2.functional.resized_crop(
            whole, top, left, square, square, [settings.size, settings.size], filtering
        )
        return cropped


def _cutout(image: Image.Image) -> Image.Image:
    """Paint one rectangle of half the image's sides, centred anywhere and cut at the border (DeVries & Taylor 2017)."""
    width, height = image.size
    half_width, half_height = round(width * _CUTOUT_SIDE / 2), round(height * _CUTOUT_SIDE / 2)
    x, y = _below(width), _below(height)
    box = (max(0, x - half_width), max(0, y - half_height), min(width, x + half_width), min(height, y + half_height))
    painted = image.copy()
    painted.paste((_below(256), _below(256), _below(256)), box)
    return painted


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _below(limit: int) -> int:
    return int(torch.randint(limit, ()))
