"""The verbs as a user of the library or the command line meets them."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pytest

import partlabel
from partlabel.cli import main
from partlabel.errors import LabelError, UsageError
from partlabel.labels import LabelTable
from partlabel.merging import Source, merge
from partlabel.progress import SILENT

TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "epochs": 8,
    "batch_size": 8,
    "accelerator": "cpu",
    "lr": 0.01,
}


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> partlabel.RunFolder:
    out = tmp_path_factory.mktemp("verbs") / "run"
    return partlabel.train(
        partial_labels, images=color_images[0], out=out, method="bce", pool="max", holdout=0.3, **TINY
    )


def test_every_verb_is_public_and_the_package_imports_no_torch() -> None:
    code = "import sys, partlabel; partlabel.LabelTable; partlabel.look; partlabel.hide; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
    for name in partlabel.__all__:
        assert getattr(partlabel, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = partlabel.nothing


def test_help_is_quick() -> None:
    seconds = []
    for _ in range(3):
        before = time.monotonic()
        subprocess.run([sys.executable, "-m", "partlabel", "--help"], capture_output=True, check=True)
        seconds.append(time.monotonic() - before)
    modules = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, partlabel.cli.app; print([m for m in ('torch', 'numpy') if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert modules.stdout == "[]\n"
    assert min(seconds) < 2


@pytest.mark.slow
def test_a_run_holds_everything(run: partlabel.RunFolder) -> None:
    files = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert {
        "config.json",
        "run.json",
        "log.csv",
        "labels.parquet",
        "held_out.parquet",
        "model/model.json",
        "model/model.safetensors",
        "report.html",
        "checkpoints/selection-last.ckpt",
    } <= files
    assert run.info["versions"]["partlabel"] == partlabel.__version__
    assert run.info["held_out"]["present"] > 0
    assert len(run.log()) == 8


@pytest.mark.slow
def test_evaluate_learns_and_agrees_with_scores_from_a_file(
    run: partlabel.RunFolder, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, truth = color_images
    found = partlabel.evaluate(run, truth, images=root, json=tmp_path / "result.json")
    assert found.mean_average_precision["raw"] > 0.9
    written = json.loads((tmp_path / "result.json").read_text())
    assert set(written) >= {"mAP", "OF1", "CF1", "classes", "known", "per_class"}
    assert set(written["mAP"]) == {"raw", "voc12", "voc07"}
    assert set(written["CF1"]) == {"harmonic", "mean"}

    table = partlabel.predict(run.path, [root], out=tmp_path / "tags.csv")
    rows = table.to_pylist()
    names = truth.images
    columns: dict[str, Any] = {"image": list(names)}
    for name in truth.classes:
        by_image = {Path(row["image"]).name: row["logit"] for row in rows if row["class"] == name}
        columns[name] = [by_image[image] for image in names]
    pyarrow.csv.write_csv(pyarrow.table(columns), tmp_path / "scores.csv")
    again = partlabel.evaluate_scores(tmp_path / "scores.csv", truth, threshold=0.0)
    assert again.mean_average_precision == pytest.approx(found.mean_average_precision)
    numbers = LabelTable.from_dense(["007", "010"], ["red"], [[1], [-1]])
    (tmp_path / "numbers.csv").write_text("image,red\n007,0.9\n010,0.1\n")
    assert (
        partlabel.evaluate_scores(tmp_path / "numbers.csv", numbers, threshold=0.5).mean_average_precision["raw"] == 1
    )
    more = LabelTable.from_dense([*names, "x.png"], truth.classes, np.ones((33, 3)))
    with pytest.raises(LabelError, match=r"scores for 32 of 33 images, first without: 'x\.png'"):
        partlabel.evaluate_scores(tmp_path / "scores.csv", more, threshold=0.0)


@pytest.mark.slow
def test_a_copied_bundle_predicts_the_same(
    run: partlabel.RunFolder, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(run.model, tmp_path / "shipped")
    image = color_images[0] / "00.png"
    one, two = partlabel.predict(run.path, [image]), partlabel.predict(tmp_path / "shipped", [image])
    assert one.equals(two)
    assert set(one.column_names) == {"image", "class", "probability", "logit", "predicted"}


@pytest.mark.slow
def test_recovered_labels_can_be_merged_and_checks_are_not_written_over(
    run: partlabel.RunFolder, color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    root, _ = color_images
    found = partlabel.recover(
        run, partial_labels, images=root, out=tmp_path / "found.csv", precision=0.5, estimate=True
    )
    for one in found:
        assert (
            partial_labels.rows([partial_labels.image_positions[one.image]])[
                0, partial_labels.class_positions[one.class_name]
            ]
            == 0
        )
    merged, conflicts = merge(partial_labels, found.to_table())
    assert not conflicts
    partlabel.recover(run, partial_labels, images=root, out=tmp_path / "found.csv", precision=0.5, estimate=True)
    with (tmp_path / "found.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(UsageError, match="may hold your checks"):
        partlabel.recover(run, partial_labels, images=root, out=tmp_path / "found.csv", precision=0.5, estimate=True)
    again = partlabel.read_table(tmp_path / "found.csv").table if len(found) else None
    assert again is None or int(again.counts_by_class().present.sum()) == len(found)
    assert json.loads((tmp_path / "found.csv.json").read_text())["suggested"] == len(found)
    assert (merged.dense() >= partial_labels.dense()).all()


@pytest.mark.slow
@pytest.mark.slow
def test_frozen_find_lr_refit_and_init(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    root, truth = color_images
    settings = {**TINY, "epochs": 2, "freeze": True, "refit": True}
    del settings["lr"]
    run = partlabel.train(
        partial_labels,
        images=root,
        out=tmp_path / "run",
        holdout=0.3,
        find_lr=[1e-3, 1e-1],
        report=False,
        **settings,
    )
    assert run.settings.lr in {1e-3, 1e-1}
    assert set(run.info["found_lr"]) == {"0.001", "0.1"}
    best = max(run.info["found_lr"], key=lambda rate: run.info["found_lr"][rate])
    assert run.settings.lr == float(best)
    assert [row["phase"] for row in run.log()] == ["selection"] * 2 + ["refit"] * 2
    one = partlabel.evaluate(run, truth, images=root, report=False).mean_average_precision["raw"]
    more = partlabel.train(
        partial_labels,
        images=root,
        out=tmp_path / "more",
        init=run.path,
        holdout=0.3,
        lr=1e-9,
        **{**settings, "epochs": 1},
    )
    held_out = more.info["held_out"]
    assert more.info["init_knew"] == held_out["present"] + held_out["absent"] > 0  # its refit saw all of them
    assert "was trained on" in (more.path / "report.html").read_text()
    two = partlabel.evaluate(more, truth, images=root, report=False).mean_average_precision["raw"]
    assert two == pytest.approx(one, abs=1e-3)
    with pytest.raises(UsageError, match="set holdout above 0"):
        partlabel.train(partial_labels, images=root, out=tmp_path / "none", holdout=0, find_lr=True, **settings)


@pytest.mark.slow
def test_config_file_and_command_line_say_the_same(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "labels.csv"
    partlabel.write_table(partial_labels, table)
    (tmp_path / "one.toml").write_text(
        'method = "saliency"\nalpha = 0.25\npseudo = "none"\nbackbone = "test_resnet"\npretrained = false\nsize = 32\n'
        'epochs = 1\naccelerator = "cpu"\n'
    )
    base = ["partlabel", "train", str(table), "--images", str(color_images[0]), "--quiet"]
    calls = {
        "one": [*base, "--out", str(tmp_path / "one"), "--config", str(tmp_path / "one.toml")],
        "two": [
            *base,
            "--out",
            str(tmp_path / "two"),
            "--method",
            "saliency",
            "--set",
            "alpha=0.25",
            "--set",
            "pseudo=none",
            "--backbone",
            "test_resnet",
            "--from-scratch",
            "--set",
            "size=32",
            "--epochs",
            "1",
            "--set",
            "accelerator=cpu",
        ],
    }
    for arguments in calls.values():
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
    one, two = (json.loads((tmp_path / name / "config.json").read_text()) for name in calls)
    assert one == two
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in calls]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    "verb", ["demo", "look", "hide", "train", "evaluate", "recover", "predict", "explain", "methods", "bench"]
)
def test_every_verb_explains_itself(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["partlabel", verb, "--help"])
    with pytest.raises(SystemExit):
        main()
    assert "Usage: partlabel" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        {"amp": "bf16", "clip_norm": 1.0, "ema": 0.9, "optimizer": "sgd", "schedule": "cosine"},
        {"accumulate": 2, "method": "assume_negative", "optimizer": "adam", "schedule": "constant"},
    ],
)
@pytest.mark.slow
def test_loop_options_train(
    options: dict[str, Any], color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    settings = {**TINY, "epochs": 3, **options}
    run = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "run", report=False, **settings)
    losses = [float(row["loss"]) for row in run.log()]
    assert losses[-1] < losses[0]
    rates = [float(row["lr"]) for row in run.log()]
    assert (len(set(rates)) == 1) == (options["schedule"] == "constant")


@pytest.mark.slow
def test_images_seen_in_training_are_told(
    run: partlabel.RunFolder, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, truth = color_images
    said: list[str] = []

    class Listening:
        def say(self, text: str) -> None:
            said.append(text)

        track = SILENT.track

    partlabel.evaluate(run, truth, images=root, report=False, json=tmp_path / "e.json", reporter=Listening())
    assert "32 of 32 images were used in training: these are no test numbers" in said
    assert json.loads((tmp_path / "e.json").read_text())["images_used_in_training"] == 32


@pytest.mark.slow
def test_predict_leaves_out_broken_images_when_told(
    run: partlabel.RunFolder, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    good, bad = color_images[0] / "00.png", tmp_path / "bad.png"
    bad.write_text("no image")
    with pytest.raises(
        partlabel.PartlabelError,
        match=r"1 of 2 images cannot be read: .*bad\.png.*no image.*; leave them out with --broken skip",
    ):
        partlabel.predict(run, [good, bad])
    assert partlabel.predict(run, [good, bad], broken="skip").num_rows == 3
    with pytest.raises(partlabel.PartlabelError, match="does not exist"):
        partlabel.predict(run, [tmp_path / "nothing"])


@pytest.mark.parametrize(
    "arguments",
    [
        "train no.csv --images . --out run",
        "evaluate run no.csv --images .",
        "recover run no.csv --images . --out s.csv",
    ],
)
def test_a_mistyped_path_is_refused_before_torch_is_imported(arguments: str) -> None:
    code = (
        "import sys, atexit; from partlabel.cli import main; "
        "atexit.register(lambda: print('torch' in sys.modules)); main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments.split()], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "False\n", "partlabel: no.csv does not exist\n")


@pytest.mark.slow
@pytest.mark.slow
def test_the_number_of_cells_that_initial_weights_knew_goes_with_the_suggestions(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    root, _ = color_images
    settings = {**TINY, "epochs": 2, "holdout": 0.3, "report": False}
    first = partlabel.train(partial_labels, images=root, out=tmp_path / "first", **settings)
    second = partlabel.train(partial_labels, images=root, out=tmp_path / "second", init=first.path, seed=1, **settings)
    third = partlabel.train(partial_labels, images=root, out=tmp_path / "third", init=second.path, seed=1, **settings)
    assert second.info["init_knew"] > 0
    assert third.info["init_knew"] == second.info["init_knew"]  # second did not see them, but first did
    with pytest.raises(LabelError, match=f"trained on {third.info['init_knew']} of the known cells"):
        partlabel.recover(third, partial_labels, images=root, out=tmp_path / "s.csv")
    partlabel.recover(third, partial_labels, images=root, out=tmp_path / "s.csv", estimate=True)
    written = json.loads((tmp_path / "s.csv.json").read_text())
    assert written["evidence"]["seen_by_start"] == third.info["init_knew"]


@pytest.mark.slow
def test_recovered_cells_are_no_truth(
    run: partlabel.RunFolder, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, truth = color_images
    cells = truth.cells()
    said = [Source.RECOVERED if row % 2 else Source.HUMAN for row in cells.image_index]
    mixed = LabelTable.from_cells(truth.images, truth.classes, cells.image_index, cells.class_index, cells.states, said)
    found = partlabel.evaluate(run, mixed, images=root, report=False).to_json()
    assert found["known"] == {
        "present": (truth.dense()[::2] > 0).sum(),
        "absent": (truth.dense()[::2] < 0).sum(),
        "unknown": 48,
    }


@pytest.mark.slow
def test_a_report_does_not_call_training_images_a_test(
    run: partlabel.RunFolder, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, truth = color_images
    partlabel.evaluate(run, truth, images=root)
    report = (run.path / "report.html").read_text()
    assert "mAP on images that partly served in training" in report
    assert "mAP on test" not in report


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,red,green,blue,red\n00.png,1,1,1,1\n", "has the column 'red' more than once"),
        ("image,red,green,blue\n00.png,2020-01-01,1,1\n", "holds something that is no number"),
    ],
)
def test_scores_that_cannot_be_read(
    text: str, says: str, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(LabelError, match=says):
        partlabel.evaluate_scores(tmp_path / "scores.csv", color_images[1].select_images(["00.png"]), threshold=0.5)


@pytest.mark.slow
def test_one_image_needs_no_list(run: partlabel.RunFolder, color_images: tuple[Path, LabelTable]) -> None:
    assert partlabel.predict(run, str(color_images[0] / "00.png")).num_rows == 3


@pytest.mark.slow
def test_one_image_under_two_names_is_refused(color_images: tuple[Path, LabelTable], tmp_path: Path) -> None:
    root, truth = color_images
    names = ["00.png", "./00.png", *truth.images[2:]]
    table = LabelTable.from_dense(names, truth.classes, truth.dense())
    said = "'00.png' and './00.png' are the same image"
    assert any(said in finding for finding in partlabel.look(table, images=root).problems)
    with pytest.raises(LabelError, match=said):
        partlabel.train(table, images=root, out=tmp_path / "run", method="bce", **TINY)
