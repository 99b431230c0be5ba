"""What happens between steps: log, validation, checkpoints, interruption."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch

from partlabel.errors import Interrupted, NotFiniteError
from partlabel.progress import Reporter, Tick
from partlabel.runs.folder import RunFolder
from partlabel.training.adapter import Adapter
from partlabel.training.checkpoint import save_state
from partlabel.training.frozen import DIGEST
from partlabel.training.phase import Phase, cell_logits, check_logits, map_of_cells
from partlabel.training.truth import truth_columns


class Watch:
    """Looks on after each step.

    Args:
        run: where log and checkpoints go.
        phase: what is trained on, and judged by.
        adapter: what is trained.
        reporter: gets a line per epoch.
        tick: called last for each step that does not end the training.
        asked: whether somebody asked to stop.
    """

    def __init__(
        self, run: RunFolder, phase: Phase, adapter: Adapter, reporter: Reporter, tick: Tick, asked: Callable[[], bool]
    ) -> None:
        self.run, self.phase, self.adapter, self.settings = run, phase, adapter, adapter.settings
        self.reporter, self.tick, self.asked = reporter, tick, asked
        self.started = time.monotonic()
        self.owed = False

    def after_step(self, done: int) -> None:
        """Called with the number of steps done.

        Raises:
            Interrupted: somebody asked to stop; a checkpoint is written.
            NotFiniteError: an epoch has ruined the weights.
        """
        order = self.adapter.order
        at_epoch_end = done % order.steps_per_epoch == 0
        if at_epoch_end:
            self._end_epoch(done // order.steps_per_epoch)
        every = self.settings.checkpoint_every
        self.owed = self.owed or (done % every == 0 if every else at_epoch_end)
        if done % self.settings.accumulate == 0 or done == len(order):  # a checkpoint holds no half-summed gradient
            self._save_or_stop(done, len(order))
        self.tick(done, len(order))

    def _save_or_stop(self, done: int, steps: int) -> None:
        trainer = self.adapter.trainer
        stop = trainer.strategy.reduce_boolean_decision(self.asked(), all=False)  # a checkpoint takes all processes
        if stop or self.owed:
            trainer.save_checkpoint(self.run.checkpoint(self.phase.name), weights_only=False)
            self.owed = False
        if stop:
            raise Interrupted(f"stopped after step {done} of {steps}; go on with: {self.run.resume_command}")

    def _end_epoch(self, epoch: int) -> None:
        """Log an epoch; judge it on the held-out cells when it is due."""
        sums = self.adapter.epoch_sums()
        self.adapter.sums.clear()
        batches = sums.pop("batches")
        row: dict[str, Any] = {"phase": self.phase.name, "epoch": epoch}
        counted = truth_columns(sums)
        row.update({_column(name): value / batches for name, value in sums.items()})
        row |= counted
        row["lr"] = self.adapter.used_lr
        row["seconds"] = round(time.monotonic() - self.started, 2)
        self.started = time.monotonic()
        self._check_weights(epoch)
        due = epoch % self.settings.validate_every == 0 or epoch == self.settings.epochs
        text = f"epoch {epoch}/{self.settings.epochs}: loss {row['loss']:.4f}"
        trainer = self.adapter.trainer
        if due and self.phase.held_out.states.size:
            value = math.nan
            if trainer.is_global_zero:
                value, classes = self._judge(epoch)
                row[self.phase.measure], row["held_out_classes"] = value, classes
                text += self._told(value, classes)
            self.adapter.judged(value)
        if due and self.phase.test is not None and trainer.is_global_zero:
            self.phase.test.add(self.run, self.phase.name, epoch, self.adapter.tagger)
        if trainer.is_global_zero:
            self.run.append_log(row)
            self.reporter.say(text)
            for logger in trainer.loggers:
                logger.log_metrics({k: v for k, v in row.items() if isinstance(v, float)}, step=epoch)

    def _told(self, value: float, classes: int) -> str:
        if not classes:
            return ""
        among = " among unknown cells" if self.phase.ranked is not self.phase.held_out else ""
        cells = self.phase.held_out.states.size
        return f", held-out mAP{among} {100 * value:.2f} ({classes} classes, {cells} cells)"

    def _check_weights(self, epoch: int) -> None:
        """The losses of an epoch say nothing of what its last step did to the weights."""
        state = self.adapter.tagger.state_dict(keep_vars=True)
        learned = [t.detach() for name, t in state.items() if t.requires_grad or "running_" in name]
        average = self.adapter.average
        learned += [t.detach() for t in average.network.parameters()] if average is not None else []
        if learned and not torch.stack([torch.isfinite(tensor).all() for tensor in learned]).all():
            raise NotFiniteError(
                f"the weights are not finite after epoch {epoch}; lower the learning rate, clip gradients (clip_norm) "
                "or train without amp"
            )

        if epoch == self.settings.epochs:
            tagger = self.adapter.tagger
            check_logits(tagger, self.phase, device=next(tagger.parameters()).device)

    def _judge(self, epoch: int) -> tuple[float, int]:
        tagger = self.adapter.tagger
        device = next(tagger.parameters()).device
        logits = cell_logits(tagger, self.phase, self.phase.ranked, device=device, workers=self.settings.workers)
        value, classes = map_of_cells(logits, self.phase.ranked, len(tagger.classes))
        if self.settings.select == "best" and not math.isnan(value) and value > self._best_before(epoch):
            frozen, path = self.adapter.frozen, self.run.checkpoint(self.phase.name, "best")
            kept = frozen.without(tagger.state_dict(), "")
            save_state({"tagger": kept, DIGEST: frozen.digest, "epoch": epoch, self.phase.measure: value}, path)
            self.adapter.best = value
        return value, classes

    def _best_before(self, epoch: int) -> float:
        """The best value so far; checkpoints of earlier releases leave it to the log, which has six digits."""
        if self.adapter.best is not None:
            return self.adapter.best
        rows = [row for row in self.run.log() if row["phase"] == self.phase.name and int(row["epoch"]) < epoch]
        return max((float(row[self.phase.measure]) for row in rows if row.get(self.phase.measure)), default=-math.inf)


def _column(name: str) -> str:
    """Column of log.csv for what an objective returned under a name."""
    if name == "total":
        return "loss"
    return name if name.endswith("_share") else f"loss_{name}"
