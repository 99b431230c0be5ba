"""A fitted model that learns from labels as they come: its features stay in memory, so that a fit takes seconds."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.inference.scores import opened
from partlabel.labels import LabelTable
from partlabel.methods.base import Context, Seen
from partlabel.methods.build import method_class, method_config
from partlabel.methods.catalogue import entry
from partlabel.methods.fitted import Fit, FittedMethod
from partlabel.models.tagger import Tagger
from partlabel.progress import SILENT, Reporter
from partlabel.runs.folder import RunFolder
from partlabel.training.build import compute_device
from partlabel.training.scoring import Block, seen
from partlabel.training.threads import free_threads

_AT_ONCE = 1024


class Learner:
    """The model of a run of a fitted method, with its features of some images.

    A fit takes over what the run chose (shrinkage, transform and so on), and changes the model in memory alone.

    Args:
        run: the run.
        tagger: its model, on the CPU.
        images: names of N images.
        features: float32 `[N, d]`, pooled.
    """

    def __init__(self, run: RunFolder, tagger: Tagger, images: Sequence[str], features: Tensor) -> None:
        self.run, self.tagger, self.images, self.features = run, tagger, tuple(images), features

    @classmethod
    def open(
        cls,
        run: RunFolder,
        images: Sequence[str],
        root: Path,
        reporter: Reporter = SILENT,
        max_image_mb: float | None = None,
    ) -> "Learner":
        """Read the model, and the features of images; those that the cache lacks are computed.

        Raises:
            UsageError: the method of the run is not a fitted one.
            RunError: the run is not finished, or cannot be opened.
            ImageError: an image cannot be read.
        """
        if not learns(run):
            raise UsageError(
                f"{run.path} cannot learn in seconds, because its method {run.settings.method} takes steps; train with "
                "one that is fitted (--method discriminant --freeze)"
            )
        tagger, _, source = opened(run, images, root, reporter, max_image_mb)
        device, workers = compute_device(run.settings), run.settings.workers
        with free_threads():
            blocks = seen(tagger.to(device), source, range(len(images)), device=device, workers=workers)
            features = torch.cat([block.features.cpu() for block in blocks])
        return cls(run, tagger.cpu(), images, features)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the C classes of the model."""
        return self.tagger.classes

    def fit(self, labels: LabelTable, reporter: Reporter = SILENT) -> None:
        """Fit the model to labels.

        Args:
            labels: of the images and classes of this learner, in their order.
            reporter: where progress goes; after an exception that it raises, this learner is of no more use.
        """
        settings = self.run.settings
        assets = {name: torch.from_numpy(value) for name, value in self.run.assets().items()}
        config = method_config(settings.method, settings.method_settings)
        method = method_class(settings.method)(self.tagger, config, Context(labels, assets))
        assert isinstance(method, FittedMethod)
        with torch.no_grad(), free_threads():
            method.fit(Fit(labels, self._look, settings.seed, reporter, self.run.info.get("fitted", {})))
        self.tagger.eval()

    @torch.no_grad()
    def blocks(self) -> Iterator[Block]:
        """Logits of all images, a block of images at a time."""
        for rows in np.array_split(np.arange(len(self.images)), max(1, -(-len(self.images) // _AT_ONCE))):
            yield rows, self._logits(torch.from_numpy(rows)).numpy()

    def _look(self, index: Tensor | None = None) -> Iterator[Seen]:
        rows = torch.arange(len(self.images)) if index is None else index
        for some in torch.split(rows, _AT_ONCE):
            yield Seen(some, self.features[some], self._logits(some))

    def _logits(self, rows: Tensor) -> Tensor:
        """The head on features as maps of one place: what a frozen trunk pools already."""
        logits: Tensor = self.tagger.head(self.features[rows][:, :, None, None]).logits
        return logits.float()


def learns(run: RunFolder) -> bool:
    """Whether a run's method is fitted, so that its model can learn while one reviews."""
    return entry(run.settings.method).learns_in_seconds
