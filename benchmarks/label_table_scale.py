"""How long a large long CSV takes to load, how much memory, and how fast a batch of rows is.

    python benchmarks/label_table_scale.py --dir /tmp [--images 1000000] [--classes 5000] [--cells 20000000]
    [--shuffled]

Writes a CSV of images × classes with that many known cells into a new folder in DIR, loads it in a fresh process,
prints seconds, peak resident memory and milliseconds a batch of 256 random rows, and removes the folder. The images
stand in order, as an export writes them; --shuffled scatters all cells.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from partlabel.formats import read_table

CHUNK = 1_000_000


def generate(path: Path, images: int, classes: int, cells: int, shuffled: bool, seed: int = 0) -> None:
    """Write distinct cells, the same number for each image, about a tenth of them present."""
    per_image = cells // images
    names = pa.array([f"folder_{i % 100:02d}/image_{i:07d}.jpg" for i in range(images)])
    class_names = pa.array([f"class {i:04d}" for i in range(classes)])
    words = pa.array(["0", "1"])
    generator = np.random.default_rng(seed)
    order = generator.permutation(images * per_image) if shuffled else None
    first_class = generator.integers(0, classes, images)
    step = classes // per_image
    with (
        path.open("wb") as stream,
        pa.csv.CSVWriter(
            stream,
            pa.schema([("image", pa.string()), ("class", pa.string()), ("state", pa.string())]),
            write_options=pa.csv.WriteOptions(quoting_style="none"),
        ) as writer,
    ):
        for start in range(0, images * per_image, CHUNK):
            numbers = np.arange(start, min(start + CHUNK, images * per_image))
            image, place = np.divmod(numbers if order is None else order[numbers], per_image)
            class_index = (first_class[image] + place * step) % classes
            state = (generator.random(numbers.size) < 0.1).astype(np.int64)
            columns = [
                names.take(pa.array(image)),
                class_names.take(pa.array(class_index)),
                words.take(pa.array(state)),
            ]
            writer.write_table(pa.table(columns, names=["image", "class", "state"]))


def load(path: Path) -> dict[str, float]:
    start, start_cpu = time.perf_counter(), time.process_time()
    table = read_table(path, codes="1=present,0=absent").table
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    generator = np.random.default_rng(1)
    times = []
    for _ in range(200):
        index = generator.integers(0, len(table), 256)
        start = time.perf_counter()
        table.rows(index)
        times.append((time.perf_counter() - start) * 1000)
    return {
        "images": len(table.images),
        "classes": len(table.classes),
        "cells": int(table.states.size),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_gb": peak / 1e9,
        "rows_ms_median": statistics.median(times),
        "rows_ms_worst": max(times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=5_000)
    parser.add_argument("--cells", type=int, default=20_000_000)
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        print(json.dumps(load(arguments.load)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        path = Path(folder) / "labels.csv"
        generate(path, arguments.images, arguments.classes, arguments.cells, arguments.shuffled)
        # A process of its own, so that the peak is that of loading alone.
        command = [sys.executable, __file__, "--load", str(path)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        size = path.stat().st_size / 1e9
    print(
        f"{found['images']:,} images × {found['classes']:,} classes, {found['cells']:,} known cells, {size:.2f} GB "
        f"of CSV"
    )
    print(
        f"load: {found['seconds']:.1f} s, {found['cpu_seconds']:.1f} s of CPU; peak resident memory "
        f"{found['peak_gb']:.2f} GB"
    )
    print(f"256 random rows: median {found['rows_ms_median']:.2f} ms, worst of 200 {found['rows_ms_worst']:.2f} ms")


if __name__ == "__main__":
    main()
