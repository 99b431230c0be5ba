"""What `recover` finds on Corel5k, and how much of it is annotated: frozen backbone, `bce` with its defaults, three
seeds.

    PARTLABEL_COREL5K=DIR PARTLABEL_MOBILENETV2=DIR python benchmarks/corel5k_recover.py --out runs/corel5k_recover

A photograph carries one to five keywords, so a suggestion that is not annotated is not always wrong: the precision
printed here is a lower bound of the real one.
"""

import argparse
import os
from pathlib import Path

import numpy as np

import partlabel
from partlabel.recovery.judge import score_suggestions


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    data, backbone = Path(os.environ["PARTLABEL_COREL5K"]), f"local-dir:{os.environ['PARTLABEL_MOBILENETV2']}"
    codes, images = "1=present,0=absent", data / "images"
    table = partlabel.read_table(data / "labels.csv", codes=codes, where={"split": "train"}).table
    table = table.select_classes(np.flatnonzero(table.counts_by_class().present >= 50))
    print("| known | target | suggested | annotated among them | of all hidden present labels |\n|---|---|---|---|---|")
    for ratio in (0.1, 0.5):
        runs = []
        for seed in range(3):
            labels = partlabel.hide(table, masking="known_ratio", ratio=ratio, seed=seed)
            run = partlabel.train(
                labels,
                images=images,
                out=out / f"{ratio}-{seed}",
                method="bce",
                backbone=backbone,
                freeze=True,
                seed=seed,
                validate_every=15,
                report=False,
            )
            runs.append((run, labels))
        for target in (0.95, 0.9, 0.8):
            scores = [
                score_suggestions(
                    partlabel.recover(run, labels, images=images, precision=target, estimate=True, folds=0), table
                )
                for run, labels in runs
            ]
            cells = [
                " / ".join(f"{score.suggested:,}" for score in scores),
                " / ".join("-" if score.precision is None else f"{100 * score.precision:.1f}" for score in scores),
                " / ".join("-" if score.recall is None else f"{100 * score.recall:.1f}" for score in scores),
            ]
            print(f"| {100 * ratio:g} % | {target} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
