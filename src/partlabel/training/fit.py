"""One phase of training: from a label table and a source of views to a trained tagger, resumable at any step."""

from typing import Any

import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from partlabel.errors import Interrupted
from partlabel.images.loading import explained_workers
from partlabel.methods.base import Method
from partlabel.models.tagger import Tagger
from partlabel.progress import Reporter
from partlabel.runs.folder import RunFolder
from partlabel.runs.processes import only_what_was_asked
from partlabel.runs.settings import TrainSettings
from partlabel.stopping import finishing_steps, take_over_signals
from partlabel.training.adapter import Adapter
from partlabel.training.frozen import DIGEST
from partlabel.training.phase import Phase
from partlabel.training.trainer import make_trainer, quiet_lightning
from partlabel.training.watch import Watch


def fit(run: RunFolder, phase: Phase, method: Method[Any], settings: TrainSettings, reporter: Reporter) -> Tagger:
    """Train a method to the end, going on from the phase's last checkpoint if there is one.

    Returns:
        The tagger that `settings.select` names, on the CPU, in eval mode.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the run can be resumed.
        NotFiniteError: a loss, a gradient or a weight is not finite.
        WorkerError: a worker process died; the run can be resumed.
    """
    adapter = Adapter(method, phase.table, phase.training, phase.scoring, settings, phase.truth)
    last = run.checkpoint(phase.name)
    stopped = f"stopped; go on with: {run.resume_command}"
    with (
        reporter.track(f"training {settings.method}, step") as tick,
        only_what_was_asked() as group,
        finishing_steps(stopped) as asked,
        quiet_lightning(),
        explained_workers(),
    ):
        trainer = make_trainer(run, settings, group)
        method.train()  # computing maps leaves a backbone in eval mode, and the loop changes no mode
        adapter.after_step = Watch(run, phase, adapter, reporter, tick, asked).after_step
        adapter.on_fit_begins = lambda: take_over_signals(asked)
        try:
            trainer.fit(adapter, ckpt_path=last if last.is_file() else None, weights_only=True)
        except SIGTERMException as error:  # before the first step; the exception means exit code 0
            raise Interrupted(stopped) from error
    tagger = adapter.tagger.cpu()
    best = run.checkpoint(phase.name, "best")
    if settings.select == "best" and phase.held_out.states.size and best.is_file():
        saved = torch.load(best, map_location="cpu", weights_only=True)
        tagger.load_state_dict(adapter.frozen.completed(saved["tagger"], tagger.state_dict(), saved.get(DIGEST), ""))
    return tagger.eval()
