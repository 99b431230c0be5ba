"""What all phases and learning rates of a run share, made once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partlabel.errors import PartlabelError, UsageError
from partlabel.labels import Cells, LabelTable
from partlabel.methods.base import IMAGE_ASSETS, Context, Method
from partlabel.methods.build import method_class, method_config
from partlabel.methods.catalogue import entry
from partlabel.models.label_text import label_vectors
from partlabel.progress import SILENT, Reporter
from partlabel.runs.folder import RunFolder
from partlabel.runs.holdout import Split, hold_out, with_contrast
from partlabel.runs.settings import TrainSettings
from partlabel.training.build import build, check_crops, map_plan, sources
from partlabel.training.data import Source, prepare_maps
from partlabel.training.epoch_log import EpochLog
from partlabel.training.init_weights import take_weights
from partlabel.training.phase import Apart, Phase


@dataclass
class Prepared:
    """Labels, split, images and assets of a run, and what was built of it already.

    Args:
        labels: the labels as trained on, before anything is held out.
        split: the labels without what is held out, and the held-out cells.
        ranked: cells by which to choose a model: the held-out ones, with unknown ones where no absent one is held out.
        root: the image folder.
        assets: see `methods.base.Context`.
        init: a run whose weights to start from.
        truth: complete labels of the images and classes of `labels`, for the log alone.
        test: labels of test images with the classes of `labels`, for a log of its own.
    """

    labels: LabelTable
    split: Split
    ranked: Cells
    root: Path
    assets: Mapping[str, Tensor]
    init: Path | None = None
    truth: LabelTable | None = None
    test: LabelTable | None = None
    _built: Method[Any] | None = field(default=None, init=False)
    _sources: tuple[Source, Source] | None = field(default=None, init=False)
    _test_log: EpochLog | None = field(default=None, init=False)

    @classmethod
    def of(
        cls, settings: TrainSettings, labels: LabelTable, root: Path, assets: Mapping[str, Tensor], init: Path | None
    ) -> "Prepared":
        """The cells of these labels shared out."""
        split = hold_out(labels, settings.holdout, settings.seed, settings.holdout_by)
        cells, apart = split.held_out, _apart(labels, split)
        one_sided = (cells.states > 0).any() and not (cells.states < 0).any()
        ranked = with_contrast(cells, labels, settings.seed, apart) if one_sided else cells
        return cls(labels, split, ranked, root, assets, init)

    def try_out(self, settings: TrainSettings, reporter: Reporter) -> Method[Any]:
        """Build the method of the first phase and show it one blank image: what cannot work is refused before a run
        folder is made.

        Raises:
            UsageError: unknown names, weights that cannot be had, settings that exclude each other, or a backbone that
            takes no such images.
        """
        self._built = self._start(settings, self.split.training, reporter)
        check_crops(settings, self._built.views)
        tagger = self._built.tagger
        side = tagger.backbone.spec.size
        blank = torch.zeros(1, 3, side, side)
        try:
            with torch.no_grad():
                tagger.eval()(tagger.backbone.trunk(blank) if tagger.takes_trunk_output else blank)
        except PartlabelError:
            raise
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UsageError(
                f"backbone {settings.backbone!r} cannot be used with images of {side} × {side} pixels ({first}); set "
                "another size, or take another backbone"
            ) from error
        return self._built

    def mapped_images(self, settings: TrainSettings, reporter: Reporter) -> frozenset[str]:
        """After `try_out`: the images whose maps are all in the cache; none for a training that uses no maps.

        Raises:
            StorageError: maps are missing, and the cache cannot be written or has no room for them.
        """
        if not settings.freeze or self._built is None:
            return frozenset()
        method = self._built
        return prepare_maps(
            map_plan(settings, method.tagger.backbone, method.views, self.labels.images, self.root), reporter
        )

    def go_on_from(self, run: Path) -> None:
        """Start from the weights of another run than so far."""
        self.init, self._built = run, None

    def phase(self, run: RunFolder, name: str, reporter: Reporter) -> tuple[Method[Any], Phase]:
        """The method before its first step, and what the phase "selection" or "refit" of a run trains on."""
        settings, selection = run.settings, name == "selection"
        table = self.split.training if selection else self.labels
        built, self._built = self._built, None
        method = (
            built
            if built is not None and selection
            else self._start(settings, table, SILENT if run.checkpoint(name).is_file() else reporter)
        )
        if self._sources is None:
            names = self.labels.images
            self._sources = sources(settings, method.tagger.backbone, method.views, names, self.root, reporter)
        if self.test is not None and self._test_log is None:
            self._test_log = EpochLog(self.test, self.root, settings, method.tagger.backbone, reporter)
        cells = self.ranked
        nothing = Cells(cells.image_index[:0], cells.class_index[:0], cells.states[:0], cells.sources[:0])
        held_out, ranked = (self.split.held_out, self.ranked) if selection else (nothing, nothing)
        phase = Phase(name, table, held_out, ranked, *self._sources, self.truth, self._test_log)
        return method, self._without_images(phase) if selection else phase

    def _without_images(self, phase: Phase) -> Phase:
        """A phase of all images without those that are held out whole."""
        rows, apart = self.split.rows, _apart(self.labels, self.split)
        if rows is None or apart is None:
            return phase
        return replace(
            phase,
            training=phase.training.at(rows),
            scoring=phase.scoring.at(rows),
            truth=None if self.truth is None else self.truth.select_images(rows),
            apart=Apart(apart, [self.labels.images[row] for row in apart], phase.scoring.at(apart)),
        )

    def _start(self, settings: TrainSettings, table: LabelTable, reporter: Reporter) -> Method[Any]:
        assets, rows = self.assets, self.split.rows
        if rows is not None and table is not self.labels:
            some = torch.from_numpy(rows)
            assets = {name: value[some] if name in IMAGE_ASSETS else value for name, value in assets.items()}
        method = build(settings, Context(table, assets, settings.backbone))
        if self.init is not None:
            take_weights(method, self.init, reporter, whole=entry(settings.method).needs_start)
        return method


def _apart(labels: LabelTable, split: Split) -> NDArray[np.int64] | None:
    """The images that are held out whole, ascending; None if cells are."""
    return None if split.rows is None else np.setdiff1d(np.arange(len(labels)), split.rows)


def gathered_assets(
    settings: TrainSettings, labels: LabelTable, reporter: Reporter
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What the method takes from outside the labels, and for run.json where vectors of the class names come from and
    which they are.

    Raises:
        PartlabelError: a file or text encoder that the settings name cannot be used.
    """
    kind, config = method_class(settings.method), method_config(settings.method, settings.method_settings)
    assets = kind.own_assets(config, labels, reporter) | kind.tower_assets(config, labels, settings.backbone)
    source = kind.label_vectors(config)
    if source is None:
        return assets, {}
    found = label_vectors(source, labels.classes)
    reporter.say(found.origin)
    if found.vectors is not None:
        assets["label_vectors"] = found.vectors
    told = {"source": found.source, "sha256": found.sha256}
    return assets, {"label_vectors": found.origin, "label_vectors_used": told}
