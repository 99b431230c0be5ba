"""Computing maps so that the bits of an image's maps depend on nothing but the image.

On a CPU each image goes through the network alone, in channels-last, in one of several threads that use one core each.
That is also the fastest: larger batches spend half of their time on fresh memory. On a GPU images go in batches of one
fixed size, the last one padded. A thread reads a file once, and what it decodes are the bytes that it has hashed.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partlabel.errors import ImageError, StorageError
from partlabel.images.dataset import ImageDataset
from partlabel.images.fingerprint import hash_of
from partlabel.images.paths import resolve
from partlabel.models.encoders.base import Backbone

GPU_BATCH = 32
_WRITTEN_AT_ONCE = 16

_Made = TypeVar("_Made")

Trunk = Callable[[NDArray[np.float32]], NDArray[np.float16]]
"""Maps `[n, ...]` of n views `[n, 3, size, size]`."""


class Item(NamedTuple):
    """An image to compute: its row in the dataset, the hash of its file, and the key that its maps go by."""

    row: int
    content: str
    key: str


def compute(
    trunk: Trunk, images: ImageDataset, draw: int, items: Sequence[Item], *, batch: int, threads: int
) -> Iterator[tuple[list[str], NDArray[np.float16]]]:
    """Keys and maps of images, in order.

    Args:
        trunk: the frozen part of a backbone.
        images: the images with one kind of view.
        draw: number of a random view.
        items: which images.
        batch: views at a time: 1, for a trunk that threads may share, or more, for one that they may not.
        threads: threads that decode, and with a batch of 1 compute too.

    Raises:
        ImageError: a file was changed since it was hashed, or cannot be decoded.
        StorageError: maps do not fit float16.
    """
    drawing = threading.Lock()  # a random view seeds the process's one generator

    def view(item: Item) -> NDArray[np.float32]:
        return _view(images, draw, item, drawing)[None]

    def maps(item: Item) -> NDArray[np.float16]:
        return trunk(view(item))

    if batch == 1:
        done = _in_threads(maps, items, threads)
        for start in range(0, len(items), _WRITTEN_AT_ONCE):
            part = items[start : start + _WRITTEN_AT_ONCE]
            yield [item.key for item in part], _fits(np.concatenate(list(islice(done, len(part)))))
        return
    views = _in_threads(view, items, threads)
    for start in range(0, len(items), batch):
        part = items[start : start + batch]
        shown = np.concatenate(list(islice(views, len(part))))
        padded = np.zeros((batch, *shown.shape[1:]), np.float32)
        padded[: len(part)] = shown
        yield [item.key for item in part], _fits(trunk(padded)[: len(part)])


@contextmanager
def torch_trunk(backbone: Backbone, device: torch.device) -> Iterator[Trunk]:
    """The frozen part of a backbone as torch computes it; afterwards its weights lie in memory as before."""
    mode, weights = backbone.training, [(parameter, parameter.data) for parameter in backbone.parameters()]
    backbone.eval().to(device)
    if device.type == "cpu":
        backbone.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def run(views: NDArray[np.float32]) -> NDArray[np.float16]:
        given = torch.from_numpy(views).to(device)
        if device.type == "cpu":
            given = given.contiguous(memory_format=torch.channels_last)
        maps: Tensor = backbone.trunk(given).to(torch.float16).cpu()
        return maps.numpy()

    try:
        yield run
    finally:
        if device.type == "cpu":
            for parameter, data in weights:
                parameter.data = data
        backbone.train(mode)


def _view(images: ImageDataset, draw: int, item: Item, drawing: threading.Lock) -> NDArray[np.float32]:
    (kind,) = images.views
    path = resolve(images.root, images.names[item.row])
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"image {str(path)!r} cannot be read: {error.strerror}; run again when it is back") from error
    if hash_of(content) != item.content:
        raise ImageError(f"image {str(path)!r} was changed while maps were computed; run again")
    image = images.decoded(item.row, content)
    if kind == "plain":
        return images.view(kind, image, draw, item.row).numpy()
    with drawing:
        return images.view(kind, image, draw, item.row).numpy()


def _in_threads(make: Callable[[Item], _Made], items: Sequence[Item], threads: int) -> Iterator[_Made]:
    """Results in order, with no more than a few images in memory."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "maps", initializer=torch.set_num_threads, initargs=(1,))
    waiting: deque[Future[_Made]] = deque()
    todo = iter(items)
    try:
        waiting.extend(pool.submit(make, item) for item in islice(todo, 4 * threads))
        while waiting:
            made = waiting.popleft().result()
            waiting.extend(pool.submit(make, item) for item in islice(todo, 1))
            yield made
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(before)  # one setting of torch's is the whole process's


def _fits(maps: NDArray[np.float16]) -> NDArray[np.float16]:
    if not np.isfinite(maps).all():
        raise StorageError(
            "the backbone's maps do not fit float16; take another backbone, or train a method of steps without --freeze"
        )
    return maps
