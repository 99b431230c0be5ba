"""The one adapter between a method and Lightning's loop.

All epochs run as a single Lightning epoch, because its loop resumes exactly only inside one (docs/decisions). The
adapter knows at each step which epoch it is in.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from partlabel.errors import NotFiniteError
from partlabel.images.loading import loader
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Method, Seen
from partlabel.models.tagger import Tagger
from partlabel.runs.settings import TrainSettings
from partlabel.training.batch import Labelled, Step, exact, norms_can_average
from partlabel.training.data import Source
from partlabel.training.ema import MovingAverage
from partlabel.training.frozen import DIGEST, Frozen
from partlabel.training.optimizers import make_optimizer, make_plateau, make_schedule
from partlabel.training.order import TrainingOrder
from partlabel.training.scoring import seen
from partlabel.training.truth import truth_counts

_TAGGERS = ("method.tagger.", "average.network.")


class Adapter(lightning.LightningModule):
    """Runs a method's forward and objective on batches of (views, index), with labels taken from the table.

    Args:
        method: what to train.
        labels: the training table; row numbers are the dataset's indices.
        training: gives `{"views": {name: tensor}, "index": int}` for an (epoch, index).
        scoring: gives the plain view of the same images.
        settings: how to train.
        truth: complete labels of the same images, for the log alone.
    """

    def __init__(
        self,
        method: Method[Any],
        labels: LabelTable,
        training: Source,
        scoring: Source,
        settings: TrainSettings,
        truth: LabelTable | None = None,
    ) -> None:
        super().__init__()
        self.truth = truth
        self.method = method
        self.average = MovingAverage(method.tagger, settings.ema, warmup=settings.ema_warmup) if settings.ema else None
        self.labels, self.training_source, self.scoring_source, self.settings = labels, training, scoring, settings
        self.sums: dict[str, float | Tensor] = {}
        self.used_lr = 0.0
        self.best: float | None = None
        self.after_step: Callable[[int], None] = lambda step: None
        self.on_fit_begins: Callable[[], None] = lambda: None
        self._stepped = 0
        self._order: TrainingOrder | None = None
        self._plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None

    @property
    def order(self) -> TrainingOrder:
        """The order of the whole training."""
        if self._order is None or (self._order.rank, self._order.world) != self._place():
            self._order = self._order_from(0)
        return self._order

    def _order_from(self, start: int) -> TrainingOrder:
        rank, world = self._place()
        settings = self.settings
        return TrainingOrder(
            len(self.labels), settings.batch_size, settings.epochs, settings.seed, rank=rank, world=world, start=start
        )

    def _place(self) -> tuple[int, int]:
        """Rank and number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self._trainer is not None else (0, 1)

    def on_train_start(self) -> None:
        """Tell who watches that the loop begins."""
        self.on_fit_begins()

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches with their labels, from the step that the restored progress names."""
        done = self.trainer.fit_loop.epoch_loop.batch_progress.state_dict()["total"]["processed"]
        workers = self.settings.workers
        return loader(
            self.training_source.dataset,
            self._order_from(done),
            workers=workers,
            collate=Labelled(self.labels, self.training_source.collate),
            pin_memory=torch.cuda.is_available() and workers > 0,
        )

    def clock(self, step: int) -> Clock:
        """Epoch and step of a batch number."""
        return Clock(step // self.order.steps_per_epoch, step, self.settings.epochs, len(self.order))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Refresh what the method keeps; make the draws of a step (dropout, mixing) depend on (seed, step, process)
        alone.
        """
        clock = self.clock(batch_idx)
        if self.method.refresh_due(clock):
            self.method.refresh(clock, self._seen)
        torch.manual_seed((self.settings.seed * 1_000_003 + batch_idx) * 1_009 + self.global_rank)

    def _seen(self, index: Tensor | None = None) -> Iterator[Seen]:
        images = range(len(self.labels)) if index is None else index.tolist()
        return seen(self.method.tagger, self.scoring_source, images, device=self.device, workers=self.settings.workers)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Total loss of a batch."""
        index: Tensor = batch["index"]
        with norms_can_average(self.method) if len(index) == 1 else nullcontext():
            outputs = self.method(batch["views"])
        clock = self.clock(batch_idx)
        losses = self.method.objective(outputs, batch["labels"], index, clock)
        counts: dict[str, Tensor] = {}
        if self.truth is not None:
            counts = truth_counts(self.truth, self.method, outputs, batch["labels"], index, clock)
        for name, value in (losses | counts).items():
            self.sums[name] = self.sums.get(name, 0.0) + exact(value)
        self.sums["batches"] = self.sums.get("batches", 0.0) + 1
        self._last = Step(batch_idx, index, batch["views"], outputs["logits"].detach(), losses["total"].detach())
        return losses["total"]

    def on_after_backward(self) -> None:
        """Refuse a loss or a gradient that is not finite, at the cost of one look at the device per batch; half
        precision with its loss scaler skips steps with such gradients by itself.
        """
        last, fp16 = self._last, self.settings.amp == "fp16"
        gradients = [p.grad for p in self.method.parameters() if p.grad is not None and not fp16]
        norm = torch.stack(torch._foreach_norm(gradients)).sum() if gradients else torch.zeros_like(last.loss)
        if torch.isfinite(last.loss.double() + norm.double() if last.loss.device.type != "mps" else last.loss + norm):
            return
        if torch.isfinite(last.loss):
            raise NotFiniteError(self._not_finite("a gradient", last.images, last.number))
        raise NotFiniteError(self._not_finite("the loss", last.culprits(), last.number))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep the learning rate of the step for the log: after the step it is that of the next one."""
        self.used_lr = float(optimizer.param_groups[0]["lr"])

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of all gradients; of two networks each by itself, so that one cannot slow the other down."""
        if gradient_clip_val is None:
            return
        networks: dict[str, list[torch.nn.Parameter]] = {}
        for name, parameter in self.method.named_parameters():
            one = (
                next((part for part in name.split(".") if part in {"first", "second"}), "")
                if self.method.networks == 2
                else ""
            )
            networks.setdefault(one, []).append(parameter)
        for parameters in networks.values():
            torch.nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let the moving average follow each optimizer step, then tell who watches how many steps are done."""
        if self.average is not None and self.global_step != self._stepped:
            self.average.update(self.method.tagger)
        self._stepped = self.global_step
        self.after_step(batch_idx + 1)

    def configure_optimizers(self) -> Any:
        """Optimizer and schedule as the settings and the method's rules say."""
        optimizer = make_optimizer(self.method, self.settings)
        self._plateau = make_plateau(optimizer, self.settings)
        if self._plateau is not None and self._plateau_state is not None:
            self._plateau.load_state_dict(self._plateau_state)
        scheduler = make_schedule(optimizer, self.settings, self.order.steps_per_epoch)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def judged(self, value: float) -> None:
        """Tell the schedule how good the model is on the held-out cells, the same in every process; NaN says
        nothing.
        """
        if self._plateau is not None:
            shared: float = self.trainer.strategy.broadcast(value)
            if not math.isnan(shared):
                self._plateau.step(shared)

    def epoch_sums(self) -> dict[str, float]:
        """Sums of the epoch's losses so far, and the number of its batches."""
        return {name: float(value) for name, value in self.sums.items()}

    @cached_property
    def frozen(self) -> Frozen:
        """What checkpoints leave out."""
        return Frozen(self.method.tagger)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave frozen tensors out; keep what the log and the choice of a model need to go on exactly."""
        checkpoint["state_dict"] = self.frozen.without(checkpoint["state_dict"], *_TAGGERS)
        checkpoint[DIGEST] = self.frozen.digest
        checkpoint["epoch_sums"] = self.epoch_sums()
        checkpoint["used_lr"], checkpoint["best"] = self.used_lr, self.best
        if self._plateau is not None:
            checkpoint["plateau"] = self._plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the frozen tensors back, and take up what `on_save_checkpoint` kept."""
        mine = self.state_dict()
        taggers = [prefix for prefix in _TAGGERS if any(name.startswith(prefix) for name in mine)]
        checkpoint["state_dict"] = self.frozen.completed(
            checkpoint["state_dict"], mine, checkpoint.get(DIGEST), *taggers
        )
        self.sums = dict(checkpoint["epoch_sums"])
        self.used_lr, self.best = checkpoint.get("used_lr", 0.0), checkpoint.get("best")
        self._stepped = int(checkpoint["global_step"])
        self._plateau_state = checkpoint.get("plateau")
        if self._plateau is not None and self._plateau_state is not None:  # some strategies make the optimizer first
            self._plateau.load_state_dict(self._plateau_state)

    @property
    def tagger(self) -> Tagger:
        """The network to judge and ship: the moving average if there is one."""
        self.method.settle()
        return self.average.network if self.average is not None else self.method.tagger  # type: ignore[return-value]

    def _not_finite(self, what: str, index: Tensor, step: int) -> str:
        names = [self.labels.images[i] for i in index.tolist()]
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        return (
            f"{what} is not finite at step {step}, before the weights were touched; images: {shown}; "
            "lower the learning rate, clip gradients (clip_norm) or train without amp"
        )
