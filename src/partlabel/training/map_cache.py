"""Maps computed once: what a frozen backbone says of each image, float16 on disk, keyed by content.

One folder a (backbone, view), named by a hash of the weights and of everything that shapes the view. In it `maps.f16`,
the raw values one image after the other, and `images.txt`, one line an image in the same order. An image is only listed
after its values are on disk, so an interrupted computation goes on where it stopped and other trainings share what is
there.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from partlabel.errors import StorageError
from partlabel.files import write_json
from partlabel.images.dataset import ImageDataset
from partlabel.images.fingerprint import content_hash
from partlabel.images.paths import resolve
from partlabel.models.encoders.backbone import Backbone
from partlabel.models.fingerprint import tensors_digest
from partlabel.progress import Tick
from partlabel.version import __version__

_LINE = 65  # 64 hexadecimal digits and a line end


@dataclass(frozen=True)
class MapStore:
    """Cached maps of some images.

    Args:
        maps: float16 `[stored, ...]`, memory-mapped.
        rows: int64 `[N]`, where each image's maps are.
    """

    maps: NDArray[np.float16]
    rows: NDArray[np.int64]

    def __getitem__(self, index: NDArray[np.int64]) -> Tensor:
        """Maps of images, float32 `[len(index), ...]`."""
        return torch.from_numpy(self.maps[self.rows[index]].astype(np.float32))


def default_cache() -> Path:
    """Where maps are kept unless told otherwise: PARTLABEL_CACHE, or partlabel below the user's cache folder."""
    chosen = os.environ.get("PARTLABEL_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "partlabel"


def estimate_bytes(backbone: Backbone, images: int) -> int:
    """Bytes on disk that the maps of one view of so many images take."""
    return 2 * _trunk_values(backbone) * images


def check_room(cache: Path, needed: int) -> None:
    """Refuse to start what cannot end.

    Raises:
        StorageError: the disk has less room than the maps need.
    """
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise StorageError(
            f"the maps need {needed / 1e9:.1f} GB but {cache} has {free / 1e9:.1f} GB free; point PARTLABEL_CACHE to "
            f"a larger disk, choose a smaller size, or train without --freeze"
        )


def content_hashes(root: Path, names: Sequence[str], tick: Tick) -> list[str]:
    """Content hash of every image."""
    hashes = []
    for done, name in enumerate(names, 1):
        hashes.append(content_hash(resolve(root, name)))
        tick(done, len(names))
    return hashes


def cached_maps(
    backbone: Backbone,
    images: ImageDataset,
    hashes: Sequence[str],
    view: str,
    draw: int,
    cache: Path,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 32,
    workers: int = 0,
    tick: Tick = lambda done, total: None,
) -> MapStore:
    """Maps of one view of every image, computed where the cache lacks them.

    Args:
        backbone: the frozen backbone.
        images: dataset of the images with this one view.
        hashes: content hash of each image.
        view: the kind of view.
        draw: which fixed draw of a random view.
        cache: folder of the cache.
        device: where to compute.
        batch_size: images at a time.
        workers: processes that decode.
        tick: progress.

    Raises:
        StorageError: a value does not fit float16, or the disk is full.
    """
    description, folder = _place(backbone, images, view, draw, cache)
    folder.mkdir(parents=True, exist_ok=True)
    keys = _keys(images, hashes, view)
    with _locked(folder):
        stored = _listed(folder)
        missing = list(dict.fromkeys(key for key in keys if key not in stored))
        if missing:
            shape = _trunk_shape(backbone)
            write_json(folder / "description.json", {**description, "shape": shape})
            first = {key: position for position, key in reversed(list(enumerate(keys)))}
            _compute(
                backbone,
                images,
                [(draw, first[key]) for key in missing],
                missing,
                folder,
                len(stored),
                shape,
                device,
                batch_size,
                workers,
                tick,
            )
            stored = _listed(folder)
    shape = tuple(json.loads((folder / "description.json").read_text())["shape"])
    maps = np.memmap(folder / "maps.f16", np.float16, "r", shape=(len(stored), *shape))
    return MapStore(maps, np.asarray([stored[key] for key in keys], np.int64))


def missing_maps(
    backbone: Backbone, images: ImageDataset, hashes: Sequence[str], view: str, draw: int, cache: Path
) -> int:
    """How many images the cache lacks; arguments as in `cached_maps`."""
    stored = _listed(_place(backbone, images, view, draw, cache)[1])
    return len({key for key in _keys(images, hashes, view) if key not in stored})


class MapDataset(Dataset[Any]):
    """Batches of cached maps: (epoch, index) pairs in, a collated batch out.

    Args:
        stores: per view its fixed draws; draw (epoch + index) mod K is taken.
    """

    def __init__(self, stores: dict[str, list[MapStore]]) -> None:
        self.stores = stores

    def __len__(self) -> int:
        return len(next(iter(self.stores.values()))[0].rows)

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> dict[str, Any]:
        """A batch as the default collation would make it."""
        epochs, index = np.asarray(items, np.int64).T
        views = {}
        for view, draws in self.stores.items():
            if len(draws) == 1:
                views[view] = draws[0][index]
                continue
            which = (epochs + index) % len(draws)
            batch = torch.empty((len(items), *draws[0].maps.shape[1:]))
            for number, draw in enumerate(draws):
                places = np.flatnonzero(which == number)
                batch[places] = draw[index[places]]
            views[view] = batch
        return {"views": views, "index": torch.from_numpy(index)}


def collated(batch: Any) -> Any:
    """Collation of what is a batch already."""
    return batch


def _place(backbone: Backbone, images: ImageDataset, view: str, draw: int, cache: Path) -> tuple[dict[str, Any], Path]:
    """What the maps of a view depend on besides the image, and the folder named after it."""
    description = _description(backbone, images, view, draw)
    return description, cache / hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:32]


