"""The number of threads of a run: chosen when it begins, and kept, because another number gives other last bits."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from partlabel.methods.base import Method
from partlabel.progress import Reporter
from partlabel.runs.folder import RunFolder
from partlabel.runs.processes import process_rank
from partlabel.runs.settings import TrainSettings
from partlabel.training.map_cache import trunk_shape
from partlabel.training.threads import threads_for, threads_of_user


def work_of_a_step(method: Method[Any], settings: TrainSettings) -> float:
    """About how many multiplications a training step takes; infinite where stages of a backbone are trained."""
    if not settings.freeze or settings.train_last:
        return math.inf
    weights = sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad)
    locations = math.prod(trunk_shape(method.tagger.backbone)[1:])
    return 3.0 * weights * locations * settings.batch_size


@contextmanager
def threads_of_run(run: RunFolder, multiplications: float, reporter: Reporter) -> Iterator[int]:
    """Compute with the run's number of threads inside the block, and keep the number in run.json."""
    earlier = run.info.get("threads")
    count = threads_of_user() or earlier or threads_for(multiplications)
    if earlier not in {None, count}:
        reporter.say(f"the run began with {earlier} thread(s); with {count} the last bits of its weights may differ")
    elif earlier is None:
        reporter.say(f"training with {count} thread(s); OMP_NUM_THREADS sets another number")
    if earlier != count and not process_rank():
        run.update(threads=count)
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)
