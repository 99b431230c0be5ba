"""What the local-global convolution costs: time of a training step and parameters, against the same network without
it.

    python benchmarks/local_global_cost.py --repeats 3

A step is forward, backward and SGD on random images in channels-last layout. The networks of a row take turns and each
counts by its shortest step, so that a ratio is taken within one run. "projecting first" is the same branch with the
value projection at every place, as in the paper, in place of once a head. On a shared machine the ratios vary: run it
more than once.
"""

import argparse
import os
import time
from types import MethodType

import timm
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from partlabel.models.encoders.local_global import GlobalBranch, add_local_global, branch_parameters


def projected_first(branch: GlobalBranch, maps: Tensor, scores: Tensor) -> Tensor:
    """The gathered vectors as the paper computes them: every place projected, each head's channels summed by its
    weights.
    """
    weights = scores.flatten(2).softmax(2)
    values = branch.value(maps).flatten(2).unflatten(1, (branch.heads, -1))
    of_head = (values @ weights.unsqueeze(3)).flatten(1)
    return of_head.unsqueeze(1).expand(-1, branch.heads, -1)


def network(name: str, kind: str) -> nn.Module:
    """Three copies with the same weights: plain, with branches, and with branches that project first."""
    torch.manual_seed(0)
    made: nn.Module = timm.create_model(name, num_classes=80)
    if kind != "plain":
        add_local_global(made)
    if kind == "projecting first":
        for module in made.modules():
            if isinstance(module, GlobalBranch):
                module.gathered = MethodType(projected_first, module)  # type: ignore[method-assign]
    return made.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]


def step_seconds(made: nn.Module, images: Tensor) -> float:
    optimizer = torch.optim.SGD(made.parameters(), lr=1e-4)
    start = time.perf_counter()
    made(images).square().mean().backward()
    optimizer.step()
    seconds = time.perf_counter() - start
    made.zero_grad()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet18", "resnet50", "mobilenetv2_100"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    images = torch.randn(arguments.batch_size, 3, arguments.size, arguments.size).to(memory_format=torch.channels_last)

    kinds = ("plain", "branches", "projecting first")
    title = f"a training step at {arguments.size} px, batch {arguments.batch_size}"
    table = Table(
        "network", "changed", "parameters", "added", "plain, s", "with branches", "projecting first", title=title
    )
    for name in arguments.networks:
        made = {kind: network(name, kind) for kind in kinds}
        with torch.no_grad():
            values = [made[kind].eval()(images[:1]) for kind in kinds[1:]]
        torch.testing.assert_close(*values, rtol=1e-4, atol=1e-5)
        shortest = dict.fromkeys(kinds, float("inf"))
        for _ in range(arguments.repeats + 1):  # the first round warms up, and is never the shortest
            for kind in kinds:
                shortest[kind] = min(shortest[kind], step_seconds(made[kind].train(), images))
        plain = sum(parameter.numel() for parameter in made["plain"].parameters())
        added, base = sum(p.numel() for p in branch_parameters(made["branches"])), shortest["plain"]
        changed = sum(isinstance(module, GlobalBranch) for module in made["branches"].modules())
        table.add_row(
            name,
            str(changed),
            f"{plain / 1e6:.2f} M",
            f"{added / 1e6:.2f} M = {added / plain:.1%}",
            f"{base:.2f}",
            f"× {shortest['branches'] / base:.2f}",
            f"× {shortest['projecting first'] / base:.2f}",
        )
    console = Console(width=120)
    console.print(table)
    console.print(f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
