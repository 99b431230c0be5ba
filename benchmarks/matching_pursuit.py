"""How long joint matching pursuit takes for a batch of queries at once, against one query after the other, and how much
memory.

    python benchmarks/matching_pursuit.py [--queries 256] [--atoms 10000] [--features 2048] [--classes 5000] [--steps
    5]

Vectors are mixtures of 300 themes plus noise, so that every step finds an atom. The loop goes over queries as the
official code does, each against the whole dictionary at once, but without that code's copy of the dictionary a query;
it is timed on --loop queries and scaled to all. Each way runs in a process of its own; memory is the peak beyond what
the inputs took.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from torch import Tensor

from partlabel.losses.matching_pursuit import joint_matching_pursuit, near_pairs

LAMBDA_Y, LAMBDA_F, THRESHOLD, RADIUS = 1.0, 0.5, 1e-6, 1e-3


def vectors(arguments: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Labels in [-0.5, 1] and non-negative features of queries and atoms."""
    torch.manual_seed(0)
    rows = arguments.queries + arguments.atoms
    mix_y, mix_f = torch.randn(300, arguments.classes), torch.randn(300, arguments.features)
    y, f = torch.empty(rows, arguments.classes), torch.empty(rows, arguments.features)
    for start in range(
        0, rows, 128
    ):  # in blocks, so that the inputs themselves are the peak until the measured part starts
        themes = torch.rand(min(128, rows - start), 300).pow_(8)
        y[start : start + 128] = (themes @ mix_y).tanh_().clamp_(min=-0.5)
        f[start : start + 128] = (themes @ mix_f).relu_() + 0.1 * torch.rand(len(themes), arguments.features)
    return y[: arguments.queries], f[: arguments.queries], y[arguments.queries :], f[arguments.queries :]


def at_once(y: Tensor, f: Tensor, atoms_y: Tensor, atoms_f: Tensor, steps: int) -> list[list[int]]:
    """All queries together."""
    found = joint_matching_pursuit(
        y,
        f,
        atoms_y,
        atoms_f,
        lambda_y=LAMBDA_Y,
        lambda_f=LAMBDA_F,
        steps=steps,
        threshold=THRESHOLD,
        excluded=near_pairs(f, atoms_f, RADIUS),
    )
    return [[index for index in row if index >= 0] for row in found.indices.tolist()]


def one_by_one(y: Tensor, f: Tensor, atoms_y: Tensor, atoms_f: Tensor, steps: int) -> list[list[int]]:
    """A loop over queries."""
    sizes_y, sizes_f = atoms_y.square().sum(1), atoms_f.square().sum(1)
    found = []
    for query_y, query_f in zip(y, f, strict=True):
        allowed = (atoms_f - query_f).norm(dim=1) >= RADIUS
        left_y, left_f, chosen = query_y, query_f, []
        for _ in range(steps):
            inner_y, inner_f = atoms_y @ left_y, atoms_f @ left_f
            score = LAMBDA_Y * inner_y**2 / sizes_y + LAMBDA_F * inner_f**2 / sizes_f
            score[~(allowed & (inner_y > 0) & (inner_f > 0))] = -1
            best = int(score.argmax())
            if score[best] <= THRESHOLD:
                break
            chosen.append(best)
            allowed[best] = False
            left_y = (
                query_y
                - torch.linalg.lstsq(atoms_y[chosen].T, query_y[:, None]).solution[:, 0].clamp(min=0) @ atoms_y[chosen]
            )
            left_f = (
                query_f
                - torch.linalg.lstsq(atoms_f[chosen].T, query_f[:, None]).solution[:, 0].clamp(min=0) @ atoms_f[chosen]
            )
        found.append(chosen)
    return found


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Seconds, peak memory beyond the inputs, and what was chosen, in this process."""
    y, f, atoms_y, atoms_f = vectors(arguments)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    queries = arguments.loop if arguments.way == "one_by_one" else arguments.queries
    start, start_cpu = time.perf_counter(), time.process_time()
    found = {"at_once": at_once, "one_by_one": one_by_one}[arguments.way](
        y[:queries], f[:queries], atoms_y, atoms_f, arguments.steps
    )
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    scale = arguments.queries / queries
    return {"seconds": seconds * scale, "cpu_seconds": cpu_seconds * scale, "peak": peak * 1024, "found": found}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (
        ("queries", 256),
        ("atoms", 10_000),
        ("features", 2048),
        ("classes", 5000),
        ("steps", 5),
        ("loop", 8),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--way", choices=["at_once", "one_by_one"], help="measure one way in this process (internal)")
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measure(arguments)))
        return
    results = {}
    for way in ("at_once", "one_by_one"):
        command = [sys.executable, __file__, "--way", way, *sys.argv[1:]]
        results[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    batched, loop = results["at_once"], results["one_by_one"]
    same = sum(one == other for one, other in zip(batched["found"], loop["found"], strict=False))
    chosen = sum(len(row) for row in batched["found"]) / len(batched["found"])
    for way, result in results.items():
        print(
            f"{way}: {result['seconds']:.2f} s, {result['cpu_seconds']:.2f} s of CPU, {result['peak'] / 1e6:.0f} MB "
            f"beyond the "
            f"inputs, from {len(result['found'])} queries"
        )
    ratios = (loop[unit] / batched[unit] for unit in ("seconds", "cpu_seconds"))
    print(
        "times as fast: {:.1f} by the clock, {:.1f} by CPU time".format(*ratios),
        f"on {torch.get_num_threads()} threads",
    )
    print(f"{chosen:.1f} atoms a query; ", end="")
    print(f"the same atoms for {same} of {len(loop['found'])} queries")


if __name__ == "__main__":
    main()
