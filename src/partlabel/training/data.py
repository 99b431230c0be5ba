"""The dataset that a training or a scoring reads: images decoded on the fly, or maps computed once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from partlabel.cache import default_cache
from partlabel.errors import MissingDependencyError
from partlabel.images.dataset import ImageDataset
from partlabel.images.limits import DEFAULT_LIMITS, Limits
from partlabel.images.paths import image_root
from partlabel.images.views import ViewSettings
from partlabel.models.encoders.base import Backbone
from partlabel.progress import Reporter
from partlabel.training.map_cache import (
    MapDataset,
    Recipe,
    cached_maps,
    collated,
    content_hashes,
    estimate_bytes,
    known_hashes,
)
from partlabel.training.map_onnx import ENOUGH_IMAGES, NoOnnxTrunk, has_onnx, note_refusal, was_refused
from partlabel.training.map_store import check_room
from partlabel.training.threads import cores_to_use

_CPU = torch.device("cpu")


class Source(NamedTuple):
    """A dataset and how its items become a batch (None: torch's way)."""

    dataset: Dataset[Any]
    collate: Callable[[Any], Any] | None

    def only(self, views: Sequence[str]) -> "Source":
        """The same cached maps with fewer views."""
        assert isinstance(self.dataset, MapDataset)
        return Source(MapDataset({view: self.dataset.stores[view] for view in views}), self.collate)

    def at(self, rows: NDArray[np.int64]) -> "Source":
        """Some of the images, numbered from 0."""
        return Source(_Rows(self.dataset, rows), self.collate)


class _Rows(Dataset[Any]):
    """Some rows of a dataset of (epoch, index) pairs, which keep their views."""

    def __init__(self, whole: Dataset[Any], rows: NDArray[np.int64]) -> None:
        self.whole, self.rows = whole, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> Any:
        """What the dataset gives for these rows, a batch or its parts, with their new numbers."""
        asked = [(epoch, int(self.rows[index])) for epoch, index in items]
        if isinstance(self.whole, MapDataset):
            return {**self.whole.__getitems__(asked), "index": torch.tensor([index for _, index in items])}
        return [{**self.whole[pair], "index": index} for pair, (_, index) in zip(asked, items, strict=True)]


def image_source(
    root: Path,
    names: Sequence[str],
    views: Sequence[str],
    settings: ViewSettings,
    seed: int,
    limits: Limits = DEFAULT_LIMITS,
) -> Source:
    """Images, decoded and viewed when asked for."""
    return Source(ImageDataset(root, names, views, settings, seed, limits), None)


@dataclass(frozen=True)
class MapPlan:
    """The maps that a phase reads.

    Args:
        backbone: the frozen backbone.
        root: the image folder.
        names: names of the images in it.
        views: kinds of views.
        settings: of the views.
        seed: of the random views.
        draws: fixed draws of each random view; the first of the weak view is the plain view.
        cache: folder of the cache.
        device: where to compute.
        maps_by: what computes on a CPU: "torch", "onnxruntime", or "auto" for the second where it is installed and the
            images are many enough to be worth translating a network.
        limits: what an image may be.
    """

    backbone: Backbone
    root: Path
    names: Sequence[str]
    views: Sequence[str]
    settings: ViewSettings
    seed: int = 0
    draws: int = 1
    cache: Path = field(default_factory=default_cache)
    device: torch.device = _CPU
    maps_by: Literal["auto", "torch", "onnxruntime"] = "auto"
    limits: Limits = DEFAULT_LIMITS

    def recipes(self) -> dict[tuple[str, int], Recipe]:
        """The distinct (view, draw) and how each is made."""
        images = {}
        for view, draw in sorted({pair for kind in self.views for pair in _draws(kind, self.draws)}):
            dataset = ImageDataset(image_root(self.root), self.names, (view,), self.settings, self.seed, self.limits)
            images[view, draw] = Recipe(self.backbone, dataset, draw, self.device)
        if self._wants_onnx():
            translated = {which: replace(recipe, by="onnxruntime") for which, recipe in images.items()}
            if not any(was_refused(recipe.folder(self.cache).path) for recipe in translated.values()):
                return translated
        return images

    def _wants_onnx(self) -> bool:
        """Whether onnxruntime computes, by what the maps are for and never by what the cache holds."""
        if self.maps_by == "torch" or self.device.type != "cpu" or self.backbone.train_last:
            return False
        if self.maps_by == "auto":
            return len(self.names) >= ENOUGH_IMAGES and has_onnx()
        if not has_onnx():
            raise MissingDependencyError("maps_by=onnxruntime needs more packages: pip install 'partlabel[onnx]'")
        return True


def prepare_maps(plan: MapPlan, reporter: Reporter) -> frozenset[str]:
    """Look into the cache before anything is written elsewhere: names of the images of which it holds all maps.

    Raises:
        StorageError: maps are missing, and the cache cannot be written or has no room for them.
    """
    with reporter.track("reading images") as tick:
        hashes = known_hashes(image_root(plan.root), plan.names, tick)
    complete, missing = set(range(len(hashes))), 0
    for recipe in plan.recipes().values():
        folder, keys = recipe.folder(plan.cache), recipe.keys(hashes)
        lacking = set(folder.missing([key for key, digest in zip(keys, hashes, strict=True) if digest]))
        complete -= {row for row, key in enumerate(keys) if not hashes[row] or key in lacking}
        missing += len(lacking)
    if missing:
        check_room(plan.cache, estimate_bytes(plan.backbone, missing))
    return frozenset(plan.names[row] for row in complete)


def map_source(plan: MapPlan, reporter: Reporter) -> Source:
    """Maps of a frozen backbone, computed now where the cache lacks them; how much room they take is reported first.

    Raises:
        ImageError: an image cannot be read.
        StorageError: the cache cannot be written or has no room, or maps do not fit float16.
    """
    root, recipes = image_root(plan.root), plan.recipes()
    with reporter.track("reading images") as tick:
        hashes = content_hashes(root, plan.names, tick)
    missing = sum(len(recipe.folder(plan.cache).missing(recipe.keys(hashes))) for recipe in recipes.values())
    threads = max(1, min(cores_to_use(), missing))
    found = f"all of them are in {plan.cache}"
    if missing:
        needed = estimate_bytes(plan.backbone, missing)
        check_room(plan.cache, needed)
        (by,) = {recipe.by for recipe in recipes.values()}
        found = f"{missing} to compute by {by} in {threads} thread(s), {needed / 1e6:,.0f} MB in {plan.cache}"
    reporter.say(f"maps of {len(plan.names)} images × {len(recipes)} view(s): {found}")
    try:
        stores = {
            which: cached_maps(recipe, hashes, plan.cache, threads=threads, reporter=reporter)
            for which, recipe in recipes.items()
        }
    except NoOnnxTrunk as error:
        reporter.say(f"onnxruntime cannot compute this backbone ({error}); torch does")
        for recipe in recipes.values():
            if (folder := recipe.folder(plan.cache).path).is_dir():
                note_refusal(folder)
        return map_source(replace(plan, maps_by="torch"), reporter)
    wanted = {view: _draws(view, plan.draws) for view in plan.views}
    return Source(MapDataset({view: [stores[draw] for draw in parts] for view, parts in wanted.items()}), collated)


def _draws(view: str, draws: int) -> list[tuple[str, int]]:
    if view == "plain":
        return [("plain", 0)]
    if view == "weak":
        return [("plain", 0), *(("weak", number) for number in range(1, draws))]
    return [(view, number) for number in range(draws)]
