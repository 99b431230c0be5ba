"""Scores of images by a run, for all verbs that ask a trained model."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from partlabel.inference.images import image_limits
from partlabel.models.bundle import BundleInfo, load_bundle
from partlabel.models.encoders.base import view_settings
from partlabel.models.heads import Head, HeadOutput
from partlabel.models.heads.base import ImageVector
from partlabel.models.heads.pooled import PooledHead
from partlabel.models.heads.twin import Network, TwinHead
from partlabel.models.tagger import Tagger
from partlabel.progress import SILENT, Reporter
from partlabel.runs.folder import RunFolder
from partlabel.training.build import compute_device, sources
from partlabel.training.data import Source, image_source
from partlabel.training.scoring import Block, score_blocks
from partlabel.training.threads import free_threads

_NETWORKS: tuple[Network, ...] = get_args(Network)


class RunScores(NamedTuple):
    """What a run makes of N images.

    Args:
        logits: float32 `[N, C]`, of the network that the run reports.
        info: of the run's bundle.
        networks: of a run with two networks, the logits of each and of their mean; else empty.
    """

    logits: NDArray[np.float32]
    info: BundleInfo
    networks: dict[Network, NDArray[np.float32]]


def run_blocks(
    run: RunFolder, names: Sequence[str], root: Path, reporter: Reporter, max_image_mb: float | None = None
) -> tuple[Iterator[Block], BundleInfo]:
    """Logits of images by a finished run, in blocks of images; a frozen run reads and fills the cache of maps.

    `max_image_mb` takes the place of the run's own limit.
    """
    tagger, info, source = opened(run, names, root, reporter, max_image_mb)
    return _blocks(run, tagger, source, len(names), reporter), info


def run_logits(
    run: RunFolder, names: Sequence[str], root: Path, reporter: Reporter, max_image_mb: float | None = None
) -> RunScores:
    """Logits of images by a finished run, both networks of a run with two from one forward pass.

    `max_image_mb` takes the place of the run's own limit.
    """
    tagger, info, source = opened(run, names, root, reporter, max_image_mb)
    twin = tagger.head if isinstance(tagger.head, TwinHead) else None
    parts = 1 if twin is None else len(_NETWORKS)
    found = np.empty((parts, len(names), len(info.classes)), np.float32)
    for rows, block in _blocks(
        run, tagger, source, len(names), reporter, outputs=_reported if twin is None else _each_network
    ):
        found[:, rows] = block[None] if twin is None else block.swapaxes(0, 1)
    if twin is None:
        return RunScores(found[0], info, {})
    networks = dict(zip(_NETWORKS, found, strict=True))
    return RunScores(networks[twin.report], info, networks)


def pooled_features(
    run: RunFolder, names: Sequence[str], root: Path, reporter: Reporter, max_image_mb: float | None = None
) -> NDArray[np.float32]:
    """Features of images, float32 `[N, d]`, pooled as the linear layer of a finished run reads them, before its
    transform; the head of the run is a `PooledHead`.
    """
    tagger, _, source = opened(run, names, root, reporter, max_image_mb)
    assert isinstance(tagger.head, PooledHead)
    found = np.empty((len(names), tagger.backbone.num_features), np.float32)
    tagger.head = _Features(tagger.head)
    for rows, block in _blocks(run, tagger, source, len(names), reporter):
        found[rows] = block
    return found


class _Features(Head):
    """The pooled features in place of logits."""

    def __init__(self, head: PooledHead) -> None:
        super().__init__()
        self.inner, self.pool = head, head.pool

    def forward(self, maps: torch.Tensor, image: ImageVector = None) -> HeadOutput:
        """Features that the head inside pools."""
        return HeadOutput(self.inner.pooled(maps), {})


def blocks_of_alike(
    runs: Sequence[RunFolder], names: Sequence[str], root: Path, reporter: Reporter, max_image_mb: float | None = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Numbers of images and their logits `[n, k, C]` by k finished runs of the same settings, in blocks of images.

    Where these have one frozen backbone, it is in memory once, and images pass it once for all.
    """
    tagger, _, source = opened(runs[0], names, root, reporter, max_image_mb)
    heads = _heads_on_one(tagger, runs)
    if heads is not None:
        tagger.head = _SideBySide(heads)
        yield from _blocks(runs[0], tagger, source, len(names), reporter, outputs=_each_head)
        return
    others = [run_blocks(run, names, root, SILENT, max_image_mb)[0] for run in runs[1:]]
    for parts in zip(_blocks(runs[0], tagger, source, len(names), reporter), *others, strict=True):
        yield parts[0][0], np.stack([logits for _, logits in parts], axis=1)


def _heads_on_one(tagger: Tagger, runs: Sequence[RunFolder]) -> list[Head] | None:
    """The heads of all runs, the first one's tagger given; None if their backbones are not the same."""
    settings = runs[0].settings
    if not settings.freeze or settings.train_last:
        return None
    heads, ours = [tagger.head], tagger.backbone.state_dict()
    for run in runs[1:]:
        other, _ = load_bundle(run.model, freeze=True)
        theirs = other.backbone.state_dict()
        if other.backbone.spec != tagger.backbone.spec or theirs.keys() != ours.keys():
            return None
        if not all(torch.equal(ours[name], value) for name, value in theirs.items()):
            return None
        heads.append(other.head)
    return heads


class _SideBySide(Head):
    """Several heads on the same features, whose logits are `[B, k, C]` of `each`."""

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, maps: torch.Tensor, image: ImageVector = None) -> HeadOutput:
        """Logits of the first, and of each."""
        found = [head(maps, image).logits for head in self.heads]
        return HeadOutput(found[0], {"each": torch.stack(found, dim=1)})


def _each_head(output: HeadOutput) -> torch.Tensor:
    return output.extra["each"]


def opened(
    run: RunFolder, names: Sequence[str], root: Path, reporter: Reporter, max_image_mb: float | None
) -> tuple[Tagger, BundleInfo, Source]:
    """The tagger of a run, what its bundle says, and the plain view of images as that tagger reads it."""
    settings = run.settings
    limits = image_limits(run, max_image_mb)
    settings = settings.model_copy(update={"max_image_mb": limits.max_mb})
    tagger, info = load_bundle(run.model, freeze=settings.freeze, train_last=settings.train_last)
    if settings.freeze:
        tagger.use_trunk_output()
        _, source = sources(settings, tagger.backbone, (), names, root, reporter)
    else:
        source = image_source(root, names, ("plain",), view_settings(info.backbone), settings.seed, limits)
    return tagger, info, source


def _reported(output: HeadOutput) -> torch.Tensor:
    return output.logits


def _blocks(
    run: RunFolder,
    tagger: Tagger,
    source: Source,
    images: int,
    reporter: Reporter,
    outputs: Callable[[HeadOutput], torch.Tensor] = _reported,
) -> Iterator[Block]:
    settings = run.settings
    device = compute_device(settings)
    with free_threads(), reporter.track("scoring images") as tick:
        yield from score_blocks(
            tagger.to(device),
            source,
            images,
            device=device,
            workers=settings.workers,
            tick=tick,
            outputs=outputs,
        )


def _each_network(output: HeadOutput) -> torch.Tensor:
    """Logits `[B, 3, C]` of the first network, the second and their mean, as `TwinHead` has it."""
    first, second = output.extra["first"], output.extra["second"]
    by_name: dict[Network, torch.Tensor] = {"first": first, "second": second, "mean": (first + second) / 2}
    return torch.stack([by_name[network] for network in _NETWORKS], dim=1)
