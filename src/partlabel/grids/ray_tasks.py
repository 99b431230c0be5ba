"""Cells of a grid as tasks of a Ray cluster (extra `ray`)."""

import importlib.util
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from partlabel.errors import MissingDependencyError, RunError, UsageError
from partlabel.grids.hand_out import Job, Task


class Ray:
    """Starts tasks.

    Args:
        work: what a task does, importable on all nodes.
        options: "address" of the cluster (one on this machine if left out and none is found), and what a task takes:
            num_gpus, num_cpus, memory, or another option of `ray.remote`.

    Raises:
        MissingDependencyError: Ray is not installed.
        UsageError: an option that cannot be used.
        RunError: the cluster does not answer.
    """

    def __init__(self, work: Callable[[Task], None], options: Mapping[str, Any]) -> None:
        if importlib.util.find_spec("ray") is None:
            raise MissingDependencyError("--submit ray needs Ray: pip install 'partlabel[ray]'")
        import ray

        takes = {name: value for name, value in options.items() if name != "address"}
        try:
            ray.init(
                address=options.get("address"),
                ignore_reinit_error=True,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise RunError(f"no Ray cluster at {options.get('address', 'this machine')}: {error}") from error
        try:
            self.remote = ray.remote(max_retries=0, **takes)(_in_task)
        except (TypeError, ValueError) as error:
            raise UsageError(f"--ray: {error}") from error
        self.work = work

    def submit(self, tasks: list[Task]) -> list[Job]:
        """Start the tasks."""
        return [_RayJob(self.remote.remote(self.work, task, os.getcwd())) for task in tasks]


class _RayJob:
    def __init__(self, reference: Any) -> None:
        self.reference = reference

    def ended(self) -> bool:
        import ray

        return bool(ray.wait([self.reference], timeout=0)[0])

    def last_words(self) -> str:
        import ray

        try:
            ray.get(self.reference)
        except Exception as error:  # whatever ended the task
            return f"Ray says: {str(error).strip().splitlines()[-1]}"
        return "Ray says nothing of it"

    def cancel(self) -> None:
        import ray

        ray.cancel(self.reference, force=False)


def _in_task(work: Callable[[Task], None], task: Task, folder: str) -> None:
    """Run in the task: relative paths are those of whoever handed it out."""
    if os.path.isdir(folder):
        os.chdir(folder)
    work(task)
