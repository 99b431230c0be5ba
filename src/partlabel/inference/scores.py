"""Scores of images by a run, for all verbs that ask a trained model."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partlabel.models.bundle import BundleInfo, load_bundle
from partlabel.models.encoders.base import view_settings
from partlabel.models.heads.twin import Network, TwinHead
from partlabel.progress import Reporter
from partlabel.runs.folder import RunFolder
from partlabel.training.build import compute_device, sources
from partlabel.training.data import image_source
from partlabel.training.scoring import Block, score_blocks


def run_blocks(
    run: RunFolder, names: Sequence[str], root: Path, reporter: Reporter, network: Network | None = None
) -> tuple[Iterator[Block], BundleInfo]:
    """Logits of images by a finished run, in blocks of images; a frozen run reads and fills the cache of maps.

    Of a run with two networks, `network` says which one tags; by default the one that the run reports.
    """
    settings = run.settings
    tagger, info = load_bundle(run.model, freeze=settings.freeze, train_last=settings.train_last)
    if network is not None and isinstance(tagger.head, TwinHead):
        tagger.head.report = network
    device = compute_device(settings)
    if settings.freeze:
        tagger.use_trunk_output()
        _, source = sources(settings, tagger.backbone, (), names, root, reporter)
    else:
        source = image_source(root, names, ("plain",), view_settings(info.backbone), settings.seed)

    def blocks() -> Iterator[Block]:
        with reporter.track("scoring images") as tick:
            yield from score_blocks(
                tagger.to(device), source, len(names), device=device, workers=settings.workers, tick=tick
            )

    return blocks(), info


def run_logits(
    run: RunFolder, names: Sequence[str], root: Path, reporter: Reporter, network: Network | None = None
) -> tuple[NDArray[np.float32], BundleInfo]:
    """Logits, float32 `[N, C]`, of images by a finished run; arguments as in `run_blocks`."""
    blocks, info = run_blocks(run, names, root, reporter, network)
    logits = np.empty((len(names), len(info.classes)), np.float32)
    for rows, block in blocks:
        logits[rows] = block
    return logits, info