def _keys(images: ImageDataset, hashes: Sequence[str], view: str) -> list[str]:
    """A key an image: its content, and its name where the draw of the view follows from the name."""
    random = view != "plain"
    return [
        hashlib.sha256(f"{digest} {name if random else ''}".encode()).hexdigest()
        for digest, name in zip(hashes, images.names, strict=True)
    ]


def _description(backbone: Backbone, images: ImageDataset, view: str, draw: int) -> dict[str, Any]:
    random = view != "plain"
    settings = images.settings.model_dump(mode="json")
    if not random:
        settings = {name: value for name, value in settings.items() if name not in {"crop_scale", "flip"}}
    return {
        "cache": 2,
        "backbone": _spec(backbone),
        "weights": tensors_digest(backbone.trunk_state()),
        "train_last": backbone.train_last,
        "pool": backbone.trunk_pool,
        "view": view,
        "draw": draw if random else 0,
        "seed": images.seed if random else 0,
        "settings": settings,
        "views_of": __version__ if random else "",
    }


def _spec(backbone: Backbone) -> dict[str, Any]:
    """The spec without what makes no difference to a frozen part, so that maps of earlier releases are found."""
    return backbone.spec.model_dump(mode="json", exclude={"local_global", "copies"})


def _compute(
    backbone: Backbone,
    images: ImageDataset,
    items: list[tuple[int, int]],
    keys: list[str],
    folder: Path,
    stored: int,
    shape: tuple[int, ...],
    device: torch.device | str,
    batch_size: int,
    workers: int,
    tick: Tick,
) -> None:
    batches = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
    loader: DataLoader[Any] = DataLoader(images, batch_sampler=batches, num_workers=workers)
    view = next(iter(images.views))
    backbone = backbone.to(device).eval()
    done = 0
    with open(folder / "maps.f16", "ab") as values, open(folder / "images.txt", "ab") as lines, torch.no_grad():
        values.truncate(stored * 2 * int(np.prod(shape)))
        values.seek(0, os.SEEK_END)
        lines.truncate(stored * _LINE)
        lines.seek(0, os.SEEK_END)
        for batch in loader:
            maps = backbone.trunk(batch["views"][view].to(device)).to(torch.float16).cpu()
            if not torch.isfinite(maps).all():
                raise StorageError("the backbone's maps do not fit float16; train without --freeze")
            _append(values, maps.numpy().tobytes())
            _append(lines, "".join(f"{key}\n" for key in keys[done : done + len(maps)]).encode())
            done += len(maps)
            tick(done, len(items))


def _append(stream: Any, content: bytes) -> None:
    try:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    except OSError as error:
        raise StorageError(
            f"no room for maps in {stream.name} ({error.strerror}); free some space and run again"
        ) from error


def _listed(folder: Path) -> dict[str, int]:
    """Row of each image whose maps are complete on disk."""
    path = folder / "images.txt"
    if not path.is_file():
        return {}
    whole = path.read_bytes()
    whole = whole[: len(whole) // _LINE * _LINE]
    return {key: row for row, key in enumerate(whole.decode("ascii").split())}


def _trunk_shape(backbone: Backbone) -> tuple[int, ...]:
    side = backbone.spec.size
    was_training = backbone.training
    device = next(backbone.parameters()).device
    with torch.no_grad():
        shape = tuple(backbone.eval().trunk(torch.zeros(1, 3, side, side, device=device)).shape[1:])
    backbone.train(was_training)
    return shape


def _trunk_values(backbone: Backbone) -> int:
    return int(np.prod(_trunk_shape(backbone)))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time computes; the others wait and find the result."""
    with open(folder / "lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
