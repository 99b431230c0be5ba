"""The dataset that a training or a scoring reads: images decoded on the fly, or maps computed once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset

from partlabel.images.dataset import ImageDataset
from partlabel.images.paths import image_root
from partlabel.images.views import ViewSettings
from partlabel.models.encoders.backbone import Backbone, BackboneSpec
from partlabel.progress import Reporter
from partlabel.training.map_cache import (
    MapDataset,
    cached_maps,
    check_room,
    collated,
    content_hashes,
    estimate_bytes,
    missing_maps,
)


class Source(NamedTuple):
    """A dataset and how its items become a batch (None: torch's way)."""

    dataset: Dataset[Any]
    collate: Callable[[Any], Any] | None

    def only(self, views: Sequence[str]) -> "Source":
        """The same cached maps with fewer views."""
        assert isinstance(self.dataset, MapDataset)
        return Source(MapDataset({view: self.dataset.stores[view] for view in views}), self.collate)


def view_settings(spec: BackboneSpec, *, flip: bool = True, crop_scale: float = 0.6) -> ViewSettings:
    """Views as a backbone wants its images."""
    return ViewSettings(
        size=spec.size,
        mean=spec.mean,
        std=spec.std,
        flip=flip,
        crop_scale=crop_scale,
        interpolation="bilinear" if spec.interpolation == "bilinear" else "bicubic",
    )


def image_source(root: Path, names: Sequence[str], views: Sequence[str], settings: ViewSettings, seed: int) -> Source:
    """Images, decoded and viewed when asked for."""
    return Source(ImageDataset(root, names, views, settings, seed), None)


def map_source(
    backbone: Backbone,
    root: Path,
    names: Sequence[str],
    views: Sequence[str],
    settings: ViewSettings,
    *,
    seed: int,
    draws: int,
    cache: Path,
    workers: int,
    device: torch.device | str,
    reporter: Reporter,
) -> Source:
    """Maps of a frozen backbone, computed now where the cache lacks them; the size is said before.

    The weak view's first draw is the plain view. Every random view has `draws` fixed draws.
    """
    root = image_root(root)
    wanted = {view: _draws(view, draws) for view in views}
    distinct = sorted({draw for parts in wanted.values() for draw in parts})
    with reporter.track("reading images") as tick:
        hashes = content_hashes(root, names, tick)
    images = {view: ImageDataset(root, names, (view,), settings, seed) for view in wanted}
    missing = sum(missing_maps(backbone, images[kind], hashes, kind, draw, cache) for kind, draw in distinct)
    needed = estimate_bytes(backbone, missing)
    check_room(cache, needed)
    reporter.say(
        f"maps of {len(names)} images × {len(distinct)} view(s): "
        + (f"{missing} to compute, {needed / 1e6:,.0f} MB in {cache}" if missing else f"all of them are in {cache}")
    )
    stores = {}
    for view, draw in distinct:
        with reporter.track(f"maps of the {view} view, draw {draw}") as tick:
            stores[view, draw] = cached_maps(
                backbone, images[view], hashes, view, draw, cache, device=device, workers=workers, tick=tick
            )
    return Source(MapDataset({view: [stores[draw] for draw in parts] for view, parts in wanted.items()}), collated)


def _draws(view: str, draws: int) -> list[tuple[str, int]]:
    if view == "plain":
        return [("plain", 0)]
    if view == "weak":
        return [("plain", 0), *(("weak", number) for number in range(1, draws))]
    return [(view, number) for number in range(draws)]
