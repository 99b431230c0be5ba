"""`auto` as a user meets it: in train, look, methods and bench."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import partlabel
from partlabel.cli import main
from partlabel.errors import AssumptionError, UsageError
from partlabel.grids import plan
from partlabel.inspection.page import page
from partlabel.inspection.record import record
from partlabel.labels import LabelTable
from partlabel.progress import Silent

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "epochs": 1,
    "batch_size": 16,
    "accelerator": "cpu",
    "report": False,
}
Colours = tuple[Path, LabelTable]


class Lines(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def partlabel_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    monkeypatch.setattr(sys, "argv", ["partlabel", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, " ".join(said.err.split())


def test_on_the_command_line(
    color_images: Colours,
    partial_labels: LabelTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table, out = tmp_path / "labels.csv", tmp_path / "run"
    partlabel.write_table(partial_labels, table)
    code, _, said = partlabel_says(
        monkeypatch,
        capsys,
        "train",
        str(table),
        "--images",
        str(color_images[0]),
        "--out",
        str(out),
        "--method",
        "auto",
        "--backbone",
        "test_resnet",
        "--from-scratch",
        "--freeze",
        "--set",
        "size=32",
        "--set",
        "accelerator=cpu",
        "--set",
        "shrinkage=0.5",
        "--epochs",
        "1",
    )
    assert code == 0
    assert "auto takes discriminant, shrinkage = 0.5, stages = 2: " in said
    assert "(docs/discriminant.md); the labels: both signs, 32 × 3 cells" in said
    assert "discriminant takes no steps: epochs without effect" in said
    config, info = (json.loads((out / name).read_text()) for name in ("config.json", "run.json"))
    assert (config["method"], config["method_settings"], config["stages"]) == ("discriminant", {"shrinkage": 0.5}, 2)
    assert info["auto"]["kind"] == "both signs"
    assert "docs/discriminant.md" in info["auto"]["reason"]
    assert "auto took discriminant for these labels: " in (out / "report.html").read_text()
    assert json.loads((out / "model" / "model.json").read_text())["method"] == "discriminant"


def test_a_run_is_what_its_method_by_name_gives(
    color_images: Colours, partial_labels: LabelTable, tmp_path: Path
) -> None:
    auto = partlabel.train(
        partial_labels, images=color_images[0], out=tmp_path / "auto", method="auto", alpha=0.25, **TINY
    )
    settings = {"method": "saliency", "pseudo": "none", "supervised": "weak", "alpha": 0.25}
    named = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "named", **settings, **TINY)
    assert auto.settings == named.settings
    assert (auto.model / "model.safetensors").read_bytes() == (named.model / "model.safetensors").read_bytes()
    assert "auto" not in named.info


def test_what_the_user_sets_goes_before_the_rule(
    color_images: Colours, partial_labels: LabelTable, tmp_path: Path
) -> None:
    for name, given in (("flat", {"pseudo": "weak"}), ("nested", {"method_settings": {"pseudo": "weak"}})):
        run = partlabel.train(
            partial_labels, images=color_images[0], out=tmp_path / name, method="auto", **given, **TINY
        )
        assert (run.settings.method, run.settings.method_settings) == (
            "saliency",
            {"pseudo": "weak", "supervised": "weak"},
        )


def test_stages_are_as_the_user_says_or_as_the_backbone_can(
    color_images: Colours, partial_labels: LabelTable, tmp_path: Path
) -> None:
    """A rule wants two; one where the user says so, or the last stage of the backbone is not known."""
    settings = {**TINY, "freeze": True, "method": "auto", "epochs": 15, "batch_size": 64}
    run = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "one", **settings, stages=1)
    assert (run.settings.method, run.settings.stages) == ("discriminant", 1)
    run = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "two", **settings)
    assert (run.settings.method, run.settings.stages) == ("discriminant", 2)
    settings["backbone"] = "xcit_nano_12_p16_224"
    lines = Lines()
    run = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "xcit", **settings, reporter=lines)
    assert (run.settings.method, run.settings.stages) == ("discriminant", 1)
    assert any(
        line.startswith("features of the last stage alone (the last stage of backbone xcit") for line in lines.said
    )
    with pytest.raises(UsageError, match="leave stages at 1"):
        partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "said", **settings, stages=2)
    assert not (tmp_path / "said").exists()


def test_weights_of_an_earlier_run_are_no_start_from_scratch(
    color_images: Colours, partial_labels: LabelTable, tmp_path: Path
) -> None:
    first = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "first", **TINY)
    more = partlabel.train(
        partial_labels, images=color_images[0], out=tmp_path / "more", method="auto", init=first.path, **TINY
    )
    assert more.settings.method == "asl"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"gamma": 2.0}, "method saliency has no setting 'gamma'; its settings are saliency, alpha"),
        (
            {"method_settings": {"tilt": 1}},
            "method saliency has no setting 'tilt'; its settings are saliency",
        ),
        ({"epoch": 3}, "no setting 'epoch'; did you mean epochs? Settings are"),
        (
            {"alpha": "much"},
            "method saliency: alpha: input should be a valid number, unable to parse string as a number, got 'much'",
        ),
    ],
)
def test_settings_that_do_not_fit_the_method_taken(
    settings: dict[str, Any], sentence: str, color_images: Colours, partial_labels: LabelTable, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refused:
        partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "run", method="auto", **settings, **TINY)
    assert sentence in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_table_without_a_present_cell_is_refused(color_images: Colours, tmp_path: Path) -> None:
    root, truth = color_images
    absent = LabelTable.from_dense(truth.images, truth.classes, np.minimum(truth.dense(), 0))
    with pytest.raises(AssumptionError, match="auto: the table holds no known present cell"):
        partlabel.train(absent, images=root, out=tmp_path / "run", method="auto", **TINY)
    assert record(partlabel.look(absent))["auto"] == {}


def test_look_says_what_training_takes(color_images: Colours, partial_labels: LabelTable) -> None:
    found = partlabel.look(partial_labels)
    assert {network: entry["method"] for network, entry in record(found)["auto"].items()} == {
        "frozen": "discriminant",
        "fine-tuned": "asl",
        "from scratch": "saliency",
    }
    lines = page(found).splitlines()
    start = lines.index("What --method auto takes")
    assert lines[start - 1] == ""
    assert lines[start + 1].startswith("  frozen: discriminant, stages = 2: ")
    assert lines[start + 2].startswith("  fine-tuned: asl: ")
    assert lines[start + 3].startswith("  from scratch: saliency, pseudo = none, supervised = weak: ")
    positives = LabelTable.from_dense(["a", "b"], ["x", "y"], [[1, 1], [0, 1]])
    assert any(
        line.startswith("  fine-tuned or from scratch: positive_unlabeled: among the best")
        for line in page(partlabel.look(positives)).splitlines()
    )


def test_the_list_of_methods_tells_of_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, listed, _ = partlabel_says(monkeypatch, capsys, "methods")
    assert "`--method auto` takes one by the labels (saliency, discriminant, bce, asl, positive_unlabeled)" in listed
    _, one, _ = partlabel_says(monkeypatch, capsys, "methods", "saliency")
    for line in (
        "    pseudo = 'strong' (or 'none', 'weak')",
        "    tau = 0.6 (at least 0.5, at most 1)",
        "    saliency = True (or False)",
        "    frozen_norm = False (or True, 'all')",
        "    lr = None (above 0)",
        "    backbone = 'resnet50'",
    ):
        assert f"{line}\n" in one
    assert "    method = " not in one
    _, fitted, _ = partlabel_says(monkeypatch, capsys, "methods", "discriminant")
    assert "    shrinkage = None (at least 1e-06, at most 1)\n" in fitted
    assert "    holdout = 0.1" in fitted
    assert "    lr = None" not in fitted
    assert "; fitted at once, on frozen features (--freeze)\n" in listed
    assert "; needs a run to start from (--init)\n" in listed
    code, rules, _ = partlabel_says(monkeypatch, capsys, "methods", "auto")
    assert code == 0
    assert "both signs, from scratch: saliency pseudo=none supervised=weak\n" in rules


GRID = """
seeds = [0]

