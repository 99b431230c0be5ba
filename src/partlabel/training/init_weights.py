"""`train --init`: weights of an earlier run to start from."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from partlabel.errors import RunError, UsageError
from partlabel.labels import Cells, LabelTable, State
from partlabel.methods.base import LinearConfig, Method, PoolConfig
from partlabel.methods.build import method_class
from partlabel.methods.catalogue import entry
from partlabel.methods.fitted import FittedMethod
from partlabel.models.bundle import load_bundle, read_info
from partlabel.models.encoders.base import name_in_single, plain_name
from partlabel.models.heads import HeadSpec
from partlabel.progress import Reporter
from partlabel.runs.folder import RunFolder
from partlabel.runs.holdout import hold_out
from partlabel.runs.settings import TrainSettings


def take_weights(method: Method[Any], run: Path, reporter: Reporter, *, whole: bool = False) -> None:
    """Weights of an earlier run wherever name and shape agree; class rows follow the class names. A method that is
    fitted makes its own head, so that it takes the backbone alone.

    Args:
        method: gets the weights.
        run: the earlier run.
        reporter: where it goes how many there are.
        whole: refuse a run that does not have all of them.

    Raises:
        RunError: no weight fits, or not all do.
        UsageError: linear layers of the two read other features.
    """
    other, info = load_bundle(RunFolder.open(run).model)
    mine = method.tagger.state_dict()
    if isinstance(method, FittedMethod):
        mine = {name: value for name, value in mine.items() if not name.startswith("head.")}
    elif method.tagger.head_spec.kind == info.head.kind == "pooled":
        _check_features(method.tagger.head_spec, info.head, run)
        _check_stages(method.tagger.backbone.spec.stages, info.backbone.stages, run)
    theirs = _counterparts(mine, other.state_dict())
    learned = dict(method.tagger.named_parameters())
    by_class = {name for name, axes in method.tagger.class_axes.items() if axes == (0,) and name in learned}
    given = method.tagger.class_axes.keys() - by_class  # label vectors and graphs: of the classes and labels at hand
    column = {name: number for number, name in enumerate(info.classes)}
    alike = method.tagger.head.reads_alike
    named = [(row, column[name]) for row, name in enumerate(method.tagger.classes) if name in column]
    shared = [(row, theirs) for row, theirs in named if alike(other.head, row, theirs)]
    taken = {}
    for name, value in theirs.items():
        if name in by_class and mine[name].shape[1:] == value.shape[1:] and shared:
            rows, their_rows = zip(*shared, strict=True)
            taken[name] = mine[name].clone()
            taken[name][list(rows)] = value[list(their_rows)]
        elif name not in by_class | given and mine[name].shape == value.shape:
            taken[name] = value
    if not taken:
        raise RunError(f"no weight of {run} fits this backbone and head")
    if whole and (len(taken) < len(mine) or len(shared) < len(method.tagger.classes)):
        raise RunError(
            f"{run} cannot teach this training: it has {len(taken)} of {len(mine)} tensors of this backbone and head, "
            f"and {len(shared)} of {len(method.tagger.classes)} classes; take the same backbone, size, head and classes"
        )
    method.tagger.load_state_dict({**method.tagger.state_dict(), **taken})
    reporter.say(f"{len(taken)} of {len(mine)} tensors start from {run}")


def _check_features(mine: HeadSpec, theirs: HeadSpec, run: Path) -> None:
    """Refuse weights of a linear layer on features that are pooled or transformed in another way."""
    for name, default in (("pool", "avg"), ("transform", "none")):
        one, other = (head.settings.get(name, default) for head in (theirs, mine))
        if one != other:
            raise UsageError(
                f"the linear layer of {run} reads features with {name} {one!r}, the one of this training with "
                f"{other!r}; give both the same {name}, or start from another run"
            )


def _check_stages(mine: int, theirs: int, run: Path) -> None:
    """Refuse weights of a linear layer on features of other stages."""
    if mine != theirs:
        raise UsageError(
            f"the linear layer of {run} reads features of stages {theirs}, the one of this training of stages {mine}; "
            "give both the same stages, or start from another run"
        )


def with_features_of(run: Path, settings: TrainSettings, reporter: Reporter) -> TrainSettings:
    """The settings of a training that starts from a run, with the features that its linear layer reads: their stages
    and their transform.

    Raises:
        UsageError: they name others.
    """
    kind, given = method_class(settings.method), settings.method_settings
    info = read_info(RunFolder.open(run).model)
    head = info.head
    if entry(settings.method).fitted or not issubclass(kind.Config, PoolConfig) or head.kind != "pooled":
        return settings
    if given.get("head", "pooled") != "pooled":  # takes the backbone alone, whatever the linear layer reads
        return settings
    settings = _with_stages_of(run, info.backbone.stages, settings, reporter)
    if not issubclass(kind.Config, LinearConfig):
        return settings
    theirs = head.settings.get("transform", "none")
    if given.get("transform", theirs) != theirs:
        raise UsageError(
            f"the linear layer of {run} reads features with transform {theirs!r}, and this training is told to start "
            f"from it with {given['transform']!r}; leave transform out"
        )
    if theirs == given.get("transform", "none"):
        return settings
    reporter.say(f"transform {theirs!r} of the features, as in {run}")
    return settings.model_copy(update={"method_settings": {**given, "transform": theirs}})


def _with_stages_of(run: Path, theirs: int, settings: TrainSettings, reporter: Reporter) -> TrainSettings:
    if settings.stages == theirs or "stages" in settings.model_fields_set:
        return settings
    if settings.train_last or settings.train_parts != "all" or settings.joint_space != "off":
        raise UsageError(
            f"the linear layer of {run} reads features of two stages, which train_last, train_parts and joint_space do "
            "not have; train that run with stages 1 (--set stages=1), or start from another one"
        )
    reporter.say(f"stages {theirs}, as in {run}")
    return settings.model_copy(update={"stages": theirs})


def seen_before(init: Path, held_out: Cells, labels: LabelTable) -> int:
    """How many held-out cells the run given as `init` knew while it trained: by these the new run looks better than it
    is.

    So did the runs that it started from itself, as far as their folders are still there.
    """
    known, asked, next_one = np.zeros(held_out.states.size, bool), set(), str(init)
    while next_one and next_one not in asked and (Path(next_one) / "run.json").is_file():
        asked.add(next_one)
        run = RunFolder.open(next_one)
        known |= _known_to(run, held_out, labels)
        next_one = str(run.inputs.get("init") or "")
    return int(known.sum())


def _known_to(run: RunFolder, cells: Cells, labels: LabelTable) -> NDArray[np.bool_]:
    """Bool `[K]`: the cells that a run trained on."""
    theirs = run.labels()
    if not run.settings.refit:
        settings = run.settings
        theirs = hold_out(theirs, settings.holdout, settings.seed, settings.holdout_by).training
    rows = np.asarray([theirs.image_positions.get(name, -1) for name in labels.images])[cells.image_index]
    columns = np.asarray([theirs.class_positions.get(name, -1) for name in labels.classes])[cells.class_index]
    known = (rows >= 0) & (columns >= 0)
    known[known] = theirs.states_at(rows[known], columns[known]) != State.UNKNOWN
    return known


def _counterparts(names: Iterable[str], saved: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What an earlier run saved for each name; the backbone of its first network for one, that of its only one for
    two.
    """
    plain = {plain_name(name): value for name, value in saved.items()}
    single: dict[str, torch.Tensor] = {}
    for name, value in plain.items():
        single.setdefault(name_in_single(name), value)
    found = {name: plain.get(plain_name(name), single.get(name_in_single(plain_name(name)))) for name in names}
    return {name: value for name, value in found.items() if value is not None}
