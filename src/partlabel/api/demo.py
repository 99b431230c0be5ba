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
from partlabel.files import write_json
from partlabel.formats import write_table
from partlabel.progress import SILENT, Reporter
from partlabel.recovery.judge import score_suggestions

SETTINGS: dict[str, Any] = {
    "backbone": "resnet10t", "pretrained": False, "size": 64, "epochs": 10, "batch_size": 64, "lr": 3e-3, "flip": False,
}  # fmt: skip
METHODS: dict[str, dict[str, Any]] = {
    "assume_negative": {"method": "assume_negative"},
    "bce": {"method": "bce"},
    "saliency": {"method": "saliency"},
}


def demo(out: Path | str, *, reporter: Reporter = SILENT) -> str:
    """Compose scenes of handwritten digits, hide 80 % of the labels, train three ways, evaluate, recover.

    Args:
        out: folder to make; it holds the pictures, the label files, one run a method, summary.json and report.html.
        reporter: where progress goes.

    Returns:
        A short text with the table and what was recovered.

    Raises:
        UsageError: the folder holds something already.
    """
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; choose another --out or remove it")
    with reporter.track("composing scenes of digits") as tick:
        scenes = write_scenes(folder, progress=tick)
    write_table(scenes.train, folder / "train-complete.csv")
    write_table(scenes.test, folder / "test.csv")
    labels = hide(scenes.train, masking="known_ratio", ratio=0.2, seed=0, out=folder / "train.csv", reporter=reporter)
    reporter.say(look(folder / "train.csv", images=scenes.images, against=folder / "test.csv", reporter=reporter).to_text())

    results = {}
    for name, settings in METHODS.items():
        run = train(folder / "train.csv", images=scenes.images, out=folder / name, reporter=reporter, **SETTINGS, **settings)
        result = evaluate(run, folder / "test.csv", images=scenes.images, json=run.path / "evaluation.json", reporter=reporter)
        numbers = result.to_json()
        results[name] = {"mAP": numbers["mAP"]["raw"], "OF1": numbers["OF1"], "CF1": numbers["CF1"]["harmonic"]}
    best = folder / "saliency"
    suggestions = recover(best, labels, images=scenes.images, out=folder / "recovered.csv", reporter=reporter)
    score = score_suggestions(suggestions, scenes.train)
    recovered = {"suggested": score.suggested, "precision": score.precision, "recall": score.recall}
    write_json(folder / "summary.json", {"methods": results, "recovered": recovered})
    return _text(results, recovered, folder)


def _text(results: dict[str, dict[str, float]], recovered: dict[str, Any], folder: Path) -> str:
    rows = [f"{name:16} {100 * r['mAP']:6.1f} {100 * r['OF1']:6.1f} {100 * r['CF1']:6.1f}" for name, r in results.items()]
    return "\n".join([f"{'method':16} {'mAP':>6} {'OF1':>6} {'CF1':>6}", *rows, str(recovered), str(folder / "report.html")])
