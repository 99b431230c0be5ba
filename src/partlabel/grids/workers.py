"""Several workers of a grid on this machine: they are started here, their lines are passed on, and they are stopped
together.
"""

import os
import signal
import subprocess
import sys
import threading
import time

from partlabel.errors import RunError
from partlabel.grids.board import Board, Outcome
from partlabel.grids.runner import CALL
from partlabel.progress import SILENT, Reporter
from partlabel.stopping import finishing_steps
from partlabel.training.threads import cores_to_use, threads_of_user
from partlabel.wording import amount


def run_workers(board: Board, jobs: int, reporter: Reporter) -> Outcome:
    """Run a grid by several processes.

    Threads are shared out: each process computes with its part of the free cores, or with OMP_NUM_THREADS threads where
    that is set. So are GPUs, in turn.

    Args:
        board: the cells.
        jobs: how many processes.
        reporter: where their lines go, each with the number of its process.

    Raises:
        RunError: all of them ended before every cell had a result.
        Interrupted: Ctrl-C; each of them has left a checkpoint.
    """
    workers = [_Worker(board, number, jobs, reporter) for number in range(1, jobs + 1)] if board.missing() else []
    with finishing_steps("stopped") as asked:
        try:
            told = False
            while [worker for worker in workers if worker.running()]:
                if asked() and not told:
                    told = True
                    _stop(workers)
                time.sleep(0.1)
        finally:
            _stop([worker for worker in workers if worker.running()])
    outcome = board.settle(reporter)
    if missing := board.missing():
        raise RunError(
            f"{amount(len(missing), 'cell')} got no result, because all workers have ended; the first is {missing[0]}. "
            "The same command goes on from there"
        )
    return outcome


def _stop(workers: list["_Worker"]) -> None:
    for worker in workers:
        worker.process.send_signal(signal.SIGTERM)


class _Worker:
    """One of the processes.

    Args:
        board: the cells.
        number: 1 for the first.
        jobs: how many there are.
        reporter: where its lines go.
    """

    def __init__(self, board: Board, number: int, jobs: int, reporter: Reporter) -> None:
        self.number, self.reporter, self.told = number, reporter, False
        command = [
            sys.executable,
            "-m",
            "partlabel",
            "bench",
            str(board.grid.path),
            "--out",
            str(board.out),
            "--worker",
        ]
        self.process = subprocess.Popen(
            command + ["--small"] * board.small + ["--quiet"] * (reporter is SILENT),
            env={**os.environ, CALL: board.call, **_threads(jobs), **_gpu(number)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=0,  # Ctrl-C reaches this process only, which stops the others once
        )
        self.reader = threading.Thread(target=self._pass_on, daemon=True)
        self.reader.start()

    def running(self) -> bool:
        """Whether it runs; its end is told once."""
        code = self.process.poll()
        if code is None:
            return True
        if not self.told:
            self.told = True
            self.reader.join(timeout=5)
            if code < 0:
                self.reporter.say(f"[{self.number}] killed by signal {-code}; the others take its cell over")
        return False

    def _pass_on(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.reporter.say(f"[{self.number}] {line.rstrip()}")


def _threads(jobs: int) -> dict[str, str]:
    return {} if threads_of_user() else {"OMP_NUM_THREADS": str(max(1, cores_to_use() // jobs))}


def _gpu(number: int) -> dict[str, str]:
    """One of the GPUs that this process may use, if there are several."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(index) for index in range(torch.cuda.device_count())] if visible is None else visible.split(",")
    return {"CUDA_VISIBLE_DEVICES": names[(number - 1) % len(names)]} if len(names) > 1 else {}
