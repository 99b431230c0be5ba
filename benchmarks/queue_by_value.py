"""How much a model gains by verdicts, in the order of their value and in other orders.

    PARTLABEL_COREL5K=DIR PARTLABEL_MOBILENETV2=DIR python benchmarks/queue_by_value.py corel5k --out runs/queue
    PARTLABEL_MSRC_V2=DIR PARTLABEL_MSRC_V2_SPLIT=DIR ... python benchmarks/queue_by_value.py msrc_v2 --out runs/queue
    python benchmarks/queue_by_value.py digit_scenes --out runs/queue

10 % of the cells are known at first. A reviewer who knows the truth decides some cells at a time, then the model (the
discriminant) is fitted again. Test mAP: raw, all cells known. OUT/DATA.jsonl keeps what is done.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
from numpy.typing import NDArray
from recover_by_method import data_of
from scipy.special import expit

import partlabel
from partlabel.datasets.digit_scenes import write_scenes
from partlabel.evaluation.average_precision import average_precision
from partlabel.inference.learner import Learner
from partlabel.inference.model import open_model
from partlabel.labels import LabelTable
from partlabel.recovery.value import Askable, by_value, candidates, directions_of
from partlabel.runs.folder import RunFolder

AT_A_TIME = {"corel5k": 100, "msrc_v2": 50, "digit_scenes": 50}
ROUNDS = 5
KNOWN = 0.1

Probability = NDArray[np.float64]
Choose = Callable[["_Review", Probability, int], NDArray[np.int64]]
"""So many cells for a review, by the probabilities of all."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", choices=AT_A_TIME)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--orders", nargs="*", choices=ORDERS, default=list(ORDERS))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = arguments.out / f"{arguments.data}.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []
    done = {row["seed"] for row in rows}
    for seed in range(arguments.seeds):
        if seed not in done:
            found = list(_of_seed(arguments.data, seed, arguments.out, arguments.orders))
            with kept.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in found)
            rows += found
    _print(rows)


class Data(NamedTuple):
    """Complete labels of training and test images, and the folder of both."""

    train: LabelTable
    test: LabelTable
    images: Path


def data_with_test(name: str, out: Path, scenes_of_digits: int = 400) -> Data:
    if name == "digit_scenes":
        scenes = write_scenes(out / "scenes", train=scenes_of_digits, test=500)
        return Data(scenes.train, scenes.test, scenes.images)
    train, images = data_of(name)
    if name == "corel5k":
        file, where = Path(os.environ["PARTLABEL_COREL5K"]) / "labels.csv", {"split": "test"}
    else:
        file, where = Path(os.environ["PARTLABEL_MSRC_V2_SPLIT"]) / "test.csv", {}
    test = partlabel.read_table(file, codes="1=present,0=absent", where=where).table
    return Data(train, test.select_classes(train.classes), images)


def trained(name: str, labels: LabelTable | Path, data: Data, out: Path, seed: int) -> RunFolder:
    """The discriminant on a backbone that something else has trained."""
    how: dict[str, Any] = {"images": data.images, "report": False, "seed": seed}
    if name == "digit_scenes":
        how |= {"backbone": f"local-dir:{_network(out.parent / 'network', len(data.train))}", "size": 32}
    else:
        how |= {"backbone": f"local-dir:{os.environ['PARTLABEL_MOBILENETV2']}"}
    return partlabel.train(labels, out=out, method="discriminant", freeze=True, **how)


def _network(out: Path, scenes: int) -> Path:
    """A small network that was trained on the complete labels of as many other scenes."""
    if not (out / "config.json").is_file():
        others = write_scenes(out / "scenes", train=scenes, test=0, seed=1)
        how: dict[str, Any] = {"epochs": 20, "batch_size": 16, "flip": False, "crop_scale": 1.0, "validate_every": 20}
        how |= {"backbone": "test_resnet", "backbone_args": {"output_stride": 8}, "pretrained": False, "size": 32}
        run = partlabel.train(
            others.train, images=others.images, out=out / "run", method="bce", lr=3e-3, report=False, **how
        )
        network = open_model(run)[0].backbone.network
        timm.models.save_for_hf(network, out, model_config={"num_classes": 0}, safe_serialization=True)
    return out


