"""Where in an image a model sees one class, drawn over the image."""

from pathlib import Path
from typing import NamedTuple, Self

import torch
from PIL import Image

from partlabel.drawing.overlays import overlay
from partlabel.drawing.thumbnails import fitted
from partlabel.images.decode import decode
from partlabel.images.limits import Limits
from partlabel.images.views import build_view
from partlabel.inference.model import any_device, open_model
from partlabel.models.bundle import BundleInfo
from partlabel.models.encoders.base import view_settings
from partlabel.models.explain_maps import ends_of, label_maps
from partlabel.models.tagger import Tagger
from partlabel.runs.folder import RunFolder

_SIDE = 640
"""Pixels of the longer side of what is drawn, or of the shorter one of what is decoded for it."""


class ClassOverlay(NamedTuple):
    """From an image file and a class to a picture.

    Args:
        tagger: the model, on its device.
        device: where it is.
        info: what its bundle says.
        limits: what an image may be.
    """

    tagger: Tagger
    device: torch.device
    info: BundleInfo
    limits: Limits

    @classmethod
    def open(cls, run: Path | str | RunFolder, limits: Limits) -> Self:
        """The model of a run, or of a bundle copied anywhere."""
        tagger, info = open_model(run)
        device = any_device()
        return cls(tagger.to(device), device, info, limits)

    @torch.no_grad()
    def __call__(self, file: Path, class_name: str) -> Image.Image:
        """The method's own map of a class, or its gradient map (Grad-CAM) if it has none, over a grey copy of the
        image.

        Raises:
            ImageError: the image cannot be read.
            ValueError: the model has no such class.
        """
        column = self.info.classes.index(class_name)
        settings = view_settings(self.info.backbone)
        decoded = decode(file, limits=self.limits, at_least=settings.plain_side)
        features = self.tagger.features(build_view("plain", settings)(decoded)[None].to(self.device))
        kind, values = next(iter(label_maps(self.tagger.head, features, [column]).items()))
        drawn = values[0, 0].float().cpu().numpy()
        # A JPEG is decoded no larger than the network needs, so that it sees the same pixels as in `predict`.
        shown = decoded if max(decoded.size) >= _SIDE else decode(file, limits=self.limits, at_least=_SIDE)
        small = shown if max(shown.size) <= _SIDE else fitted(shown, _SIDE)
        return overlay(small, drawn, ends_of(self.tagger.head.scales.get(kind, "own"), drawn))
