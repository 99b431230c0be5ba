"""What `evaluate` and `recover` read, write and leave behind."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import partlabel
from partlabel.drawing import thumbnails
from partlabel.errors import NotFiniteError, UsageError
from partlabel.inference.scores import run_logits
from partlabel.labels import LabelTable
from partlabel.progress import SILENT
from partlabel.report import write_report
from partlabel.runs.folder import RunFolder

pytestmark = pytest.mark.slow

Images = tuple[Path, LabelTable]
RECOVER: dict[str, Any] = {"precision": 0.5, "estimate": True}


class Listening:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    track = SILENT.track


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, color_images: Images) -> partlabel.RunFolder:
    """Trained on half of all cells, so that enough are held out to set a threshold by."""
    settings: dict[str, Any] = {"backbone": "test_resnet", "pretrained": False, "size": 32, "batch_size": 8}
    return partlabel.train(
        color_images[1],
        images=color_images[0],
        out=tmp_path_factory.mktemp("judging") / "run",
        method="bce",
        pool="max",
        holdout=0.5,
        epochs=20,
        lr=0.01,
        accelerator="cpu",
        **settings,
    )


@pytest.fixture
def run(trained: partlabel.RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(trained.path, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every image file that a report opens."""
    paths: list[Path] = []
    decode = thumbnails.decode

    def watched(path: Path, **options: Any) -> Image.Image:
        paths.append(path)
        return decode(path, **options)

    monkeypatch.setattr(thumbnails, "decode", watched)
    return paths


def embedded(run: RunFolder) -> int:
    return len(re.findall("data:image/jpeg", (run.path / "report.html").read_text()))


def other_images(root: Path, names: tuple[str, ...], to: Path) -> Path:
    """Another folder that holds other images under the same names."""
    to.mkdir()
    for name in names:
        Image.open(root / name).rotate(90).save(to / name)
    return to


def test_suggestions_are_drawn_from_their_folder_and_the_run_from_its_own(
    run: RunFolder, color_images: Images, partial_labels: LabelTable, tmp_path: Path, opened: list[Path]
) -> None:
    root, truth = color_images
    other = other_images(root, truth.images, tmp_path / "other")
    found = partlabel.recover(run, partial_labels, images=other, out=tmp_path / "s.csv", **RECOVER)
    assert len(found) > 0
    suggested = {partial_labels.images[row] for row in found.image_index}
    assert {path.name for path in opened if path.parent == other} <= suggested
    assert {path.parent for path in opened} == {root, other}
    page = (run.path / "report.html").read_text()
    assert f"<code>{other}</code>" in page
    assert f"<code>{root}</code>" in page

    opened.clear()
    partlabel.evaluate(run, truth, images=other)
    assert opened
    assert {path.parent for path in opened} == {root}


def test_a_run_from_elsewhere_shows_no_image_that_nobody_named(
    run: RunFolder, color_images: Images, tmp_path: Path, opened: list[Path]
) -> None:
    root, truth = color_images
    info = run.info
    run.update(inputs={**info["inputs"], "images": str(root.parent)})
    names = [f"{root.name}/{name}" for name in truth.images]
    planted = run.labels()
    hidden = LabelTable.from_dense(names, planted.classes, planted.dense())
    partlabel.write_table(hidden, run.labels_path)
    other = other_images(root, truth.images, tmp_path / "other")
    partlabel.evaluate(run, truth, images=other)
    assert not opened
    assert embedded(run) == 0
    page = " ".join((run.path / "report.html").read_text().split())
    assert f"the image folder that this run names, {root.parent}, is not opened" in page

    run.update(inputs={name: value for name, value in info["inputs"].items() if name != "seal"})
    shutil.copy(tmp_path / "run" / "labels.parquet", tmp_path / "planted.parquet")
    partlabel.write_table(planted, run.labels_path)
    partlabel.evaluate(run, truth, images=root)  # the same folder, named by the user
    assert {path.parent for path in opened} == {root}


def test_cells_are_counted_by_their_probability_and_the_unknown_ones_by_the_truth(
    run: RunFolder, color_images: Images, partial_labels: LabelTable, tmp_path: Path
) -> None:
    root, truth = color_images
    some = truth.select_images(truth.images[5:]).select_classes(truth.classes[::-1][:2])
    partlabel.recover(run, partial_labels, images=root, out=tmp_path / "s.csv", truth=some, **RECOVER)
    logits = run_logits(run, partial_labels.images, root, SILENT).logits
    states, judged = partial_labels.dense(), np.zeros_like(truth.dense())
    judged[5:, 1:] = truth.dense()[5:, 1:]
    expected = {name: [0] * 10 for name in ("present", "absent", "unknown")}
    expected |= {f"unknown, truly {name}": [0] * 10 for name in ("present", "absent")}
    for i, c in np.ndindex(*states.shape):
        interval = int(10 / (1 + np.exp(-float(logits[i, c]))))
        expected[("unknown", "present", "absent")[states[i, c]]][interval] += 1
        if states[i, c] == 0 and judged[i, c]:
            expected[f"unknown, truly {'present' if judged[i, c] > 0 else 'absent'}"][interval] += 1
    assert json.loads((run.path / "probabilities.json").read_text()) == expected
    assert all(sum(counts) for counts in expected.values())
    page = (run.path / "report.html").read_text()
    assert "Cells of the table that `recover` completed" in page
    (run.path / "probabilities.json").write_text("[]")
    write_report(run, images=None)
    assert "Cells of the table that `recover` completed" not in (run.path / "report.html").read_text()


