"""MAP of test images by epoch, in a file of its own that nothing reads which chooses anything."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from partlabel.evaluation import evaluate
from partlabel.labels import LabelTable
from partlabel.models.encoders.base import Backbone
from partlabel.models.tagger import Tagger
from partlabel.progress import Reporter
from partlabel.runs.folder import TEST_LOG, RunFolder
from partlabel.runs.settings import TrainSettings
from partlabel.training.build import sources
from partlabel.training.generators import own_generators
from partlabel.training.scoring import score


class EpochLog:
    """Judges a network in training by test labels, and leaves the training as it was.

    Args:
        table: labels of the test images, with the classes of the training in their order.
        root: the folder of the images.
        settings: of the training.
        backbone: how images are shown to it; frozen maps are those of the cache.
        reporter: where the making of maps is told.
    """

    def __init__(
        self, table: LabelTable, root: Path, settings: TrainSettings, backbone: Backbone, reporter: Reporter
    ) -> None:
        self.table, self.workers = table, settings.workers
        with own_generators():
            _, self.source = sources(settings, backbone, (), table.images, root, reporter)

    def add(self, run: RunFolder, phase: str, epoch: int, tagger: Tagger) -> None:
        """Write the mAP (raw) of an epoch; nothing where a logit is not finite.

        Args:
            run: its folder.
            phase: of the training.
            epoch: from 1 on.
            tagger: the network, on its device.
        """
        device = next(tagger.parameters()).device
        with own_generators(), _modes_restored(tagger):
            logits = score(tagger, self.source, len(self.table), device=device, workers=self.workers)
        value = math.nan
        if np.isfinite(logits).all():
            value = evaluate(logits, self.table.dense(), self.table.classes).mean_average_precision["raw"]
        run.append_log({"phase": phase, "epoch": epoch, "test_mAP": value}, TEST_LOG)


@contextmanager
def _modes_restored(network: torch.nn.Module) -> Iterator[None]:
    before = {module: module.training for module in network.modules()}
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
