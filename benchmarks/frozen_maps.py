"""How long the maps of a frozen backbone take, on one core: in batches of 32 / each image alone / by onnxruntime.

    python benchmarks/frozen_maps.py --images photos --backbone local-dir:DIR --count 600

Processor seconds (user and system) are printed beside the clock, because a machine that does something else slows the
clock alone.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch.utils.data import DataLoader

from partlabel.images.dataset import ImageDataset
from partlabel.models.encoders.base import view_settings
from partlabel.models.encoders.build import create_backbone
from partlabel.progress import SILENT
from partlabel.training.data import MapPlan, map_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--count", type=int, default=600)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    backbone = create_backbone(arguments.backbone, freeze=True)
    backbone.trunk_pool = "avg"
    views = view_settings(backbone.spec)
    names = sorted(path.name for path in arguments.images.iterdir())[: arguments.count]

    def in_batches() -> None:
        images = ImageDataset(arguments.images, names, ("plain",), views, 0)
        batches = [
            [(0, row) for row in range(start, min(start + 32, len(names)))] for start in range(0, len(names), 32)
        ]
        with torch.no_grad():
            for batch in DataLoader(images, batch_sampler=batches):
                backbone.eval().trunk(batch["views"]["plain"]).half()

    def cached(by: str) -> Callable[[], None]:
        def run() -> None:
            with tempfile.TemporaryDirectory() as cache:
                plan = MapPlan(backbone, arguments.images, names, ("plain",), views, cache=Path(cache), maps_by=by)
                map_source(plan, SILENT)

        return run

    first = None
    for what, run in (
        ("batches of 32", in_batches),
        ("each alone, torch", cached("torch")),
        ("each alone, onnxruntime (translation included)", cached("onnxruntime")),
    ):
        wall, cpu = time.perf_counter(), _cpu()
        run()
        wall, cpu = time.perf_counter() - wall, _cpu() - cpu
        first = first or (wall, cpu)
        print(
            f"{what}: {len(names) / wall:.1f} images/s, {len(names) / cpu:.1f} images per processor second; "
            f"{first[0] / wall:.2f} and {first[1] / cpu:.2f} times the first",
            flush=True,
        )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
