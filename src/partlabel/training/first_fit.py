"""`train --refine`: a fit that a training goes on from, as a run of its own in the folder `start` of the run."""

from partlabel.errors import UsageError
from partlabel.files import remove_leftovers
from partlabel.methods.base import LinearConfig
from partlabel.methods.build import method_class
from partlabel.methods.catalogue import CATALOGUE, entry
from partlabel.progress import Reporter
from partlabel.runs.folder import RunFolder
from partlabel.runs.settings import TrainSettings, settings_of_fits
from partlabel.training.init_weights import with_features_of
from partlabel.training.phases import run_phases
from partlabel.training.prepared import Prepared


def fit_settings(method: str, settings: TrainSettings) -> TrainSettings:
    """Settings of the fit that a training refines: those of the training that a fit follows, and the features that its
    linear layer is told to read.

    Args:
        method: of the fit.
        settings: of the training.

    Raises:
        UsageError: the two cannot follow each other.
    """
    if not entry(method).fitted:
        raise UsageError(
            f"refine goes on from a method that is fitted at once, such as discriminant, and {method} takes steps; to "
            "go on from a run of it, give that run as init"
        )
    if entry(settings.method).fitted or not issubclass(method_class(settings.method).Config, LinearConfig):
        able = [name for name in CATALOGUE if issubclass(method_class(name).Config, LinearConfig)]
        raise UsageError(f"refine {settings.method!r}: it cannot start from a fitted layer; {_any(able)} can")
    head = settings.method_settings.get("head", "pooled")
    if head != "pooled":
        raise UsageError(f"refine starts from a fitted linear layer, which head {head!r} is not; leave head out")
    if not settings.freeze:
        raise UsageError("refine goes on from a fit to the features of a frozen backbone; add --freeze")
    given = {name: settings.method_settings[name] for name in ("pool", "transform") if name in settings.method_settings}
    shared = {name: getattr(settings, name) for name in settings_of_fits() - {"refit"}}
    return TrainSettings(**{**shared, "method": method, "method_settings": given})


def fit_first(run: RunFolder, prepared: Prepared, reporter: Reporter) -> None:
    """Fit what a run refines, unless that is done, and let its training start from there."""
    start = run.start
    if not (start.path / "run.json").is_file():
        settings = TrainSettings(**run.info["start"])
        start = RunFolder.create(start.path, settings, run.inputs, prepared.labels)
    elif start.info["inputs"] != run.info["inputs"]:  # the images were moved
        start.update(inputs=run.info["inputs"])
    if start.info["status"] != "done":
        remove_leftovers(start.path)
        run_phases(start, Prepared.of(start.settings, prepared.labels, prepared.root, {}, None), reporter)
    settings = with_features_of(start.path, run.settings, reporter)
    if settings != run.settings:
        run.write_config(settings)
    prepared.go_on_from(start.path)


def tell_beside_fit(run: RunFolder, reporter: Reporter) -> None:
    """Say whether the steps have made the held-out mAP better or worse."""
    before, after = (one.info.get("held_out", {}).get("mAP") for one in (run.start, run))
    if before is not None and after is not None:
        reporter.say(
            f"held-out mAP {100 * after:.2f} after the steps, {100 * before:.2f} before, of the fit that is kept as "
            f"{run.start.path}"
        )


def _any(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
