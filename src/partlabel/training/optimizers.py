"""Optimizer and schedule, as the settings and the method's rules say."""

import math
from typing import Any

import torch
from timm.optim.rmsprop_tf import RMSpropTF
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from partlabel.methods.base import Method, OptimizerRule
from partlabel.runs.settings import TrainSettings


def make_optimizer(method: Method[Any], settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer of what a method trains."""
    groups, lr = _parameter_groups(method, settings), settings.learning_rate
    momentum, epsilon, alpha = settings.momentum, settings.epsilon, settings.rmsprop_decay
    match settings.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=lr, eps=epsilon)
        case "adam":
            return torch.optim.Adam(groups, lr=lr, eps=epsilon)
        case "sgd":
            return torch.optim.SGD(groups, lr=lr, momentum=momentum)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=lr, alpha=alpha, eps=epsilon, momentum=momentum)
        case "rmsprop_tf":
            return RMSpropTF(groups, lr=lr, alpha=alpha, eps=epsilon, momentum=momentum)


def make_schedule(
    optimizer: torch.optim.Optimizer, settings: TrainSettings, steps_per_epoch: int
) -> LRScheduler | None:
    """What changes the learning rate after each step of the optimizer; None if nothing does.

    Args:
        optimizer: the optimizer.
        settings: of the training.
        steps_per_epoch: batches of an epoch, of which `accumulate` make a step of the optimizer.
    """

    def steps(epochs: int) -> int:
        return math.ceil(epochs * steps_per_epoch / settings.accumulate)

    whole = max(steps(settings.schedule_epochs or settings.epochs), 2)
    match settings.schedule:
        case "onecycle":
            return OneCycleLR(
                optimizer,
                [group["lr"] for group in optimizer.param_groups],
                total_steps=whole,
                pct_start=max(settings.warmup, 1.5 / whole),  # a rise of exactly one step divides by zero in torch
                cycle_momentum=settings.cycle_momentum,
            )
        case "cosine":
            return CosineAnnealingLR(optimizer, steps(settings.schedule_epochs or settings.epochs))
        case "step":
            drops, factor = [steps(epoch) for epoch in settings.step_epochs], settings.schedule_factor
            return LambdaLR(optimizer, lambda done: float(factor ** sum(done >= drop for drop in drops)))
        case "constant" | "plateau":
            return None


def make_plateau(optimizer: torch.optim.Optimizer, settings: TrainSettings) -> ReduceLROnPlateau | None:
    """What lowers the learning rate when the held-out mAP no longer rises; None with every other schedule."""
    if settings.schedule != "plateau":
        return None
    return ReduceLROnPlateau(
        optimizer, "max", factor=settings.schedule_factor, patience=settings.schedule_patience, threshold=0, eps=0
    )


def _parameter_groups(method: Method[Any], settings: TrainSettings) -> list[dict[str, Any]]:
    """Two groups per rule, those without a rule first (their learning rate is logged): weights, then biases and
    norms.
    """
    groups = []
    rules = {"": OptimizerRule(), **method.optimizer_rules}
    named = [(name, parameter) for name, parameter in method.named_parameters() if parameter.requires_grad]
    for beginning, rule in rules.items():
        mine = [p for name, p in named if max(filter(name.startswith, rules), key=len) == beginning]
        lr = rule.lr_factor * (settings.learning_rate if rule.lr is None else rule.lr)
        decay = settings.weight_decay if rule.decay else 0.0
        small = decay if settings.decay_on == "all" else 0.0
        groups.append({"params": [p for p in mine if p.ndim > 1], "lr": lr, "weight_decay": decay})
        groups.append({"params": [p for p in mine if p.ndim <= 1], "lr": lr, "weight_decay": small})
    return groups
