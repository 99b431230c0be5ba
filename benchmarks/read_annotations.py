"""How long a large COCO file of instances takes to read, and how much memory.

    python benchmarks/read_annotations.py --dir /tmp [--images 82783] [--annotations 604907] [--numbers 30]

Writes a file of that many images and annotations, each with a polygon of that many numbers, into a new folder in DIR,
reads it in a fresh process, prints its size, seconds and peak resident memory, and removes the folder. The defaults
are the numbers of COCO 2014 train; --annotations 2500000 makes a gigabyte.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from partlabel.formats import read_table

CLASSES = 80


def generate(path: Path, images: int, annotations: int, numbers: int) -> None:
    """Write the lists in the order of COCO, with the fields that it has."""
    generator = random.Random(0)
    polygons = [str([round(generator.uniform(0, 640), 2) for _ in range(numbers)]) for _ in range(1000)]
    with path.open("w") as stream:
        stream.write('{"info": {"description": "COCO 2014 Dataset"}, "images": [')
        for i in range(images):
            stream.write(
                f'{", " * (i > 0)}{{"license": 5, "file_name": "COCO_train2014_{i:012d}.jpg", "coco_url": '
                f'"http://images.cocodataset.org/train2014/COCO_train2014_{i:012d}.jpg", "height": 480, "width": 640, '
                f'"date_captured": "2013-11-14 16:28:13", "flickr_url": "http://farm9.staticflickr.com/8035/8024.jpg", '
                f'"id": {7 * i + 3}}}'
            )
        stream.write('], "licenses": [], "annotations": [')
        for i in range(annotations):
            stream.write(
                f'{", " * (i > 0)}{{"segmentation": [{polygons[i % 1000]}], "area": 702.1057499999998, "iscrowd": 0, '
                f'"image_id": {i * 31 % images * 7 + 3}, "bbox": [473.07, 395.93, 38.65, 28.67], '
                f'"category_id": {generator.randrange(CLASSES) + 1}, "id": {i + 1}}}'
            )
        categories = [{"supercategory": "thing", "id": i + 1, "name": f"class {i}"} for i in range(CLASSES)]
        stream.write(f'], "categories": {json.dumps(categories)}}}')


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def read(path: Path) -> dict[str, float]:
    before, start, start_cpu = peak(), time.perf_counter(), time.process_time()
    table = read_table(path, format="coco").table
    return {
        "images": len(table.images),
        "cells": int(table.states.size),
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - start_cpu,
        "peak_gb": peak(),
        "before_gb": before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--images", type=int, default=82_783)
    parser.add_argument("--annotations", type=int, default=604_907)
    parser.add_argument("--numbers", type=int, default=30)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(arguments.read)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        path = Path(folder) / "instances.json"
        generate(path, arguments.images, arguments.annotations, arguments.numbers)
        # A process of its own, so that the peak is that of reading alone.
        command = [sys.executable, __file__, "--read", str(path)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        size = path.stat().st_size / 1e9
    print(f"{arguments.annotations:,} annotations of {found['images']:,} images, {size:.2f} GB of JSON")
    print(
        f"read: {found['seconds']:.1f} s, {found['cpu_seconds']:.1f} s of CPU; peak resident memory "
        f"{found['peak_gb']:.2f} GB, of which the program itself {found['before_gb']:.2f} GB"
    )


if __name__ == "__main__":
    main()
