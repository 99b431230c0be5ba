"""How well test images are ranked for classes of which no label is known, and after the first verdicts on them.

    PARTLABEL_COREL5K=DIR PARTLABEL_MOBILENETV2=DIR python benchmarks/new_class.py corel5k --out runs/new_class
    PARTLABEL_MSRC_V2=DIR PARTLABEL_MSRC_V2_SPLIT=DIR ... python benchmarks/new_class.py msrc_v2 --out runs/new_class

Each tenth of the classes is left out in turn: the discriminant learns the others from the training images, and the
images are ranked for the classes left out as `partlabel add-class` does. Then a reviewer who knows the truth decides
the first training images of the queue, and the class is fitted to these verdicts. Average precision on the test images
(raw, all cells known), mean over the classes left out that some test image shows. OUT/DATA.jsonl keeps what is done.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from queue_by_value import Data, data_with_test, trained

import partlabel
from partlabel.evaluation.average_precision import average_precision, chance_average_precision
from partlabel.inference.new_class import NewClasses
from partlabel.labels import LabelTable
from partlabel.models.label_text import LabelVectors, label_vectors
from partlabel.progress import SILENT
from partlabel.recovery.ranking_file import ranking
from partlabel.runs.folder import RunFolder

PARTS = 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", choices=["corel5k", "msrc_v2"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--known", nargs="*", type=float, default=[0.1, 1.0], help="shares of the cells")
    parser.add_argument("--seeds", type=int, default=3, help="maskings of each share below 1")
    parser.add_argument("--verdicts", nargs="*", type=int, default=[25, 100], help="of each class; with seed 0 alone")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / f"{given.data}.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []
    data = data_with_test(given.data, given.out)
    for known in given.known:
        for seed in range(given.seeds if known < 1 else 1):
            for part in range(PARTS):
                if any((row["known"], row["seed"], row["part"]) == (known, seed, part) for row in rows):
                    continue
                where = {"known": known, "seed": seed, "part": part}
                verdicts = given.verdicts if seed == 0 else []
                found = [{**where, **row} for row in _left_out(given, data, known, seed, part, verdicts)]
                with kept.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in found)
                rows += found
    _print(given.data, rows, given.verdicts)


def _left_out(
    given: argparse.Namespace, data: Data, known: float, seed: int, part: int, verdicts: list[int]
) -> Iterator[dict[str, Any]]:
    """What is measured of each class of a part."""
    classes = data.train.classes
    new, others = list(classes[part::PARTS]), [name for at, name in enumerate(classes) if at % PARTS != part]
    labels = partlabel.hide(data.train, masking="known_ratio", ratio=known, seed=seed) if known < 1 else data.train
    run = RunFolder(given.out / f"{given.data}-{known}-{seed}-{part}")
    if not run.model.is_dir():
        run = trained(given.data, labels.select_classes(others), data, run.path, seed)
    asked = NewClasses.open(run, unknown(data.train, data.test, new), data.images, SILENT)
    vectors = label_vectors("minilm", (*others, *new))
    by_name, ridge = asked.by_words(new, vectors)
    shuffled, _ = asked.by_words(new, _shuffled(vectors, seed))
    test = np.arange(len(data.train), len(asked.table))
    for row, other in zip(by_name, shuffled, strict=True):
        truth = data.test.select_classes([row.name]).dense()
        found = {
            "class": row.name,
            "chance": float(chance_average_precision(truth)[0]),
            "shuffled": average_precision_of(asked.scores(other)[test], truth),
            "name": average_precision_of(asked.scores(row)[test], truth),
            "by the run": ridge.left_out_mAP,
        }
        for count in verdicts:
            found |= _reviewed(asked, data, row.name, asked.scores(row), count, truth)
        yield found


def unknown(train: LabelTable, test: LabelTable, classes: list[str]) -> LabelTable:
    """Training and test images, of which nothing is known."""
    return LabelTable.from_cells([*train.images, *test.images], classes, [], [], [])


def _shuffled(vectors: LabelVectors, seed: int) -> LabelVectors:
    assert vectors.vectors is not None
    order = np.random.default_rng(seed).permutation(len(vectors.vectors))
    return vectors._replace(vectors=vectors.vectors[torch.from_numpy(order)])


def _reviewed(
    asked: NewClasses, data: Data, name: str, scores: NDArray[np.float64], count: int, truth: NDArray[np.int8]
) -> dict[str, Any]:
    """After so many verdicts on the first training images of the queue; where none of them is present, as before."""
    train = LabelTable.from_cells(data.train.images, [name], [], [], [])
    first = ranking(train, name, scores[: len(train)], count)
    rows = np.array([train.image_positions[image] for image in first.images])
    states = data.train.states_at(rows, np.full(rows.size, data.train.class_positions[name]))
    table = LabelTable.from_cells(data.train.images, [name], rows, np.zeros(rows.size, int), states)
    present = int((states > 0).sum())
    later = NewClasses(asked.run, asked.tagger, asked.info, table, asked.labels, asked.features)
    test = NewClasses(asked.run, asked.tagger, asked.info, data.test, asked.labels, asked.features[len(data.train) :])
    reached = average_precision_of(test.scores(later.by_labels([name])[0]) if present else scores[len(train) :], truth)
    return {f"after {count}": reached, f"present among {count}": present}


def average_precision_of(scores: NDArray[np.float64], truth: NDArray[np.int8]) -> float:
    return float(average_precision(scores[:, None].astype(np.float32), truth)[0])


def _print(data: str, rows: list[dict[str, Any]], verdicts: list[int]) -> None:
    columns = {
        "chance": "random order",
        "shuffled": "names shuffled",
        "name": "by the name",
        "by the run": "as it says",
    }
    columns |= {f"after {count}": f"after {count} verdicts" for count in verdicts}
    columns |= {f"present among {count}": f"present among {count}" for count in verdicts}
    print(f"| data | known | {' | '.join(columns.values())} |\n|---|---:|{'---:|' * len(columns)}")
    for known in sorted({row["known"] for row in rows}):
        seeds = sorted({row["seed"] for row in rows if row["known"] == known})
        shown = []
        for column in columns:
            of_seeds = [
                [row.get(column, np.nan) for row in rows if (row["known"], row["seed"]) == (known, seed)]
                for seed in seeds
            ]
            means = [float(np.nanmean(values)) for values in of_seeds if np.isfinite(values).any()]
            scale, digits = (1, 1) if column.startswith("present") else (100, 1)
            spread = f" ± {scale * np.std(means, ddof=1):.{digits}f}" if len(means) > 1 and column != "chance" else ""
            shown.append(f"{scale * np.mean(means):.{digits}f}{spread}" if means else "—")
        print(f"| {data} | {100 * known:g} % | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
