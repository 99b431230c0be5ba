"""One phase of a method that is fitted, not stepped: its passes, the log, the judgement."""

import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from partlabel.methods.base import Seen
from partlabel.methods.fitted import Fit, FittedMethod
from partlabel.models.tagger import Tagger
from partlabel.progress import Reporter
from partlabel.runs.folder import RunFolder
from partlabel.runs.processes import process_rank
from partlabel.runs.settings import TrainSettings
from partlabel.training.build import compute_device
from partlabel.training.phase import Phase, cell_logits, check_logits, map_of_cells
from partlabel.training.scoring import seen


def fit_features(
    run: RunFolder, phase: Phase, method: FittedMethod[Any], settings: TrainSettings, reporter: Reporter
) -> Tagger:
    """Fit a method to the features of a phase. A fit that was stopped is made again from its beginning.

    Only the first of several processes fits; the others have nothing to do.

    Returns:
        The fitted tagger, on the CPU, in eval mode.

    Raises:
        NotFiniteError: a logit is not finite.
    """
    tagger = method.tagger.eval()
    if process_rank():
        return tagger
    device, started = compute_device(settings), time.monotonic()
    tagger.to(device)

    def images(index: Tensor | None = None) -> Iterator[Seen]:
        rows = range(len(phase.table)) if index is None else index.tolist()
        return seen(tagger, phase.scoring, rows, device=device, workers=settings.workers)

    with torch.no_grad():
        earlier = run.info.get("fitted", {}) if phase.name == "refit" else {}
        chosen = method.fit(Fit(phase.table, images, settings.seed, reporter, earlier))
    if phase.name != "refit":
        unknown = {name for name, value in chosen.items() if isinstance(value, float) and math.isnan(value)}
        run.update(fitted={name: None if name in unknown else value for name, value in chosen.items()})
    tagger.to(device)  # a fit may have put on another head
    check_logits(tagger, phase, device=device, workers=settings.workers)
    row: dict[str, Any] = {"phase": phase.name, "epoch": 1, **chosen}
    row["seconds"] = round(time.monotonic() - started, 2)
    told = [f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in chosen.items()]
    if phase.held_out.states.size:
        logits = cell_logits(tagger, phase, phase.ranked, device=device, workers=settings.workers)
        value, classes = map_of_cells(logits, phase.ranked, len(tagger.classes))
        row[phase.measure], row["held_out_classes"] = value, classes
        told.append(f"{phase.measure.replace('_', ' ')} {100 * value:.2f} ({classes} classes)")
    if phase.test is not None:
        phase.test.add(run, phase.name, 1, tagger)
    run.append_log(row)
    reporter.say(f"fitted {settings.method} in {row['seconds']} s: {', '.join(told) or 'no label was read'}")
    return tagger.cpu().eval()
