"""Maps computed once: what a frozen backbone makes of each image, kept on disk and found again by content.

The folder of a (backbone, view, draw) is named by a hash of the weights, of everything that shapes the view, and of
what computes. Another training with the same of these reads what is there and computes what is missing.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch.utils.data import Dataset

from partlabel.errors import ImageError
from partlabel.images.dataset import ImageDataset
from partlabel.images.fingerprint import content_hash
from partlabel.images.paths import resolve
from partlabel.models.encoders.base import Backbone
from partlabel.models.fingerprint import tensors_digest
from partlabel.progress import Reporter, Tick
from partlabel.training.map_claim import claim
from partlabel.training.map_compute import GPU_BATCH, Item, compute, torch_trunk
from partlabel.training.map_onnx import onnx_trunk
from partlabel.training.map_store import MapFolder, MapStore
from partlabel.version import __version__

_digests: WeakKeyDictionary[Backbone, tuple[list[tuple[int, int]], str]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Recipe:
    """What the maps of a view follow from, besides the image.

    Args:
        backbone: the frozen backbone.
        images: dataset of the images with this one view.
        draw: which fixed draw of a random view.
        device: where to compute.
        by: what computes.
    """

    backbone: Backbone
    images: ImageDataset
    draw: int
    device: torch.device
    by: Literal["torch", "onnxruntime"] = "torch"

    @property
    def view(self) -> str:
        """The kind of view."""
        (kind,) = self.images.views
        return kind

    def keys(self, hashes: Sequence[str]) -> list[str]:
        """One key per image: its content, and its name where the draw of the view follows from the name."""
        names = self.images.names if self.view != "plain" else [""] * len(hashes)
        return [
            hashlib.sha256(f"{digest} {name}".encode()).hexdigest() for digest, name in zip(hashes, names, strict=True)
        ]

    @cached_property
    def description(self) -> dict[str, Any]:
        """All of it as JSON, by which the folder is named."""
        random = self.view != "plain"
        unused = set() if random else {"crop_scale", "flip"}
        if not random or self.images.settings.random_crop == "area":
            unused |= {"random_crop", "crop_from", "crop_sides"}
        settings = self.images.settings.model_dump(mode="json", exclude=unused)
        without = {"local_global", "copies"}
        if self.backbone.spec.stages == 1:
            without |= {"stages"}
        if not self.backbone.has_image_vector:
            without |= {"joint_space", "joint_features"}
        if self.backbone.spec.joint_linear:
            without |= {"joint_linear"}
        return {
            "cache": 3,
            # What makes no difference to a frozen part is left out, so that maps of earlier releases are found.
            "backbone": self.backbone.spec.model_dump(mode="json", exclude=without),
            "weights": _digest(self.backbone),
            "train_last": self.backbone.train_last,
            "pool": self.backbone.trunk_pool,
            "view": self.view,
            "draw": self.draw if random else 0,
            "seed": self.images.seed if random else 0,
            "settings": settings,
            "views_of": __version__ if random else "",
            "computed_by": f"{self.by} on {self.device.type}",
        }

    def folder(self, cache: Path) -> MapFolder:
        """The folder of these maps below a cache."""
        name = hashlib.sha256(json.dumps(self.description, sort_keys=True).encode()).hexdigest()[:32]
        return MapFolder(cache / name, trunk_shape(self.backbone))


def content_hashes(root: Path, names: Sequence[str], tick: Tick) -> list[str]:
    """Content hash of every image."""
    hashes = []
    for done, name in enumerate(names, 1):
        hashes.append(content_hash(resolve(root, name)))
        tick(done, len(names))
    return hashes


def known_hashes(root: Path, names: Sequence[str], tick: Tick) -> list[str]:
    """The same; an empty text for an image that cannot be read."""
    hashes = []
    for done, name in enumerate(names, 1):
        try:
            hashes.append(content_hash(resolve(root, name)))
        except ImageError:
            hashes.append("")
        tick(done, len(names))
    return hashes


def estimate_bytes(backbone: Backbone, images: int) -> int:
    """Bytes on disk that the maps of one view of so many images take."""
    return 2 * int(np.prod(trunk_shape(backbone))) * images


def cached_maps(recipe: Recipe, hashes: Sequence[str], cache: Path, *, threads: int, reporter: Reporter) -> MapStore:
    """Maps of one view of every image, computed where the cache lacks them. Nothing is written where it lacks none.

    Args:
        recipe: which maps.
        hashes: content hash of each image.
        cache: folder of the cache.
        threads: threads that compute on a CPU, or decode for a GPU; the values do not depend on it.
        reporter: where progress goes.

    Raises:
        ImageError: an image changes meanwhile, or cannot be decoded.
        StorageError: the cache cannot be read or written, a value does not fit float16, or the disk is full.
        NoOnnxTrunk: onnxruntime is to compute, and cannot.
    """
    folder, keys = recipe.folder(cache), recipe.keys(hashes)
    if folder.missing(keys):
        _complete(recipe, folder, keys, hashes, threads, reporter)
    return folder.store(keys)


class MapDataset(Dataset[Any]):
    """Batches of cached maps: (epoch, index) pairs in, a collated batch out.

    Args:
        stores: per view its fixed draws; draw (epoch + index) mod K is taken.
    """

    def __init__(self, stores: dict[str, list[MapStore]]) -> None:
        self.stores = stores

    def __len__(self) -> int:
        return len(next(iter(self.stores.values()))[0])

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> dict[str, Any]:
        """A batch as the default collation would make it."""
        epochs, index = np.asarray(items, np.int64).T
        views = {}
        for view, draws in self.stores.items():
            if len(draws) == 1:
                views[view] = draws[0][index]
                continue
            which = (epochs + index) % len(draws)
            batch = torch.empty((len(items), *draws[0].shape))
            for number, draw in enumerate(draws):
                rows = np.flatnonzero(which == number)
                batch[rows] = draw[index[rows]]
            views[view] = batch
        return {"views": views, "index": torch.from_numpy(index)}


def collated(batch: Any) -> Any:
    """Collation of what is a batch already."""
    return batch


_shapes: "WeakKeyDictionary[Backbone, tuple[int, ...]]" = WeakKeyDictionary()


def trunk_shape(backbone: Backbone) -> tuple[int, ...]:
    """Shape of the maps of one image; found once for each backbone."""
    if backbone in _shapes:
        return _shapes[backbone]
    side = backbone.spec.size
    was_training = backbone.training
    device = next(backbone.parameters()).device
    with torch.no_grad():
        shape = tuple(backbone.eval().trunk(torch.zeros(1, 3, side, side, device=device)).shape[1:])
    backbone.train(was_training)
    _shapes[backbone] = shape
    return shape


def _complete(
    recipe: Recipe, folder: MapFolder, keys: list[str], hashes: Sequence[str], threads: int, reporter: Reporter
) -> None:
    """Compute what a folder lacks, unless another process does it."""

    def wanted() -> int:
        folder.reload()
        return len(folder.missing(keys))

    with folder.writer(recipe.description) as writer, claim(folder.path, wanted, reporter.say):
        if wanted():
            if folder.damaged:
                reporter.say(f"{folder.damaged} maps in {folder.path} are damaged and computed again")
            first = {key: row for row, key in reversed(list(enumerate(keys)))}
            items = [Item(first[key], hashes[first[key]], key) for key in folder.missing(keys)]
            batch = 1 if recipe.device.type == "cpu" else GPU_BATCH
            what = f"maps of the {recipe.view} view, draw {recipe.draw}"
            by_onnx = recipe.by == "onnxruntime"
            made = nullcontext(onnx_trunk(recipe.backbone)) if by_onnx else torch_trunk(recipe.backbone, recipe.device)
            with made as trunk, reporter.track(what) as tick:
                for done, maps in compute(trunk, recipe.images, recipe.draw, items, batch=batch, threads=threads):
                    writer.append(done, maps)
                    tick(writer.count, len(items))
    folder.reload()


def _digest(backbone: Backbone) -> str:
    """Digest of the frozen part; computed again only after its tensors were replaced or written to."""
    state = backbone.trunk_state()
    versions = [(tensor.data_ptr(), tensor._version) for tensor in state.values()]
    if backbone not in _digests or _digests[backbone][0] != versions:
        _digests[backbone] = versions, tensors_digest(state)
    return _digests[backbone][1]
