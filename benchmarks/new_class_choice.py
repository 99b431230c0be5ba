r"""The two constants of a class that is fitted to the first verdicts on it, compared on training images alone.

    PARTLABEL_COREL5K=DIR PARTLABEL_MSRC_V2=DIR PARTLABEL_MSRC_V2_SPLIT=DIR PARTLABEL_MOBILENETV2=DIR \
        python benchmarks/new_class_choice.py --out runs/new_class_choice

No test image is read. A third of the training images, by a hash of their names, judges; the run, the queues and the
verdicts come from the others alone. Each tenth of the classes is left out in turn, with 10 % of the cells of the others
known, and ranked after the first verdicts of its queue with each weight of the mean of all images in m⁻ and each λ.
Average precision on the images that judge (raw, all cells known), mean over the classes left out that some of them
show, then over numbers of verdicts and data sets with equal weights. OUT/choice.jsonl keeps what is done.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from new_class import PARTS, average_precision_of, unknown
from numpy.typing import NDArray
from queue_by_value import Data, trained
from recover_by_method import data_of
from torch import Tensor

import partlabel
from partlabel.inference.new_class import FOLDS, NewClasses
from partlabel.labels import LabelTable
from partlabel.masking.keyed import name_words, ranks_within
from partlabel.methods.discriminant import SHRINKAGES
from partlabel.methods.tools.feature_passes import FeaturePasses
from partlabel.methods.tools.first_images import OF_ALL, SHRINKAGE, first_differences
from partlabel.methods.tools.fold_sums import added
from partlabel.models.heads.pooled import transformed
from partlabel.models.label_text import label_vectors
from partlabel.progress import SILENT
from partlabel.recovery.ranking_file import ranking
from partlabel.runs.folder import RunFolder

SEEDS = {"corel5k": 1, "msrc_v2": 3}
"""Maskings of each data set."""
KNOWN = 0.1
VERDICTS = (25, 50, 100)
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
JUDGES = 3
"""One of so many training images judges."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "choice.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []
    done = {(row["data"], row["seed"], row["part"]) for row in rows}
    for name, seeds in SEEDS.items():
        data = _shared_out(name)
        for seed, part in product(range(seeds), range(PARTS)):
            if (name, seed, part) not in done:
                where = {"data": name, "seed": seed, "part": part}
                found = [{**where, **row} for row in _left_out(given.out, name, data, seed, part)]
                with kept.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in found)
                rows += found
    _print(rows)


def _shared_out(name: str) -> Data:
    """Training images that are asked about, and those that judge in the place of test images."""
    train, images = data_of(name)
    words = name_words(train.images, "choice of constants/image", 0)
    judges = ranks_within(np.zeros(len(words), np.int64), words) % JUDGES == 0
    return Data(train.select_images(np.flatnonzero(~judges)), train.select_images(np.flatnonzero(judges)), images)


def _left_out(out: Path, name: str, data: Data, seed: int, part: int) -> Iterator[dict[str, Any]]:
    """The average precisions of each class of a part, by number of verdicts, weight and λ."""
    classes = data.train.classes
    new, others = list(classes[part::PARTS]), [one for at, one in enumerate(classes) if at % PARTS != part]
    labels = partlabel.hide(data.train, masking="known_ratio", ratio=KNOWN, seed=seed)
    run = RunFolder(out / f"{name}-{seed}-{part}")
    if not run.model.is_dir():
        run = trained(name, labels.select_classes(others), data, run.path, seed)
    asked = NewClasses.open(run, unknown(data.train, data.test, new), data.images, SILENT)
    by_name, _ = asked.by_words(new, label_vectors("minilm", (*others, *new)))
    scores = [asked.scores(row) for row in by_name]
    judged = transformed(asked.features[len(data.train) : len(asked.table)], asked.head.transform).double()
    for count in VERDICTS:
        states = np.zeros((len(data.train), len(new)), np.int8)
        for column, its in enumerate(scores):
            states[:, column] = _verdicts(data.train, new[column], its[: len(data.train)], count)
        ranked = _ranked(asked, LabelTable.from_dense(data.train.images, new, states), judged)
        for column, values in enumerate(ranked):
            truth = data.test.select_classes([new[column]]).dense()
            before = average_precision_of(scores[column][len(data.train) : len(asked.table)], truth)
            shown = (states[:, column] > 0).any()
            found = [average_precision_of(one, truth) if shown else before for one in values]
            yield {"class": new[column], "verdicts": count, "values": found}


def _verdicts(train: LabelTable, name: str, scores: NDArray[np.float64], count: int) -> NDArray[np.int8]:
    """The truth of the first images of a queue, 0 elsewhere."""
    table, states = LabelTable.from_cells(train.images, [name], [], [], []), np.zeros(len(train), np.int8)
    rows = np.array([train.image_positions[image] for image in ranking(table, name, scores, count).images])
    states[rows] = train.states_at(rows, np.full(rows.size, train.class_positions[name]))
    return states


def _ranked(asked: NewClasses, labels: LabelTable, judged: Float[Tensor, "n d"]) -> Iterator[NDArray[np.float64]]:
    """For each class, the scores of the images that judge, by weight and λ."""
    passes = FeaturePasses(asked._fit(labels, torch.arange(len(labels)), SILENT), FOLDS)
    sums = asked._sums(passes)
    parts = added(sums.present), added(sums.absent)
    differences = [first_differences(sums.moments, *parts, weight) for weight in WEIGHTS]
    directions = torch.stack([sums.directions(one, SHRINKAGES) for one in differences])
    for column in range(len(labels.classes)):
        yield (judged @ directions[:, :, column].flatten(0, 1).T).T.numpy()


def _print(rows: list[dict[str, Any]]) -> None:
    means = {(data, count): _mean(rows, data, count) for data, count in product(SEEDS, VERDICTS)}
    of_all = np.mean(list(means.values()), 0)
    print(f"| λ | {' | '.join(f'{weight:g}' for weight in WEIGHTS)} |\n|---:|{'---:|' * len(WEIGHTS)}")
    for place, shrinkage in enumerate(SHRINKAGES):
        print(f"| {shrinkage:g} | {' | '.join(f'{value:.1f}' for value in of_all[:, place])} |")
    best = tuple(int(place) for place in np.unravel_index(int(of_all.argmax()), of_all.shape))
    shown = {"best": best, "taken": (WEIGHTS.index(OF_ALL), SHRINKAGES.index(SHRINKAGE))}
    for word, (row, column) in shown.items():
        apart = ", ".join(f"{data} after {count}: {mean[row, column]:.1f}" for (data, count), mean in means.items())
        print(f"{word}: weight {WEIGHTS[row]:g}, λ {SHRINKAGES[column]:g}: {of_all[row, column]:.1f} ({apart})")


def _mean(rows: list[dict[str, Any]], data: str, count: int) -> NDArray[np.float64]:
    """Over classes, then maskings: mean average precision in %, by weight and λ."""
    of_seeds: dict[int, list[list[float]]] = {}
    for row in rows:
        if (row["data"], row["verdicts"]) == (data, count):
            of_seeds.setdefault(row["seed"], []).append(row["values"])
    values = np.mean([np.nanmean(of_seed, 0) for of_seed in of_seeds.values()], 0)
    return np.asarray(100 * values.reshape(len(WEIGHTS), len(SHRINKAGES)))


if __name__ == "__main__":
    main()