def test_a_later_report_keeps_the_recovered_labels(
    run: RunFolder, color_images: Images, partial_labels: LabelTable, tmp_path: Path
) -> None:
    root, truth = color_images
    section = re.compile(r'<section id="recovered">.*?<section id="errors">', re.DOTALL)
    partlabel.recover(run, partial_labels, images=root, out=tmp_path / "s.csv", truth=truth, **RECOVER)
    before = section.search((run.path / "report.html").read_text())
    partlabel.evaluate(run, truth, images=root)
    after = section.search((run.path / "report.html").read_text())
    assert before is not None
    assert after is not None
    assert after.group() == before.group()
    assert "labels suggested" in before.group()
    kept = run.path / "recovered.json"
    kept.write_text(kept.read_text().replace("data:image/jpeg", "https://example.org/x"))
    partlabel.evaluate(run, truth, images=root)
    assert "example.org" not in (run.path / "report.html").read_text()


def blocked(run: RunFolder) -> None:
    """Nothing that a verb leaves in the run can be written: true for every user, unlike permissions."""
    for name in ("evaluation.json", "report.html", "recovered.json"):
        (run.path / name).unlink(missing_ok=True)
        (run.path / name).mkdir()


def test_a_run_that_cannot_be_written_costs_no_result(
    run: RunFolder, color_images: Images, partial_labels: LabelTable, tmp_path: Path
) -> None:
    root, truth = color_images
    blocked(run)
    listening = Listening()
    result = partlabel.evaluate(run, truth, images=root, json=tmp_path / "e.json", reporter=listening)
    written = json.loads((tmp_path / "e.json").read_text())
    assert written["mAP"]["raw"] == result.mean_average_precision["raw"]
    assert sum("the run folder was not updated: cannot write" in line for line in listening.said) == 2
    partlabel.recover(run, partial_labels, images=root, out=tmp_path / "s.csv", reporter=listening, **RECOVER)
    assert (tmp_path / "s.csv").is_file()
    assert (tmp_path / "s.csv.json").is_file()
    assert sum("the run folder was not updated: cannot write" in line for line in listening.said) == 3


@pytest.mark.parametrize("name", ["run.json", "labels.parquet", "model/model.json"])
def test_evaluate_writes_over_nothing_that_it_reads(run: RunFolder, color_images: Images, name: str) -> None:
    before = (run.path / name).read_bytes()
    with pytest.raises(UsageError, match="belongs to the run"):
        partlabel.evaluate(run, color_images[1], images=color_images[0], json=run.path / name)
    assert (run.path / name).read_bytes() == before


def test_inputs_are_not_written_over(
    run: RunFolder, color_images: Images, partial_labels: LabelTable, tmp_path: Path
) -> None:
    root, truth = color_images
    table, scores = tmp_path / "s.json", tmp_path / "scores.csv"
    partlabel.write_table(partial_labels, tmp_path / "t.csv")
    table.write_bytes((tmp_path / "t.csv").read_bytes())
    scores.write_text("image,red,green,blue\n" + "".join(f"{name},1,2,3\n" for name in truth.images))
    refused = pytest.raises(UsageError, match="is read and would be overwritten")
    read: Any = {"format": "long"}
    with refused:
        partlabel.recover(run, table, images=root, out=tmp_path / "s", read=read)
    with refused:
        partlabel.recover(run, partial_labels, images=root, out=tmp_path / "t.csv", truth=tmp_path / "t.csv")
    with refused:
        partlabel.evaluate(run, tmp_path / "t.csv", images=root, json=tmp_path / "t.csv")
    with refused:
        partlabel.evaluate_scores(scores, truth, threshold=0, json=scores)
    with pytest.raises(UsageError, match="is one of the images"):
        partlabel.evaluate(run, truth, images=root, json=root / "00.png")
    (tmp_path / "mine.csv.json").write_text('{"mine": 1}')
    with pytest.raises(UsageError, match="no summary that recover wrote"):
        partlabel.recover(run, partial_labels, images=root, out=tmp_path / "mine.csv")


def test_thresholds_that_are_neither_word_nor_number(run: RunFolder, color_images: Images) -> None:
    with pytest.raises(UsageError, match="'half' is neither 'held_out' nor a probability"):
        partlabel.evaluate(run, color_images[1], images=color_images[0], thresholds="half")  # type: ignore[arg-type]


