"""One phase of training: from a label table and a source of views to a trained tagger, resumable at any step."""

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from numpy.typing import NDArray

from partlabel.errors import Interrupted, MissingDependencyError, UsageError
from partlabel.evaluation.average_precision import average_precision
from partlabel.evaluation.cells import mean_over
from partlabel.labels import Cells, LabelTable, State
from partlabel.methods.base import Method
from partlabel.models.tagger import Tagger
from partlabel.progress import Reporter, Tick
from partlabel.runs.folder import RunFolder
from partlabel.runs.settings import TrainSettings
from partlabel.training.adapter import Adapter
from partlabel.training.checkpoint import AtomicCheckpointIO, save_state
from partlabel.training.data import Source
from partlabel.training.scoring import score_blocks

_PRECISION: dict[str, Any] = {"none": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass
class Phase:
    """What one phase of a run trains on.

    Args:
        name: "selection" (held-out cells are hidden) or "refit" (all known cells).
        table: the labels to train on.
        held_out: cells to judge by; empty in "refit".
        ranked: cells by which to choose a model: the held-out ones, with unknown ones where they have but one sign.
        training: source of the method's views.
        scoring: source of the plain view.
    """

    name: str
    table: LabelTable
    held_out: Cells
    ranked: Cells
    training: Source
    scoring: Source

    @property
    def measure(self) -> str:
        """What the model is chosen by: a column of log.csv."""
        return "held_out_mAP" if self.ranked is self.held_out else "held_out_mAP_among_unknown"


def fit(run: RunFolder, phase: Phase, method: Method[Any], settings: TrainSettings, reporter: Reporter) -> Tagger:
    """Train a method to the end, going on from the phase's last checkpoint if there is one.

    Returns:
        The tagger that `settings.select` names, on the CPU, in eval mode.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the run can be resumed.
        NotFiniteError: a loss or gradient is not finite.
    """
    adapter = Adapter(method, phase.table, phase.training, phase.scoring, settings)
    last = run.checkpoint(phase.name)
    with (
        warnings.catch_warnings(),
        _interruptible() as interrupted,
        reporter.track(f"training {settings.method}, step") as tick,
    ):
        _quiet_lightning()
        trainer = _trainer(run, settings)
        method.train()  # computing maps leaves a backbone in eval mode, and the loop changes no mode
        watch = _Watch(run, phase, settings, adapter, trainer, reporter, tick, interrupted)
        adapter.after_step = watch.after_step
        try:
            trainer.fit(adapter, ckpt_path=last if last.is_file() else None, weights_only=True)
        except (
            SIGTERMException
        ) as error:  # the signal came after the last look at the flag; the exception means exit code 0
            raise Interrupted(
                f"stopped; `partlabel train --resume {run.path}` goes on from the last checkpoint"
            ) from error
    tagger = adapter.tagger.cpu()
    best = run.checkpoint(phase.name, "best")
    if settings.select == "best" and phase.held_out.states.size and best.is_file():
        tagger.load_state_dict(torch.load(best, map_location="cpu", weights_only=True)["tagger"])
    return tagger.eval()


def cell_logits(tagger: Tagger, phase: Phase, cells: Cells, **scoring: Any) -> NDArray[np.float32]:
    """Logits of single cells, float32 `[K]`."""
    logits = np.empty(cells.states.size, np.float32)
    for rows, block in score_blocks(tagger, phase.scoring, len(phase.table), **scoring):
        first, end = np.searchsorted(cells.image_index, (rows[0], rows[-1] + 1))
        logits[first:end] = block[cells.image_index[first:end] - rows[0], cells.class_index[first:end]]
    return logits


def map_of_cells(logits: NDArray[np.float32], cells: Cells, classes: int) -> tuple[float, int]:
    """MAP (raw) over the classes that have both sides among these cells, and how many they are; NaN if none has.

    Present cells are ranked among absent ones; where no absent cell is given, among the unknown ones (see
    `with_contrast`).
    """
    other = State.ABSENT if (cells.states == State.ABSENT).any() else State.UNKNOWN
    sides = np.where(cells.states == State.PRESENT, 1, np.where(cells.states == other, -1, 0)).astype(np.int8)
    ends = np.cumsum(np.bincount(cells.class_index, minlength=classes))
    of_class = np.split(np.argsort(cells.class_index, kind="stable"), ends[:-1])
    values = np.asarray([average_precision(logits[mine, None], sides[mine, None], "raw")[0] for mine in of_class])
    scored = ~np.isnan(values)
    return (mean_over(values, scored), int(scored.sum())) if scored.any() else (float("nan"), 0)


def _trainer(run: RunFolder, settings: TrainSettings) -> lightning.Trainer:
    loggers = _loggers(run, settings)
    try:
        return lightning.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=settings.strategy,
            precision=_PRECISION[settings.amp],
            max_epochs=1,
            gradient_clip_val=settings.clip_norm or None,
            accumulate_grad_batches=settings.accumulate,
            plugins=[AtomicCheckpointIO()],
            logger=loggers,
            default_root_dir=run.path,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, ModuleNotFoundError, ValueError) as error:
        raise UsageError(
            f"cannot train with accelerator {settings.accelerator!r}, devices {settings.devices!r}, strategy "
            f"{settings.strategy!r} and amp {settings.amp!r}: {str(error).splitlines()[0]}"
        ) from error


