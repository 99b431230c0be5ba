"""Lightning's trainer as partlabel wants it: one epoch, its own checkpoints, its own processes, quiet."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger
from lightning_utilities.core.rank_zero import rank_zero_only

from partlabel.errors import MissingDependencyError, UsageError
from partlabel.runs.folder import RunFolder
from partlabel.runs.processes import Group
from partlabel.runs.settings import TrainSettings
from partlabel.training.checkpoint import AtomicCheckpointIO

_PRECISION: dict[str, Any] = {"none": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def make_trainer(run: RunFolder, settings: TrainSettings, group: Group) -> lightning.Trainer:
    """The trainer of one phase.

    Raises:
        UsageError: the settings ask for what this machine or this group of processes has not.
        MissingDependencyError: a logger is not installed.
    """
    rank_zero_only.rank = group.rank  # type: ignore[attr-defined]  # Lightning took it from whatever the environment held when it was imported
    asked = (
        f"accelerator {settings.accelerator!r}, devices {settings.devices!r}, strategy {settings.strategy!r} and amp "
        f"{settings.amp!r}"
    )
    try:
        trainer = lightning.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=settings.strategy,
            precision=_PRECISION[settings.amp],
            max_epochs=1,
            gradient_clip_val=settings.clip_norm or None,
            accumulate_grad_batches=settings.accumulate,
            plugins=[AtomicCheckpointIO(), TorchElasticEnvironment() if group.torchrun else LightningEnvironment()],
            logger=_loggers(run, settings),
            default_root_dir=run.path,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, ModuleNotFoundError, ValueError, RuntimeError) as error:
        raise UsageError(f"cannot train with {asked}: {str(error).splitlines()[0]}") from error
    if group.size not in {1, trainer.world_size}:
        raise UsageError(f"{group.size} processes were started, but {asked} make {trainer.world_size}")
    return trainer


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


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without Lightning's advice that does not apply: the order of batches, workers and resuming are partlabel's
    own.
    """
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        for message in (
            r".*does not have many workers.*",
            r".*resuming from a checkpoint that ended before the epoch ended.*",
            r".*is smaller than the logging interval.*",
            r".*Found .* module\(s\) in eval mode.*",
            r".*GPU available but not used.*",
            r".*LeafSpec.*",
            r".*isinstance\(treespec.*",
            r".*lr_scheduler\.step.*",
        ):
            warnings.filterwarnings("ignore", message=message)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