def test_labels_of_some_classes_are_judged_on_these(run: RunFolder, color_images: Images) -> None:
    root, truth = color_images
    whole = partlabel.evaluate(run, truth, images=root, report=False).to_json()
    listening = Listening()
    part = partlabel.evaluate(
        run, truth.select_classes(["blue", "red"]), images=root, report=False, reporter=listening
    ).to_json()
    by_class = {entry["class"]: entry for entry in whole["per_class"]}
    assert [entry["class"] for entry in part["per_class"]] == ["red", "blue"]
    assert part["per_class"] == [by_class["red"], by_class["blue"]]
    assert "2 of the run's 3 classes are judged; the labels lack 'green'" in listening.said
    with pytest.raises(partlabel.PartlabelError, match="another class list"):
        partlabel.evaluate(run, LabelTable.from_dense(["00.png"], ["Red"], [[1]]), images=root)


def test_recover_suggests_unknown_cells_and_no_known_one(
    run: RunFolder, color_images: Images, partial_labels: LabelTable, tmp_path: Path
) -> None:
    """Present cells that are hidden must come out, and not one that is known already."""
    root, truth = color_images
    found = partlabel.recover(run, partial_labels, images=root, out=tmp_path / "s.csv", **RECOVER)
    proposed = {(one.image, one.class_name) for one in found}
    known = {
        (image, name)
        for image, row in zip(partial_labels.images, partial_labels.dense(), strict=True)
        for name, state in zip(partial_labels.classes, row, strict=True)
        if state != 0
    }
    present = {
        (image, name)
        for image, row in zip(truth.images, truth.dense(), strict=True)
        for name, state in zip(truth.classes, row, strict=True)
        if state == 1
    }
    assert len(proposed) == len(found) > 5
    assert not proposed & known
    assert len(proposed & present) > len(proposed) / 2
    again = partlabel.read_table(tmp_path / "s.csv").table
    listed = {
        (again.images[row], again.classes[column])
        for row, column in zip(again.cells().image_index, again.cells().class_index, strict=True)
    }
    assert listed == proposed


def test_a_logit_that_is_not_a_number_is_refused_by_image(
    run: RunFolder, color_images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    from partlabel.inference import scores

    blocks = scores.score_blocks

    def spoiled(*given: Any, **options: Any) -> Any:
        for rows, block in blocks(*given, **options):
            block[rows == 7, 1] = np.nan
            yield rows, block

    monkeypatch.setattr(scores, "score_blocks", spoiled)
    root, truth = color_images
    with pytest.raises(NotFiniteError, match=r"image '07\.png', class 'green' is nan"):
        partlabel.evaluate(run, truth, images=root)
    with pytest.raises(NotFiniteError, match=r"'07\.png'"):
        partlabel.recover(run, truth, images=root)


KILLED = """
import os, signal, sys
import numpy as np
from partlabel.labels import LabelTable
from partlabel.recovery import Calibration, ClassThreshold, PrecisionThresholds, suggest
from partlabel.recovery.suggest import refuse_checked

def deadly(function, at):
    def wrapped(*given, **options):
        calls.append(function)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given, **options)
    return wrapped

def write(at, logit, out):
    os.replace, os.fsync = deadly(os.replace, at), deadly(os.fsync, at)
    table = LabelTable.from_dense(["a.jpg", "b.jpg"], ["sky"], [[0], [0]])
    thresholds = PrecisionThresholds(0.5, 1, 1, (ClassThreshold("sky", "own", 9, 9, 0.5, 9, 9, 1.0, 0.9),))
    calibration = Calibration(("sky",), np.zeros(1), np.ones(1))
    found = suggest(table, [([0, 1], np.array([[logit], [1.0]]))], calibration, thresholds)
    refuse_checked(out)
    found.write(out)

calls = []
for line in sys.stdin:
    at, logit, out = line.rstrip("\\n").split(" ", 2)
    child = os.fork()  # importing all this for each of them would take most of the time
    if not child:
        write(int(at), float(logit), out)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_a_pair_that_was_killed_between_its_files_is_known_and_written_anew(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def write(at: int, logit: float, out: Path) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{at} {logit} {out}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        points = 6  # two files, each with two fsyncs and a rename
        for at in range(1, points + 1):
            out = tmp_path / f"{at}" / "s.csv"
            assert write(0, 2, out) == 0
            assert write(at, 3, out) == -signal.SIGKILL
            assert write(0, 4, out) == 0
            summary = json.loads(Path(f"{out}.json").read_text())
            assert summary["suggested"] == 2
            assert f"{1 / (1 + np.exp(-4)):.6f}" in out.read_text()
        assert write(points + 1, 3, out) == 0
        out.write_text(out.read_text() + "c.jpg,sky,present,recovered,1,1,own\n")
        assert write(0, 2, out) not in {0, -signal.SIGKILL}
