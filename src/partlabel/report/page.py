"""Putting the sections of a report on one page."""

import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from partlabel.drawing.thumbnails import Thumbnails
from partlabel.errors import RunError
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.files import write_text
from partlabel.images.limits import limits_of
from partlabel.images.paths import image_root
from partlabel.labels import LabelTable
from partlabel.models.bundle import BundleInfo, load_bundle
from partlabel.models.tagger import Tagger
from partlabel.recovery import Calibration, Suggestions
from partlabel.report import overview
from partlabel.report.classes import (
    MOST_ROWS,
    Judged,
    class_rows,
    judge_held_out,
    judge_test,
    read_held_out,
)
from partlabel.report.histograms import histogram_of_test, histogram_parts, kept_histogram
from partlabel.report.label_graph import MOST_EDGES, graph_plot
from partlabel.report.maps import chosen_images, mapped_images
from partlabel.report.parts import LeftOut
from partlabel.report.plots import loss_plot, map_plot
from partlabel.report.probabilities import calibration_section, probability_text
from partlabel.report.recovered import Recovered, kept_recovered, recovered_section
from partlabel.report.strips import error_strips
from partlabel.runs.folder import RunFolder
from partlabel.runs.learned_graph import learned_graph_path, read_learned_graph, strongest
from partlabel.version import __version__
from partlabel.wording import number, percent, readable_name

_NO_IMAGES = LeftOut("no image folder was given")
_NO_HELD_OUT = LeftOut("the run has no held-out cells")


def write_report(
    run: RunFolder,
    *,
    images: Path | LeftOut | None,
    evaluation: Mapping[str, Any] | None = None,
    suggestions: Suggestions | None = None,
    truth: LabelTable | None = None,
) -> Path:
    """Write `report.html` into a run folder: one file that needs no network and no script, some megabytes at most.

    A section whose data is missing is left out with the reason in its place. Images that cannot be read become grey
    tiles. The same arguments give the same bytes.

    Args:
        run: the run; an unfinished one lacks the sections that need its model.
        images: the folder of the images that the run was trained on; without it, or with the reason why there is none,
            they are left out.
        evaluation: a test of the run, as `Evaluation.to_json` gives it.
        suggestions: what was recovered, from images of the same folder; without them the section is the one that
            `recover` kept in the run, if it did.
        truth: true labels, to mark the suggestions and the mapped labels as right, wrong or not annotated.

    Returns:
        The path of the page.

    Raises:
        ImageError: the image folder does not exist.
        RunError: the run folder is damaged.
        LabelError: the truth has no image, or no class, of the suggestions.
    """
    root = images if isinstance(images, LeftOut) else _NO_IMAGES if images is None else image_root(images)
    if suggestions is None:
        recovered = kept_recovered(run)
    else:
        limits = limits_of(run.settings.max_image_mb)
        recovered = recovered_section(suggestions, truth, None if isinstance(root, LeftOut) else root, limits)
    page = _Page(run, root, evaluation, recovered, truth)
    source = importlib.resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(percent=percent, number=number)
    target = run.path / "report.html"
    write_text(target, environment.from_string(source).render(page.content()))
    return target


