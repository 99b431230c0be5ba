"""The usual cut of MSRC v2 into training and test images, as two label files; test images are those whose name, hashed
with SHA-1, is a multiple of three.

    python benchmarks/msrc_v2_split.py DIR OUT

DIR holds labels.csv: a column `image`, and a column for each class with 1 and 0.
"""

import argparse
import hashlib
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    header, *lines = (arguments.data / "labels.csv").read_text().splitlines()
    parts: dict[str, list[str]] = {"train": [], "test": []}
    for line in lines:
        digest = hashlib.sha1(line.partition(",")[0].encode(), usedforsecurity=False).hexdigest()
        parts["test" if int(digest, 16) % 3 == 0 else "train"].append(line)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, chosen in parts.items():
        (arguments.out / f"{name}.csv").write_text("\n".join([header, *chosen]) + "\n")
        print(f"{arguments.out / name}.csv: {len(chosen)} images")


if __name__ == "__main__":
    main()