class _Review:
    """A review from its beginning, in one order."""

    def __init__(self, data: Data, labels: LabelTable, run: RunFolder, seed: int) -> None:
        self.data, self.states = data, labels.dense()
        self.learner = Learner.open(run, labels.images, data.images)
        self.test = Learner.open(run, data.test.images, data.images)
        self.test.tagger = self.learner.tagger
        self.directions = directions_of(self.learner.features.numpy())
        self.random, self.present = np.random.default_rng(seed), 0

    def step(self) -> Probability:
        """The model fitted to what is known; the probabilities of all cells."""
        self.learner.fit(LabelTable.from_dense(self.learner.images, self.learner.classes, self.states))
        return expit(np.concatenate([logits for _, logits in self.learner.blocks()]).astype(np.float64))

    def mean_average_precision(self) -> float:
        logits = np.concatenate([logits for _, logits in self.test.blocks()])
        return float(np.nanmean(average_precision(logits, self.data.test.dense())))

    def answer(self, cells: NDArray[np.int64]) -> None:
        true = self.data.train.dense().flat[cells]
        self.states.flat[cells] = true
        self.present += int((true > 0).sum())

    def first(self, key: Probability, count: int) -> NDArray[np.int64]:
        """The unknown cells of the smallest keys."""
        return np.argsort(np.where(self.states == 0, key, np.inf), axis=None, kind="stable")[:count]


def _by_value(alike: float) -> Choose:
    def choose(review: _Review, probability: Probability, count: int) -> NDArray[np.int64]:
        block = Askable(np.arange(len(probability)), probability, review.states == 0)
        found = candidates([block], probability.shape[1])
        rows, columns = by_value(found, (review.states > 0).sum(0), review.directions, count, alike)
        return rows * probability.shape[1] + columns

    return choose


ORDERS: dict[str, Choose] = {
    "random": lambda review, probability, count: review.first(review.random.random(probability.shape), count),
    "least certain first": lambda review, probability, count: review.first(np.abs(probability - 0.5), count),
    "most probable first": lambda review, probability, count: review.first(-probability, count),
    "value, images alike too": _by_value(2.0),
    "value": _by_value(0.85),
}


def _of_seed(name: str, seed: int, out: Path, orders: list[str]) -> Any:
    data = data_with_test(name, out / f"{name}-{seed}")
    labels = partlabel.hide(data.train, masking="known_ratio", ratio=KNOWN, seed=seed)
    run = RunFolder(out / f"{name}-{seed}" / "run")
    if not run.model.is_dir():
        run = trained(name, labels, data, run.path, seed)
    for order in orders:
        choose = ORDERS[order]
        review = _Review(data, labels, run, seed)
        for verdicts in range(0, AT_A_TIME[name] * ROUNDS + 1, AT_A_TIME[name]):
            probability = review.step()
            measured = {"mAP": review.mean_average_precision(), "present": review.present}
            yield {"seed": seed, "order": order, "verdicts": verdicts, **measured}
            review.answer(choose(review, probability, AT_A_TIME[name]))


def _print(rows: list[dict[str, Any]]) -> None:
    found = {(row["order"], row["seed"], row["verdicts"]): row for row in rows}
    counts = sorted({row["verdicts"] for row in rows})
    head = [*(f"{count} verdicts" for count in counts), "beyond random, paired", "present among them"]
    print(f"| order | {' | '.join(head)} |\n|---|{'---:|' * len(head)}")
    for order in dict.fromkeys(row["order"] for row in rows):
        seeds = sorted({row["seed"] for row in rows if row["order"] == order})
        cells = [_shown([found[order, seed, count]["mAP"] for seed in seeds]) for count in counts]
        end = [(found[order, seed, counts[-1]], found["random", seed, counts[-1]]) for seed in seeds]
        cells.append(_shown([one["mAP"] - other["mAP"] for one, other in end]))
        print(f"| {order} | {' | '.join(cells)} | {np.mean([one['present'] for one, _ in end]):.0f} |")


def _shown(values: list[float]) -> str:
    return f"{100 * np.mean(values):.1f}" + (f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
