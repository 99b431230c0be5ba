"""A finished tagger: a run, or its bundle copied anywhere, opened to be asked."""

import os
from functools import cache
from pathlib import Path

import torch

from partlabel.models.bundle import BundleInfo, load_bundle
from partlabel.models.tagger import Tagger
from partlabel.runs.folder import RunFolder


def open_model(run: Path | str | RunFolder) -> tuple[Tagger, BundleInfo]:
    """The tagger of a run, or of a bundle copied anywhere, in eval mode on the CPU."""
    _survive_fork()
    folder = run.path if isinstance(run, RunFolder) else Path(run)
    return load_bundle(folder / "model" if (folder / "model").is_dir() else folder)


def any_device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@cache
def _survive_fork() -> None:
    """A forked child has none of the threads of GNU OpenMP and would wait for them forever; one thread needs none."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
