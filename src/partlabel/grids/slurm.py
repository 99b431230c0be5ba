"""Cells of a grid as jobs of Slurm, by submitit (extra `slurm`)."""

import importlib.util
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from partlabel.errors import MissingDependencyError, RunError, UsageError
from partlabel.grids.hand_out import Job, Task
from partlabel.stopping import stoppable_command

_ASK_EVERY = 5.0
"""Seconds between two questions to Slurm."""
_DEFAULTS = {"job_name": "partlabel", "time": 1440, "signal_delay_s": 60}
"""A job that the time limit stops goes on in the next one, so a day harms nobody."""


class Slurm:
    """Starts jobs.

    Args:
        out: the folder of the results; logs of the jobs go to `jobs` in it.
        work: what a job does, importable on all nodes.
        options: of sbatch, such as partition, gpus, cpus_per_task, mem or time (in minutes).

    Raises:
        MissingDependencyError: submitit is not installed.
        UsageError: an option that cannot be used, or no Slurm here.
    """

    def __init__(self, out: Path, work: Callable[[Task], None], options: Mapping[str, Any]) -> None:
        if importlib.util.find_spec("submitit") is None:
            raise MissingDependencyError("--submit slurm needs submitit: pip install 'partlabel[slurm]'")
        import submitit

        self.work, self.queue = work, _Queue()
        given = {**_DEFAULTS, **{name.replace("-", "_"): value for name, value in options.items()}}
        known = submitit.SlurmExecutor._valid_parameters()
        settings = {name: value for name, value in given.items() if name in known}
        settings["additional_parameters"] = {name: value for name, value in given.items() if name not in known}
        try:
            self.executor = submitit.SlurmExecutor(folder=out.resolve() / "jobs")
            self.executor.update_parameters(**settings)
        except (RuntimeError, TypeError, ValueError) as error:
            raise UsageError(f"no jobs can be handed to Slurm: {error}") from error

    def submit(self, tasks: list[Task]) -> list[Job]:
        """Start one job for each task, as one array.

        Raises:
            RunError: Slurm refuses them.
        """
        from submitit.core.utils import FailedJobError

        try:
            jobs = self.executor.map_array(_in_job, [self.work] * len(tasks), tasks)
        except (FailedJobError, OSError) as error:
            raise RunError(f"Slurm refuses the jobs: {str(error).strip()}") from error
        self.queue.asked_at = time.monotonic()  # a job may be in the queue a moment after it was accepted
        return [_SlurmJob(job, self.queue) for job in jobs]


class _Queue:
    """The jobs of this user that Slurm knows; squeue is there where accounting, and so sacct, is not."""

    def __init__(self) -> None:
        self.asked_at, self.known = time.monotonic(), set[str]()
        self.answers = 0

    def look(self) -> None:
        """Ask again, if that is long ago."""
        if time.monotonic() - self.asked_at < _ASK_EVERY:
            return
        self.asked_at = time.monotonic()
        command = ["squeue", "--noheader", "--array", "--me", "--format=%i"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode == 0:  # else Slurm does not answer now
            self.known = set(answer.stdout.split())
            self.answers += 1


class _SlurmJob:
    def __init__(self, job: Any, queue: _Queue) -> None:
        self.job, self.queue, self.answers_before = job, queue, queue.answers

    def ended(self) -> bool:
        self.queue.look()
        unknown = self.queue.answers > self.answers_before and self.job.job_id not in self.queue.known
        return unknown or bool(self.job.paths.result_pickle.exists())

    def last_words(self) -> str:
        return f"Slurm's job {self.job.job_id}, see {self.job.paths.stderr}"

    def cancel(self) -> None:
        self.job.cancel(check=False)


def _in_job(work: Callable[[Task], None], task: Task) -> None:
    """Run in the job: Slurm's signal before the time limit stops the training with a checkpoint."""
    with stoppable_command():
        signal.signal(signal.SIGUSR2, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM))
        work(task)
