"""Whether `recover` keeps its promise on labels whose hidden part is known, over many masks.

    PARTLABEL_COREL5K=DIR PARTLABEL_MOBILENETV2=DIR python benchmarks/promise_on_masks.py corel5k --out runs/promise
    PARTLABEL_MSRC_V2=DIR PARTLABEL_MSRC_V2_SPLIT=DIR ... python benchmarks/promise_on_masks.py msrc_v2 --out ...

A mask is kept if no promise was made or its suggestions are as precise as promised. OUT/DATA.jsonl keeps what is done.
On Corel5k "right" is "annotated", and a photograph carries one to five keywords, so that the real precision is higher.
"""

import argparse
import json
import os
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from recover_by_method import data_of

import partlabel

TARGETS = {"corel5k": (0.8, 0.9), "msrc_v2": (0.9, 0.95)}
RATIOS = (0.1, 0.3, 0.5)
CONFIDENCE = 0.9
WAYS: dict[str, dict[str, Any]] = {
    "promise, 5 folds": {},
    "promise, 5 folds, labels of the image": {"image_labels": True},
    "promise, held-out tenth": {"folds": 0},
    "estimate, 5 folds": {"estimate": True},
    "estimate, held-out tenth": {"estimate": True, "folds": 0},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", choices=TARGETS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--masks", type=int, default=20, help="of each share of known labels")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = arguments.out / f"{arguments.data}.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []
    done = {(row["ratio"], row["mask"]) for row in rows}
    table, images = data_of(arguments.data)
    for mask in range(arguments.masks):
        for ratio in RATIOS:
            if (ratio, mask) in done:
                continue
            found = [{"ratio": ratio, "mask": mask, **one} for one in _of_mask(table, images, ratio, mask, arguments)]
            with kept.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in found)
            rows += found
    _print(rows)


def _of_mask(table: Any, images: Path, ratio: float, mask: int, arguments: Any) -> list[dict[str, Any]]:
    labels = partlabel.hide(table, masking="known_ratio", ratio=ratio, seed=mask)
    hidden = table.dense() * (labels.dense() == 0)
    out, found = arguments.out / f"{arguments.data}-{ratio}-{mask}", []
    shutil.rmtree(out, ignore_errors=True)
    backbone = f"local-dir:{os.environ['PARTLABEL_MOBILENETV2']}"
    how: dict[str, Any] = {"method": "discriminant", "freeze": True, "report": False, "seed": mask}
    run = partlabel.train(labels, images=images, out=out, backbone=backbone, **how)
    for target in TARGETS[arguments.data]:
        for way in arguments.ways:
            suggested = partlabel.recover(
                run, labels, images=images, precision=target, confidence=CONFIDENCE, **WAYS[way]
            )
            right = hidden[suggested.image_index, suggested.class_index] > 0
            found.append(
                {
                    "target": target,
                    "way": way,
                    "suggested": len(suggested),
                    "precision": float(right.mean()) if len(suggested) else None,
                    "recall": float(right.sum() / (hidden > 0).sum()),
                }
            )
    shutil.rmtree(out)
    return found


def _print(rows: list[dict[str, Any]]) -> None:
    groups = defaultdict(list)
    for row in rows:
        groups[row["ratio"], row["target"], row["way"]].append(row)
    print("| known | target | way | masks | kept | with suggestions | mean precision | lowest | found |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (ratio, target, way), mine in sorted(groups.items()):
        precision = [row["precision"] for row in mine if row["precision"] is not None]
        kept = sum(row["precision"] is None or row["precision"] >= target for row in mine)
        shown = f"{100 * np.mean(precision):.1f} | {100 * min(precision):.1f}" if precision else "- | -"
        recall = 100 * np.mean([row["recall"] for row in mine])
        print(
            f"| {100 * ratio:g} % | {target:g} | {way} | {len(mine)} | {kept} | {len(precision)} | {shown} | "
            f"{recall:.1f} |"
        )


if __name__ == "__main__":
    main()
