"""Logits of many images."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from partlabel.images.loading import explained_workers, loader
from partlabel.methods.base import Seen
from partlabel.models.heads import HeadOutput
from partlabel.models.tagger import Tagger
from partlabel.progress import Tick
from partlabel.training.data import Source

Block = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Numbers of some images, ascending, and their logits `[n, C]`."""


@torch.no_grad()
def score_blocks(
    tagger: Tagger,
    source: Source,
    images: int,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    workers: int = 0,
    tick: Tick = lambda done, total: None,
    outputs: Callable[[HeadOutput], torch.Tensor] = lambda output: output.logits,
) -> Iterator[Block]:
    """Logits of the plain view of each image, in order, a batch at a time. The tagger's mode is restored at the end.

    `outputs` says what to take of a forward pass in place of the logits: a tensor `[B, ...]`.
    """
    batches = _batches(range(images), _fitting(batch_size, tagger))
    loaded = loader(source.dataset, batches, workers=workers, collate=source.collate)
    was_training, done = tagger.training, 0
    tagger.eval()
    try:
        with explained_workers():
            for batch in loaded:
                part = outputs(tagger(batch["views"]["plain"].to(device))).float().cpu().numpy()
                yield np.arange(done, done + len(part)), part
                done += len(part)
                tick(done, images)
    finally:
        tagger.train(was_training)


@torch.no_grad()
def seen(
    tagger: Tagger,
    source: Source,
    images: Sequence[int],
    *,
    device: torch.device | str,
    batch_size: int = 64,
    workers: int = 0,
) -> Iterator[Seen]:
    """What a network makes of the plain view of the images with these numbers, in their order; the tensors are on its
    device.
    """
    loaded = loader(
        source.dataset, _batches(images, _fitting(batch_size, tagger)), workers=workers, collate=source.collate
    )
    was_training = tagger.training
    tagger.eval()
    try:
        with explained_workers():
            for batch in loaded:
                features = tagger.features(batch["views"]["plain"].to(device))
                logits = tagger.head(*features).logits.float()
                yield Seen(batch["index"].to(device), features.maps.mean((2, 3)).float(), logits)
    finally:
        tagger.train(was_training)


def score(tagger: Tagger, source: Source, images: int, **how: object) -> NDArray[np.float32]:
    """Logits, float32 `[images, C]`, of the plain view of each image, in order; arguments as in `score_blocks`."""
    logits = np.empty((images, len(tagger.classes)), np.float32)
    for rows, block in score_blocks(tagger, source, images, **how):  # type: ignore[arg-type]
        logits[rows] = block
    return logits


def _fitting(batch_size: int, tagger: Tagger) -> int:
    """Images at a time: fewer where they are large, so that a network for 4,096 pixels takes no more memory than 64
    images of 448 do.
    """
    return max(1, min(batch_size, 64 * 448**2 // tagger.backbone.spec.size**2))


def _batches(images: Sequence[int], batch_size: int) -> list[list[tuple[int, int]]]:
    """Batches of (epoch, index)."""
    return [[(0, i) for i in images[start : start + batch_size]] for start in range(0, len(images), batch_size)]