class _Watch:
    """What happens between steps: log, validation, checkpoints, interruption."""

    def __init__(
        self,
        run: RunFolder,
        phase: Phase,
        settings: TrainSettings,
        adapter: Adapter,
        trainer: lightning.Trainer,
        reporter: Reporter,
        tick: Tick,
        interrupted: Callable[[], bool],
    ) -> None:
        self.run, self.phase, self.settings, self.adapter, self.trainer = run, phase, settings, adapter, trainer
        self.reporter, self.tick, self.interrupted = reporter, tick, interrupted
        self.started = time.monotonic()
        self.measure = phase.measure
        self.owed = False

    def after_step(self, done: int) -> None:
        """Called with the number of steps done."""
        order = self.adapter.order()
        self.tick(done, len(order))
        at_epoch_end = done % order.steps_per_epoch == 0
        if at_epoch_end:
            self._end_epoch(done // order.steps_per_epoch)
        every = self.settings.checkpoint_every
        self.owed = self.owed or (done % every == 0 if every else at_epoch_end)
        if done % self.settings.accumulate and done < len(order):
            return  # a checkpoint holds no half-summed gradient
        stop = self.trainer.strategy.reduce_boolean_decision(
            self.interrupted(), all=False
        )  # a checkpoint takes all processes
        if stop or self.owed:
            self.trainer.save_checkpoint(self.run.checkpoint(self.phase.name), weights_only=False)
            self.owed = False
        if stop:
            raise Interrupted(
                f"stopped after step {done} of {len(order)}; go on with: partlabel train --resume {self.run.path}"
            )

    def _end_epoch(self, epoch: int) -> None:
        """Log an epoch; judge it on the held-out cells when it is due."""
        sums = dict(self.adapter.sums)
        self.adapter.sums.clear()
        batches = sums.pop("batches")
        row: dict[str, Any] = {"phase": self.phase.name, "epoch": epoch}
        row.update({_column(name): value / batches for name, value in sums.items()})
        row["lr"] = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        row["seconds"] = round(time.monotonic() - self.started, 2)
        self.started = time.monotonic()
        due = epoch % self.settings.validate_every == 0 or epoch == self.settings.epochs
        text = f"epoch {epoch}/{self.settings.epochs}: loss {row['loss']:.4f}"
        if due and self.phase.held_out.states.size and self.trainer.is_global_zero:
            value, classes = self._judge(epoch)
            row[self.measure], row["held_out_classes"] = value, classes
            if classes:
                among = " among unknown cells" if self.phase.ranked is not self.phase.held_out else ""
                cells = self.phase.held_out.states.size
                text += f", held-out mAP{among} {100 * value:.2f} ({classes} classes, {cells} cells)"
        if self.trainer.is_global_zero:
            self.run.append_log(row)
            self.reporter.say(text)
            for logger in self.trainer.loggers:
                logger.log_metrics({k: v for k, v in row.items() if isinstance(v, float)}, step=epoch)

    def _judge(self, epoch: int) -> tuple[float, int]:
        tagger = self.adapter.tagger
        device = next(tagger.parameters()).device
        logits = cell_logits(tagger, self.phase, self.phase.ranked, device=device, workers=self.settings.workers)
        value, classes = map_of_cells(logits, self.phase.ranked, len(tagger.classes))
        best = self.run.checkpoint(self.phase.name, "best")
        if self.settings.select == "best" and not np.isnan(value):
            earlier = [
                float(row[self.measure])
                for row in self.run.log()
                if row["phase"] == self.phase.name and int(row["epoch"]) < epoch and row.get(self.measure)
            ]
            if not earlier or value > max(earlier):
                save_state({"tagger": tagger.state_dict(), "epoch": epoch, self.measure: value}, best)
        return value, classes


def _column(name: str) -> str:
    """Column of log.csv for what an objective returned under a name."""
    if name == "total":
        return "loss"
    return name if name.endswith("_share") else f"loss_{name}"


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C or SIGTERM sets a flag that is looked at between steps; a second one interrupts at once."""
    flag, process = threading.Event(), os.getpid()
    if threading.current_thread() is not threading.main_thread():
        yield flag.is_set
        return

    def handle(number: int, frame: Any) -> None:
        if (
            os.getpid() != process
        ):  # a worker: it outlives Ctrl-C until the step is done, but not its loader's terminate()
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if flag.is_set():
            raise Interrupted("stopped at once; `partlabel train --resume` goes on from the last checkpoint")
        flag.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _loggers(run: RunFolder, settings: TrainSettings) -> list[Logger] | bool:
    from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

    made: list[Logger] = []
    for name in settings.loggers:
        try:
            kind = {"tensorboard": TensorBoardLogger, "wandb": WandbLogger}[name]
            made.append(kind(save_dir=run.path, name=name))
        except ModuleNotFoundError as error:
            raise MissingDependencyError(f"logger {name} is not installed; pip install {name}") from error
    return made or False


def _quiet_lightning() -> None:
    """Lightning's advice that does not apply: the order of batches, workers and resuming are partlabel's own."""
    import logging

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for message in (
        r".*does not have many workers.*",
        r".*resuming from a checkpoint that ended before the epoch ended.*",
        r".*is smaller than the logging interval.*",
        r".*Found .* module\(s\) in eval mode.*",
        r".*GPU available but not used.*",
        r".*LeafSpec.*",
        r".*isinstance\(treespec.*",
        r".*lr_scheduler\.step.*",
        r".*srun.*",
    ):
        warnings.filterwarnings("ignore", message=message)
