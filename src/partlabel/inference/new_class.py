"""A finished run asked about classes that it never saw: by their words, or by the first images that show them."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from partlabel.errors import ImageError, RunError
from partlabel.images.paths import resolve
from partlabel.inference.scores import pooled_features
from partlabel.labels import LabelTable
from partlabel.methods.base import Seen
from partlabel.methods.fitted import Fit
from partlabel.methods.tools.feature_passes import FeaturePasses
from partlabel.methods.tools.first_images import first_images
from partlabel.methods.tools.fold_sums import FoldSums, added, fold_sums
from partlabel.methods.tools.word_ridge import WordRidge, word_ridge
from partlabel.models.bundle import BundleInfo, load_bundle
from partlabel.models.extend import AddedRow, linear_head
from partlabel.models.heads.pooled import transformed
from partlabel.models.label_text import LabelVectors
from partlabel.models.tagger import Tagger
from partlabel.progress import SILENT, Reporter
from partlabel.runs.folder import RunFolder

FOLDS = 5
"""Folds of images by which the ridge is chosen, as many as of the discriminant."""
_AT_ONCE = 1024
_PRIORS = (0.001, 0.5)


class ByWords(NamedTuple):
    """Rows that rest on no label of their class, and the ridge that they come from."""

    rows: list[AddedRow]
    ridge: WordRidge


class NewClasses:
    """The model of a run with its pooled features of images, in memory.

    Args:
        run: a finished run whose head is one linear layer.
        tagger: its model, on the CPU.
        info: of its bundle.
        table: the images that are asked about, N of them.
        labels: what the run was trained on, of those of its images that are there, M of them.
        features: float32 `[N + others, d]`, of the images of `table`, then of those of `labels` that it lacks.
    """

    def __init__(
        self,
        run: RunFolder,
        tagger: Tagger,
        info: BundleInfo,
        table: LabelTable,
        labels: LabelTable,
        features: Float[Tensor, "n d"],
    ) -> None:
        self.run, self.tagger, self.info, self.table, self.labels = run, tagger, info, table, labels
        self.head, self.features = linear_head(tagger, run.path), features
        others = (name for name in labels.images if name not in table.image_positions)
        place = table.image_positions | {name: len(table) + number for number, name in enumerate(others)}
        self.places = torch.tensor([place[name] for name in labels.images], dtype=torch.int64)

    @classmethod
    def open(
        cls, run: RunFolder, table: LabelTable, root: Path, reporter: Reporter, max_image_mb: float | None = None
    ) -> "NewClasses":
        """Read the model, and the features of the images of a table and of the run; those that the cache lacks are
        computed. Images of the run that are not below `root` are left out.

        Raises:
            UsageError: the head of the run is not one linear layer.
            RunError: the run is not finished, or none of its images is there.
            ImageError: an image of the table cannot be read.
        """
        tagger, info = load_bundle(run.model)
        linear_head(tagger, run.path)
        labels = run.labels()
        there = [name for name in labels.images if name in table.image_positions or _is_there(root, name)]
        if not there:
            raise RunError(
                f"none of the images that {run.path} was trained on is below {root}, so that nothing says what its "
                "classes look like; give the folder that holds them too (--images)"
            )
        if len(there) < len(labels):
            reporter.say(f"{len(labels) - len(there):,} of {len(labels):,} images of {run.path} are not below {root}")
        names = [*table.images, *(name for name in there if name not in table.image_positions)]
        features = pooled_features(run, names, root, reporter, max_image_mb)
        return cls(run, tagger, info, table, labels.select_images(there), torch.from_numpy(features))

    def by_words(self, names: Sequence[str], vectors: LabelVectors, reporter: Reporter = SILENT) -> ByWords:
        """Rows of new classes from the labels of the run alone.

        Args:
            names: of the n new classes.
            vectors: of the names of the run's classes, then of the new ones.
            reporter: where progress goes.

        Raises:
            UsageError: too few classes of the run have a known present image.
        """
        assert vectors.vectors is not None
        known, new = torch.split(vectors.vectors, [len(self.labels.classes), len(names)])
        passes = FeaturePasses(self._fit(self.labels, self.places, reporter), FOLDS)
        sums = self._sums(passes)
        found = word_ridge(passes, sums, known, new)
        present, absent = added(sums.present).weight, added(sums.absent).weight
        cells = torch.where(absent > 0, present + absent, float(len(self.labels)))
        prior = float((present / cells)[present > 0].mean().clamp(*_PRIORS))
        biases = -(found.directions @ sums.moments.mean)
        rows = zip(names, found.directions, biases.tolist(), strict=True)
        return ByWords([AddedRow(*row, prior) for row in rows], found)

    def by_labels(self, names: Sequence[str], reporter: Reporter = SILENT) -> list[AddedRow]:
        """Rows of classes that some image of the table is known to show, by their known cells there. Where no image is
        known to be without a class, its row only ranks.
        """
        labels = self.table.select_classes(list(names))
        passes = FeaturePasses(self._fit(labels, torch.arange(len(labels)), reporter), FOLDS)
        sums = self._sums(passes)
        found, present, rows = first_images(passes, sums), added(sums.present).weight, []
        for place, name in enumerate(names):
            both = math.isfinite(found.slope[place])
            weight = found.directions[place] * (float(found.slope[place]) if both else 1.0)
            offset = float(found.offset[place]) if both else 0.0
            share = float((present[place] / len(labels)).clamp(*_PRIORS))
            bias = offset - float(weight @ sums.moments.mean)
            rows.append(AddedRow(name, weight, bias, None if both else share))
        return rows

    def scores(self, row: AddedRow) -> NDArray[np.float64]:
        """Logits of the images of the table by a row, float64 `[N]`."""
        blocks = torch.split(self.features[: len(self.table)], _AT_ONCE)
        found = [transformed(block, self.head.transform).double() @ row.weight.double() for block in blocks]
        return (torch.cat(found) + row.bias).numpy()

    def _sums(self, passes: FeaturePasses) -> FoldSums:
        sums, stages = fold_sums(passes, self.head.transform, passes.largest()), self.tagger.backbone.stage_features
        weight = self.run.info.get("fitted", {}).get("stage_weight")
        return sums.scaled(stages, 1.0 if weight is None else float(weight)) if len(stages) > 1 else sums

    def _fit(self, labels: LabelTable, places: Tensor, reporter: Reporter) -> Fit:
        """Labels with the features at `places`, as a fit reads them."""

        def images(index: Tensor | None = None) -> Iterator[Seen]:
            rows = torch.arange(len(places)) if index is None else index
            for some in torch.split(rows, _AT_ONCE):
                yield Seen(some, self.features[places[some]], torch.zeros(len(some), len(labels.classes)))

        return Fit(labels, images, self.run.settings.seed, reporter, {})


def _is_there(root: Path, name: str) -> bool:
    try:
        return resolve(root, name).is_file()
    except ImageError:
        return False
