"""`demo`: the whole path on built-in data, with the verbs that a user would call."""

from pathlib import Path
from typing import Any

from partlabel.api.evaluate import evaluate
from partlabel.api.hide import hide
from partlabel.api.look import look
from partlabel.api.recover import recover
from partlabel.api.train import train
from partlabel.datasets.digit_scenes import write_scenes
from partlabel.errors import UsageError
from partlabel.files import write_bytes, write_json
from partlabel.formats import write_table
from partlabel.inspection.page import page as look_page
from partlabel.progress import SILENT, Reporter
from partlabel.recovery.judge import score_suggestions
from partlabel.report import write_report

TRAIN_SCENES, TEST_SCENES = 3000, 1000
PRECISION = 0.9
SETTINGS: dict[str, Any] = {
    "backbone": "test_resnet",
    "backbone_args": {"output_stride": 8},
    "pretrained": False,
    "size": 64,
    "epochs": 6,
    "batch_size": 32,
    "flip": False,
    "crop_scale": 1.0,
    "validate_every": 6,
    "devices": 1,
}
METHODS: dict[str, dict[str, Any]] = {
    "assume_negative": {"method": "assume_negative", "lr": 3e-3},
    "bce": {"method": "bce", "lr": 3e-3},
    "saliency": {"method": "saliency", "pseudo": "none", "supervised": "weak", "lr": 1e-2},
}
"""Learning rates as searched by benchmarks/digit_scenes.toml; saliency on the weak view alone, because a second
one costs as much again.
"""


def demo(out: Path | str, *, reporter: Reporter = SILENT) -> str:
    """Compose scenes of handwritten digits, hide 80 % of the labels, train three ways, evaluate, recover.

    Args:
        out: folder to make; it holds the images, the label files, one run per method, summary.json and report.html.
        reporter: where progress goes.

    Returns:
        A short text with the table and what was recovered.

    Raises:
        UsageError: the folder holds something already.
    """
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; choose another --out or remove it")
    reporter.say(
        f"[1/5] composing {TRAIN_SCENES + TEST_SCENES} scenes of handwritten digits, then hiding 80 % of the train "
        f"labels"
    )
    with reporter.track("composing scenes of digits") as tick:
        scenes = write_scenes(folder, train=TRAIN_SCENES, test=TEST_SCENES, progress=tick)
    write_table(scenes.train, folder / "train-complete.csv")
    write_table(scenes.test, folder / "test.csv")
    labels = folder / "train.csv"
    hide(scenes.train, masking="known_ratio", ratio=0.2, seed=0, out=labels, reporter=reporter)
    reporter.say("[2/5] looking at what is known")
    reporter.say(look_page(look(labels, images=scenes.images, reporter=reporter)))

    results, runs = {}, {}
    for name, settings in METHODS.items():
        reporter.say(f"[3/5] training {name}, then [4/5] evaluating it on the test scenes")
        runs[name] = train(
            labels, images=scenes.images, out=folder / name, report=False, reporter=reporter, **SETTINGS, **settings
        )
        numbers = evaluate(
            runs[name], folder / "test.csv", images=scenes.images, report=False, reporter=reporter
        ).to_json()
        results[name] = {"mAP": numbers["mAP"]["raw"], "OF1": numbers["OF1"], "CF1": numbers["CF1"]["harmonic"]}
    reporter.say("[5/5] recovering hidden labels")
    run = runs["saliency"]
    found = recover(
        run, labels, images=scenes.images, out=folder / "recovered.csv", precision=PRECISION, reporter=reporter
    )
    score = score_suggestions(found, scenes.train)
    recovered = {"suggested": score.suggested, "precision": score.precision, "recall": score.recall}
    write_json(folder / "summary.json", {"methods": results, "recovered": recovered})
    page = write_report(run, images=scenes.images, evaluation=run.evaluation(), suggestions=found, truth=scenes.train)
    write_bytes(folder / "report.html", page.read_bytes())
    return _text(results, recovered, folder)


def _text(results: dict[str, dict[str, float]], recovered: dict[str, Any], folder: Path) -> str:
    rows = [f"{name:18}{100 * r['mAP']:6.1f}{100 * r['OF1']:7.1f}{100 * r['CF1']:7.1f}" for name, r in results.items()]
    precision, recall = (
        "-" if recovered[key] is None else f"{100 * recovered[key]:.1f} %" for key in ("precision", "recall")
    )
    return "\n".join(
        [
            "",
            f"{TEST_SCENES} test scenes, 10 classes, all cells known (raw mAP; F1 thresholds from held-out cells), "
            f"in %:",
            f"{'':18}{'mAP':>6}{'OF1':>7}{'CF1':>7}",
            *rows,
            "",
            f"recovered by saliency: {recovered['suggested']} hidden labels, of which {precision} are true "
            f"(promised: at least {100 * PRECISION:g} %); that is {recall} of all that were hidden",
            f"look at {folder / 'report.html'}",
        ]
    )
