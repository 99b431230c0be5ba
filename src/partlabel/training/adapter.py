"""The one adapter between a method and Lightning's loop.

All epochs run as a single Lightning epoch, because its loop resumes exactly only inside one (docs/decisions). The
adapter knows at each step which epoch it is in.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from partlabel.errors import NotFiniteError, UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Method, OptimizerRule, Seen
from partlabel.models.tagger import Tagger
from partlabel.runs.settings import TrainSettings
from partlabel.training.data import Source
from partlabel.training.ema import MovingAverage
from partlabel.training.order import TrainingOrder
from partlabel.training.scoring import seen


class Adapter(lightning.LightningModule):
    """Runs a method's forward and objective on batches of (views, index), with labels taken from the table.

    Args:
        method: what to train.
        labels: the training table; row numbers are the dataset's indices.
        training: gives `{"views": {name: tensor}, "index": int}` for an (epoch, index).
        scoring: gives the plain view of the same images.
        settings: how to train.
    """

    def __init__(
        self, method: Method[Any], labels: LabelTable, training: Source, scoring: Source, settings: TrainSettings
    ) -> None:
        super().__init__()
        self.method = method
        self.average = MovingAverage(method.tagger, settings.ema) if settings.ema else None
        self.labels, self.training_source, self.scoring_source, self.settings = labels, training, scoring, settings
        self.sums: dict[str, float] = {}
        self.after_step: Callable[[int], None] = lambda step: None
        self._stepped = 0

    def order(self, start: int = 0) -> TrainingOrder:
        """The order of this training from a step on."""
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self._trainer is not None else (1, 0)
        settings = self.settings
        return TrainingOrder(
            len(self.labels), settings.batch_size, settings.epochs, settings.seed, rank=rank, world=world, start=start
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches from the step that the restored progress names."""
        done = self.trainer.fit_loop.epoch_loop.batch_progress.state_dict()["total"]["processed"]
        workers = self.settings.workers
        return DataLoader(
            self.training_source.dataset,
            batch_sampler=self.order(done),
            num_workers=workers,
            collate_fn=self.training_source.collate,
            persistent_workers=False,
            pin_memory=torch.cuda.is_available() and workers > 0,
        )

    def clock(self, step: int) -> Clock:
        """Epoch and step of a batch number."""
        order = self.order()
        return Clock(step // order.steps_per_epoch, step, self.settings.epochs, len(order))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Refresh what the method keeps; make the draws of a step (dropout, mixing) depend on (seed, step, process)
        alone.
        """
        clock = self.clock(batch_idx)
        if self.method.refresh_due(clock):
            self.method.refresh(clock, self._seen)
        torch.manual_seed((self.settings.seed * 1_000_003 + batch_idx) * 1_009 + self.global_rank)

    def _seen(self) -> Iterator[Seen]:
        return seen(
            self.method.tagger, self.scoring_source, len(self.labels), device=self.device, workers=self.settings.workers
        )

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Total loss of a batch; refuses one that is not finite."""
        index: Tensor = batch["index"]
        labels = torch.from_numpy(self.labels.rows(index.cpu().numpy())).to(index.device)
        try:
            outputs = self.method(batch["views"])
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UsageError(
                "a batch of one image whose map is one place leaves a batch norm nothing to average; take a "
                "batch_size above 1, a larger size, or frozen_norm"
            ) from error
        losses = self.method.objective(outputs, labels, index, self.clock(batch_idx))
        total = losses["total"]
        if not torch.isfinite(total):
            culprits = _not_finite_rows(batch["views"]) or _not_finite_rows({"logits": outputs["logits"]})
            raise NotFiniteError(self._not_finite("the loss", index[culprits] if culprits else index, batch_idx))
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
        self.sums["batches"] = self.sums.get("batches", 0.0) + 1
        self._last_index = index
        return total

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Refuse gradients that are not finite; half precision with its loss scaler skips such steps by itself."""
        if self.settings.amp == "fp16":
            return
        gradients = [parameter.grad for parameter in self.method.parameters() if parameter.grad is not None]
        if gradients and not torch.isfinite(torch.stack(torch._foreach_norm(gradients)).sum()):
            raise NotFiniteError(self._not_finite("a gradient", self._last_index, self.global_step))

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
        settings, lr = self.settings, self.settings.learning_rate
        groups = self._parameter_groups()
        optimizer: torch.optim.Optimizer
        if settings.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, lr=lr, momentum=settings.momentum)
        else:
            optimizer = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[settings.optimizer](groups, lr=lr)
        steps = self.optimizer_steps
        scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
        if settings.schedule == "onecycle":
            scheduler = torch.optim.lr_scheduler.OneCycleLR(
                optimizer,
                [group["lr"] for group in groups],
                total_steps=max(steps, 2),
                pct_start=max(
                    settings.warmup, 1.5 / max(steps, 2)
                ),  # a rise of exactly one step divides by zero in torch
                cycle_momentum=False,
            )
        elif settings.schedule == "cosine":
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Two groups a rule, those without a rule first (their learning rate is logged); decay spares biases and
        norms.
        """
        settings, groups = self.settings, []
        rules = {"": OptimizerRule(), **self.method.optimizer_rules}
        named = [(name, parameter) for name, parameter in self.method.named_parameters() if parameter.requires_grad]
        for beginning, rule in rules.items():
            mine = [p for name, p in named if max(filter(name.startswith, rules), key=len) == beginning]
            lr, decay = settings.learning_rate * rule.lr_factor, settings.weight_decay if rule.decay else 0.0
            groups.append({"params": [p for p in mine if p.ndim > 1], "lr": lr, "weight_decay": decay})
            groups.append({"params": [p for p in mine if p.ndim <= 1], "lr": lr, "weight_decay": 0.0})
        return groups

    @property
    def optimizer_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return math.ceil(len(self.order()) / self.settings.accumulate)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Running sums of the epoch belong to the checkpoint, so that the log goes on exactly."""
        checkpoint["epoch_sums"] = dict(self.sums)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the running sums up again."""
        self.sums = dict(checkpoint["epoch_sums"])
        self._stepped = int(checkpoint["global_step"])

    @property
    def tagger(self) -> Tagger:
        """The network to judge and ship: the moving average if there is one."""
        return self.average.network if self.average is not None else self.method.tagger  # type: ignore[return-value]

    def _not_finite(self, what: str, index: Tensor, step: int) -> str:
        names = [self.labels.images[i] for i in index.tolist()]
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        return (
            f"{what} is not finite at step {step}, before the weights were touched; images: {shown}; "
            "lower the learning rate, clip gradients (clip_norm) or train without amp"
        )


def _not_finite_rows(tensors: Mapping[str, Tensor]) -> list[int]:
    """Places in the batch where some tensor holds a NaN or infinity."""
    finite = torch.stack([torch.isfinite(tensor).flatten(1).all(1) for tensor in tensors.values()]).all(0)
    return torch.nonzero(~finite).flatten().tolist()