[data.scenes]
builtin = "digit_scenes"
train = 40
test = 20

[masking.half]
name = "known_ratio"
ratio = 0.5

[masking.positives]
name = "positives_only"

[settings]
backbone = "test_resnet"
pretrained = false
size = 32
epochs = 1
accelerator = "cpu"

[method.auto]
tau = 0.7
lr = 1e-3
"""


def test_cells_of_a_grid_depend_on_all_of_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    row = SimpleNamespace(settings={"method": "auto"})
    before = plan._rules(row)  # type: ignore[arg-type]
    monkeypatch.setattr(plan, "RULES", tuple(replace(rule, stages=1) for rule in plan.RULES))
    assert plan._rules(row) != before  # type: ignore[arg-type]


def test_a_row_of_a_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, out = tmp_path / "grid.toml", tmp_path / "out"
    grid.write_text(GRID)
    outcome = partlabel.bench(grid, out=out)
    assert outcome.failed.keys() == {"scenes / positives / auto / seed 0"}
    reason = outcome.failed["scenes / positives / auto / seed 0"]
    assert "method positive_unlabeled has no setting 'tau'; its settings are " in reason
    record = json.loads((out / "cells" / "scenes--half--auto--seed0" / "cell.json").read_text())
    assert (record["settings"]["method"], record["settings"]["method_settings"]["tau"]) == ("saliency", 0.7)

    monkeypatch.setattr(plan, "RULES", plan.RULES[1:])
    partlabel.bench(grid, out=out)
    again = json.loads((out / "cells" / "scenes--half--auto--seed0" / "cell.json").read_text())
    assert again["key"] != record["key"]


def test_a_grid_refuses_a_setting_that_no_rule_could_use(tmp_path: Path) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID.replace("tau", "ta"))
    with pytest.raises(UsageError, match=r"method\.auto: no setting 'ta'; did you mean tau"):
        partlabel.bench(grid, out=tmp_path / "out")
