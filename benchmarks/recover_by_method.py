"""What `recover --estimate` finds after each method, on labels whose hidden part is known: at a target, and at best.
The cells that the training held out judge for all methods alike (`--folds 0`).

    PARTLABEL_COREL5K=DIR PARTLABEL_MOBILENETV2=DIR python benchmarks/recover_by_method.py corel5k --out runs/recover
    PARTLABEL_MSRC_V2=DIR PARTLABEL_MSRC_V2_SPLIT=DIR ... python benchmarks/recover_by_method.py msrc_v2 --out ...

The columns "at best" are a diagnosis and need the truth: the share of all hidden present labels that the list of
suggestions holds, from its most probable on, for as long as so much of it is right. On Corel5k "right" is "annotated",
and a photograph carries one to five keywords, so that the real precision is higher.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

import partlabel
from partlabel.labels import LabelTable

ROWS: dict[str, dict[str, Any]] = {
    "bce": {"method": "bce", "validate_every": 15},
    "asl": {"method": "asl", "validate_every": 15},
    "discriminant": {"method": "discriminant"},
    "discriminant, first pass alone": {"method": "discriminant", "soft_weight": 0.0},
    "bce from the discriminant": {
        "method": "bce",
        "start": "discriminant",
        "epochs": 5,
        "lr": 1e-3,
        "validate_every": 5,
    },
    "asl from the discriminant": {
        "method": "asl",
        "start": "discriminant",
        "epochs": 5,
        "lr": 1e-3,
        "validate_every": 5,
    },
    "discriminant, two stages": {"method": "discriminant", "stages": 2},
    "asl, two stages": {"method": "asl", "stages": 2, "validate_every": 15},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", choices=["corel5k", "msrc_v2"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--rows", nargs="*", choices=ROWS, default=list(ROWS), help="what others start from comes first"
    )
    arguments = parser.parse_args()
    table, images = data_of(arguments.data)
    print(
        "| known | method | mAP, unknown cells | found, at 0.9 | right | found, at 0.8 | right | at best, 0.9 | 0.95 |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for ratio in (0.1, 0.3, 0.5):
        masked = [partlabel.hide(table, masking="known_ratio", ratio=ratio, seed=s) for s in range(arguments.seeds)]
        for name in arguments.rows:
            settings, found = ROWS[name], []
            for seed, labels in enumerate(masked):
                runs = {row: arguments.out / f"{arguments.data}-{ratio}-{row}-{seed}" for row in ROWS}
                how = {**settings, "seed": seed}
                if "start" in how:
                    how["init"] = runs[how.pop("start")]
                found.append(_one(table, labels, images, runs[name], how))
            columns = [_shown([one[column] for one in found]) for column in range(7)]
            print(f"| {100 * ratio:g} % | {name} | {' | '.join(columns)} |", flush=True)


def data_of(name: str) -> tuple[LabelTable, Path]:
    """Complete labels of the training images, classes with enough present cells, and the image folder."""
    if name == "corel5k":
        data, where = Path(os.environ["PARTLABEL_COREL5K"]), {"split": "train"}
        file, least = data / "labels.csv", 50
    else:
        data, where = Path(os.environ["PARTLABEL_MSRC_V2"]), {}
        file, least = Path(os.environ["PARTLABEL_MSRC_V2_SPLIT"]) / "train.csv", 10
    table = partlabel.read_table(file, codes="1=present,0=absent", where=where).table
    return table.select_classes(np.flatnonzero(table.counts_by_class().present >= least)), data / "images"


def _one(truth: LabelTable, labels: LabelTable, images: Path, out: Path, settings: dict[str, Any]) -> list[float]:
    backbone = f"local-dir:{os.environ['PARTLABEL_MOBILENETV2']}"
    run = partlabel.train(labels, images=images, out=out, backbone=backbone, freeze=True, report=False, **settings)
    hidden = truth.dense() * (labels.dense() == 0)
    present, row = hidden > 0, []
    for target in (0.9, 0.8):
        found = partlabel.recover(run, labels, images=images, precision=target, estimate=True, folds=0)
        right = hidden[found.image_index, found.class_index] > 0
        row += [right.sum() / present.sum(), right.mean() if len(found) else np.nan]
    most = partlabel.recover(run, labels, images=images, precision=0.01, estimate=True, folds=0)
    right = hidden[most.image_index, most.class_index] > 0
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    best = [np.cumsum(right)[precision >= level].max(initial=0) / present.sum() for level in (0.9, 0.95)]
    unknown = partlabel.LabelTable.from_dense(labels.images, labels.classes, hidden)
    judged = partlabel.evaluate(run, unknown, images=images, report=False)
    return [judged.mean_average_precision["raw"], *row, *best]


def _shown(values: list[float]) -> str:
    there = [value for value in values if np.isfinite(value)]
    if not there:
        return "-"
    short = f" (n = {len(there)})" if len(there) < len(values) else ""
    return f"{100 * np.mean(there):.1f} ± {100 * np.std(there, ddof=1) if len(there) > 1 else 0:.1f}{short}"


if __name__ == "__main__":
    main()
