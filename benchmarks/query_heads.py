"""Weights and time of heads on the same maps: pooling with a linear layer, ML-Decoder and Query2Label.

    python benchmarks/query_heads.py
    python benchmarks/query_heads.py --device cuda --batch 64

For each head and number of classes: how many weights it has, and milliseconds an image of a forward pass and of a
training step (forward and backward, without the backbone and the optimizer), the shortest of `--repeats`. "official"
has the widths of the official codes, "light" those of benchmarks/corel5k_query.toml. Query2Label asks a question for
each class, ML-Decoder at most 100, so that the first is left out where there are more than `--most` classes.
"""

import argparse
import time
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from partlabel.models.heads import Head, HeadSpec, build_head

HEADS: dict[str, HeadSpec] = {
    "pooled": HeadSpec(),
    "ml_decoder, official": HeadSpec(kind="ml_decoder"),
    "ml_decoder, light": HeadSpec(kind="ml_decoder", settings={"width": 256, "feed_forward": 512}),
    "query2label, official": HeadSpec(kind="query2label"),
    "query2label, light": HeadSpec(kind="query2label", settings={"reduction": 256, "feed_forward": 512}),
}


def milliseconds(head: Head, maps: torch.Tensor, repeats: int, *, step: bool) -> float:
    """Of one image, forward or forward and backward; the shortest of some passes after a first one."""
    times = []
    for _ in range(repeats + 1):
        if maps.is_cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        if step:
            head.zero_grad()
            head(maps).logits.square().mean().backward()
        else:
            with torch.no_grad():
                head(maps)
        if maps.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:]) / len(maps)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=2048, help="channels of the maps; a ResNet's: 2048")
    parser.add_argument(
        "--side", type=int, default=7, help="places along a side of the maps; 7 at 224 pixels, 14 at 448"
    )
    parser.add_argument("--classes", type=int, nargs="+", default=[80, 1000, 10_000])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--most", type=int, default=1000, help="most classes that Query2Label is given")
    parser.add_argument("--device", default="cpu")
    given: Any = parser.parse_args()
    table = Table("head", "classes", "million weights", "ms an image, forward", "ms an image, step")
    torch.manual_seed(0)
    maps = torch.randn(given.batch, given.features, given.side, given.side, device=given.device)
    for classes in given.classes:
        for name, spec in HEADS.items():
            if spec.kind == "query2label" and classes > given.most:
                continue
            head = build_head(spec, given.features, classes).to(given.device)
            weights = sum(parameter.numel() for parameter in head.parameters()) / 1e6
            passes = [milliseconds(head, maps, given.repeats, step=step) for step in (False, True)]
            table.add_row(name, f"{classes:,}", f"{weights:.1f}", *(f"{value:.1f}" for value in passes))
    Console(width=120).print(f"maps {tuple(maps.shape)} on {given.device}, {torch.get_num_threads()} thread(s)", table)


if __name__ == "__main__":
    main()