class _Page:
    """What the sections are made from."""

    def __init__(
        self,
        run: RunFolder,
        root: Path | LeftOut,
        evaluation: Mapping[str, Any] | None,
        recovered: Recovered | None,
        truth: LabelTable | None,
    ) -> None:
        self.run, self.root, self.evaluation, self.recovered, self.truth = run, root, evaluation, recovered, truth
        self.settings = run.settings
        self.limits = limits_of(self.settings.max_image_mb)
        self.labels = run.labels()
        self.cells: ScoredCells | None = read_held_out(run, self.labels.classes)
        self.held_out = None if self.cells is None else judge_held_out(self.cells)
        self.judged: Judged | None = (
            self.held_out if evaluation is None else judge_test(evaluation, self.labels.classes)
        )
        self.bundle = _bundle(run)
        self.info: BundleInfo | None = None if isinstance(self.bundle, LeftOut) else self.bundle[1]
        fitted = self.info.calibration if self.info is not None else None
        self.calibration = None if fitted is None else Calibration.from_json(fitted)
        self.probability = probability_text(self.calibration)

    def content(self) -> dict[str, Any]:
        """The values of the template."""
        return {
            "version": __version__,
            "cards": overview.cards(self.labels, self.held_out, self.evaluation),
            "facts": overview.facts(self.settings, self.info),
            "notes": overview.notes(self.run, self.settings, self.cells is not None),
            "measures": [] if self.evaluation is None else overview.measures(self.evaluation),
            "versions": self.run.info.get("versions", {}),
            "settings": overview.all_settings(self.settings),
            "labels_hash": self.labels.hash,
            "method": self.settings.method,
            "calibrated": self.calibration is not None,
            "curves": self._curves(),
            "graph": graph_plot(strongest(read_learned_graph(learned_graph_path(self.run.path)), MOST_EDGES)),
            "classes": self._classes(),
            "calibration": self._calibration(),
            "probabilities": self._probabilities(),
            "recovered": self.recovered or LeftOut("no suggestions were given; `partlabel recover` makes them"),
            "folder": None if isinstance(self.root, LeftOut) else readable_name(self.root.absolute()),
            "errors": self._errors(),
            "maps": self._maps(),
        }

    def _curves(self) -> dict[str, Any] | LeftOut:
        log = self.run.log()
        if not log:
            return LeftOut("no epoch was logged")
        plots = [plot for plot in (loss_plot(log), map_plot(log)) if plot is not None]
        return {"plots": plots, "columns": list(log[0]), "rows": [list(row.values()) for row in log]}

    def _classes(self) -> dict[str, Any]:
        thresholds = self.info.thresholds if self.info is not None else None
        return {
            "where": self.judged.where if self.judged is not None else None,
            "rows": class_rows(self.labels, self.judged, thresholds),
            "hidden": max(0, len(self.labels.classes) - MOST_ROWS),
            "thresholds": thresholds is not None,
        }

    def _calibration(self) -> Any:
        if self.cells is None:
            return _NO_HELD_OUT
        if isinstance(self.bundle, LeftOut):
            return self.bundle
        if not self.cells.has_class_of_both_states:
            return LeftOut("it needs a class with held-out cells of both states")
        return calibration_section(self.calibration, self.cells)

    def _probabilities(self) -> Any:
        parts = histogram_parts(kept_histogram(self.run), histogram_of_test(self.evaluation))
        return parts or LeftOut("no cells were counted; `partlabel recover` and `partlabel evaluate` count them")

    def _errors(self) -> dict[str, Any] | LeftOut:
        if isinstance(self.root, LeftOut):
            return self.root
        if self.cells is None or self.judged is None:
            return _NO_HELD_OUT
        worst = self.judged.worst()
        if not worst:
            return LeftOut("no class has known cells of both signs to judge it by")
        thresholds = self.info.thresholds if self.info is not None else None
        strips = error_strips(
            self.labels.classes,
            worst,
            self.cells,
            thresholds,
            self.probability,
            Thumbnails(self.root, self.limits),
        )
        return {"where": self.judged.where, "strips": strips, "marked": thresholds is not None}

    def _maps(self) -> Any:
        if isinstance(self.root, LeftOut):
            return self.root
        if isinstance(self.bundle, LeftOut):
            return self.bundle
        images = chosen_images(self.labels)
        if not images:
            return LeftOut("no image has a known present label")
        mapped = mapped_images(*self.bundle, self.root, self.labels, images, self.probability, self.truth, self.limits)
        gradient = any(one.kind == "gradient" for one in mapped)
        return {"images": mapped, "gradient": gradient, "marks": self.truth is not None}


def _bundle(run: RunFolder) -> tuple[Tagger, BundleInfo] | LeftOut:
    try:
        return load_bundle(run.model)
    except RunError as error:
        return LeftOut(str(error))
