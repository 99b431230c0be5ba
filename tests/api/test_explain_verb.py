"""`explain` as a user of the library or the command line meets it."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import partlabel
from partlabel.cli import main
from partlabel.errors import ImageError, LabelError, StorageError, UsageError
from partlabel.images.decode import decode
from partlabel.images.views import build_view
from partlabel.labels import LabelTable
from partlabel.models.bundle import load_bundle
from partlabel.models.encoders.base import view_settings
from partlabel.models.explain_maps import label_maps

pytestmark = pytest.mark.slow

Images = tuple[Path, LabelTable]


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, color_images: Images, partial_labels: LabelTable
) -> partlabel.RunFolder:
    return partlabel.train(
        partial_labels,
        images=color_images[0],
        out=tmp_path_factory.mktemp("explain") / "run",
        method="saliency",
        pseudo="none",
        supervised="weak",
        backbone="test_resnet",
        backbone_args={"output_stride": 8},
        pretrained=False,
        size=64,
        epochs=12,
        batch_size=8,
        lr=0.01,
        holdout=0.3,
        accelerator="cpu",
        report=False,
    )


def call(*arguments: Any) -> int:
    """The exit code of a command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["partlabel", "explain", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0)


def test_maps_land_on_the_coloured_squares(run: partlabel.RunFolder, color_images: Images) -> None:
    root, truth = color_images
    tagger, info = load_bundle(run.model)
    view = build_view("plain", view_settings(info.backbone))
    ratios: dict[str, list[float]] = {"class": [], "gradient": []}
    for name, states in zip(truth.images, truth.dense(), strict=True):
        columns = np.flatnonzero(states > 0).tolist()
        if not columns:
            continue
        image = decode(root / name)
        with torch.no_grad():
            maps = label_maps(tagger.head, tagger.features(view(image)[None]), columns, gradient=True)
        for kind, values in maps.items():
            for place, column in enumerate(columns):
                found = values[0, place].numpy()
                scaled = (found - found.min()) / max(found.max() - found.min(), 1e-12)
                heat = np.asarray(Image.fromarray(scaled).resize(image.size, Image.Resampling.BILINEAR))
                inside = np.asarray(image)[:, :, column] == 255
                ratios[kind].append(float(heat[inside].mean() / max(heat[~inside].mean(), 1e-6)))
    for found in ratios.values():
        assert np.median(found) > 2.5
        assert np.mean(np.asarray(found) > 1.5) > 0.8


def test_figures_and_overview_agree_with_predict_and_truth(
    run: partlabel.RunFolder, color_images: Images, partial_labels: LabelTable, tmp_path: Path
) -> None:
    root, truth = color_images
    names = truth.images[:16]
    found = partlabel.explain(run, [root / name for name in names], out=tmp_path / "out", truth=truth, maps="gradient")
    assert json.loads((tmp_path / "out" / "explained.json").read_text()) == found
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "explained.json",
        *(entry["figure"] for entry in found["images"]),
    }
    predicted = {(row["image"], row["class"]): row for row in partlabel.predict(run, [root]).to_pylist()}
    words = set()
    for entry, name in zip(found["images"], names, strict=True):
        assert entry["image"] == str(root / name)
        with Image.open(tmp_path / "out" / entry["figure"]) as figure:
            figure.load()
            assert figure.size[0] > 900
        probabilities = [label["probability"] for label in entry["labels"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert len(probabilities) == 3
        for label in entry["labels"]:
            row = predicted[entry["image"], label["class"]]
            assert label["predicted"] == row["predicted"]
            assert label["probability"] == pytest.approx(row["probability"], abs=1e-5)
            cell = [truth.image_positions[name]], [truth.class_positions[label["class"]]]
            state, true = int(partial_labels.states_at(*cell)[0]), int(truth.states_at(*cell)[0])
            assert label["state"] == {1: "present", 0: "unknown", -1: "absent"}[state]
            assert label["truth"] == {1: "present", -1: "absent"}[true]
            assert set(label["maps"]) == {"class", "gradient"}
            words.add(label["mark"])
            if state == 0:
                right = {(True, 1): "recovered and right", (True, -1): "recovered and wrong", (False, 1): "missed"}
                assert label["mark"] == right.get((label["predicted"], true))
    assert {"observed", "observed as absent", "recovered and right"} <= words
    (entry,) = partlabel.explain(run, [root / names[0]], out=tmp_path / "all", maps="all")["images"]
    assert {tuple(label["maps"]) for label in entry["labels"]} == {("class", "heat", "gradient")}


def test_a_frozen_run_of_pooled_maps_has_maps_too(
    color_images: Images, partial_labels: LabelTable, tmp_path: Path
) -> None:
    root, _ = color_images
    frozen = partlabel.train(
        partial_labels,
        images=root,
        out=tmp_path / "run",
        method="bce",
        backbone="test_resnet",
        pretrained=False,
        size=64,
        freeze=True,
        epochs=1,
        accelerator="cpu",
        report=False,
    )
    (entry,) = partlabel.explain(frozen, [root / "00.png"], out=tmp_path / "out")["images"]
    predicted = {row["class"]: row["logit"] for row in partlabel.predict(frozen, [root / "00.png"]).to_pylist()}
    assert {label["class"]: label["logit"] for label in entry["labels"]} == pytest.approx(predicted, abs=1e-5)
    assert all(label["maps"]["class"]["highest"] > label["maps"]["class"]["lowest"] for label in entry["labels"])


def test_top_labels_then_present_ones(run: partlabel.RunFolder, color_images: Images, tmp_path: Path) -> None:
    root, truth = color_images
    name = truth.images[0]
    unknown = LabelTable.from_dense([name], ["blue", "other"], [[0, 1]])
    few = partlabel.explain(run, [root / name], out=tmp_path / "few", top=1, table=unknown)
    assert len(few["images"][0]["labels"]) == 1
    more = partlabel.explain(run, [root / name], out=tmp_path / "more", top=1, table=unknown, truth=truth)
    assert {label["class"] for label in more["images"][0]["labels"]} == {"red", "green", "blue"}
    assert more["images"][0]["labels"][0]["class"] == few["images"][0]["labels"][0]["class"]
    named = partlabel.explain(run, [root / name], out=tmp_path / "named", labels=["blue", "red", "blue"])
    assert [label["class"] for label in named["images"][0]["labels"]] == ["blue", "red"]


def test_a_copied_bundle_explains_new_images_and_truth_needs_a_folder(
    run: partlabel.RunFolder, color_images: Images, tmp_path: Path
) -> None:
    root, truth = color_images
    shutil.copytree(run.model, tmp_path / "shipped")
    alone = partlabel.explain(tmp_path / "shipped", [root / "00.png"], out=tmp_path / "alone")
    assert all(label["mark"] is None and label["state"] is None for label in alone["images"][0]["labels"])
    with pytest.raises(UsageError, match="--images"):
        partlabel.explain(tmp_path / "shipped", [root / "00.png"], out=tmp_path / "alone", truth=truth)
    judged = partlabel.explain(
        tmp_path / "shipped", [root / "00.png"], out=tmp_path / "judged", truth=truth, images=root
    )
    assert {label["mark"] for label in judged["images"][0]["labels"]} <= {"predicted and right", "missed"}
    other = tmp_path / "new.png"
    shutil.copy(root / "00.png", other)
    with pytest.raises(LabelError, match=r"the truth has none of the 1 images, first: .*new\.png"):
        partlabel.explain(run, [other], out=tmp_path / "none", truth=truth)
    assert partlabel.explain(run, [other], out=tmp_path / "new")["images"][0]["labels"][0]["state"] is None
    foreign = LabelTable.from_dense(["00.png"], ["cat"], [[1]])
    with pytest.raises(LabelError, match="none of the classes"):
        partlabel.explain(run, [root / "00.png"], out=tmp_path / "none", truth=foreign)
    assert not (tmp_path / "none").exists()


def test_images_are_found_in_a_table_behind_links_and_spellings(
    run: partlabel.RunFolder, color_images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = color_images
    (tmp_path / "link").symlink_to(root)
    table = LabelTable.from_dense(["./sub/../00.png", "x\\y.png"], ["red"], [[1], [-1]])
    monkeypatch.chdir(tmp_path)
    for file in ("link/00.png", "../" + tmp_path.name + "/link/00.png"):
        found = partlabel.explain(run, [file], out=tmp_path / "out", table=table, labels=["red", "green"])
        assert [label["state"] for label in found["images"][0]["labels"]] == ["present", "unknown"]


def test_command_line(
    run: partlabel.RunFolder, color_images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, truth = color_images
    rows = zip(truth.images, truth.dense().tolist(), strict=True)
    lines = ["image,red,green,blue", *(f"{name},{red},{green},{blue}" for name, (red, green, blue) in rows)]
    (tmp_path / "truth.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    arguments = [run.path, root / "00.png", root / "01.png", "--out", out, "--quiet"]
    assert (
        call(*arguments, "--labels", "green,red", "--truth", tmp_path / "truth.csv", "--codes", "1=present,-1=absent")
        == 0
    )
    assert capsys.readouterr().out == f"{out / '001-00.png'}\n{out / '002-01.png'}\n"
    overview = json.loads((out / "explained.json").read_text())
    assert [[label["truth"] for label in entry["labels"]] for entry in overview["images"]] == [
        ["present"] * 2,
        ["absent"] * 2,
    ]
    assert call(*arguments, "--labels", "gren") == UsageError.exit_code
    assert "the model has no class 'gren'; similar names: green" in capsys.readouterr().err
    assert call(*arguments, "--top", 0) == UsageError.exit_code


def test_broken_and_missing_images_and_places(run: partlabel.RunFolder, color_images: Images, tmp_path: Path) -> None:
    good, bad = color_images[0] / "00.png", tmp_path / "bad.png"
    bad.write_text("no image")
    with pytest.raises(
        ImageError, match=r"1 of 2 images cannot be read: .*bad\.png.*no image.*; leave them out with --broken skip"
    ):
        partlabel.explain(run, [good, bad], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert len(partlabel.explain(run, [bad, good], out=tmp_path / "out", broken="skip")["images"]) == 1
    with pytest.raises(ImageError, match="does not exist"):
        partlabel.explain(run, [tmp_path / "nothing"], out=tmp_path / "out")
    with pytest.raises(StorageError, match="cannot write"):
        partlabel.explain(run, [good], out=bad)
    with pytest.raises(UsageError, match="'method', 'gradient' or 'all'"):
        partlabel.explain(run, [good], out=tmp_path / "out", maps="attention")  # type: ignore[arg-type]


def test_stopped_half_way_nothing_is_torn_and_no_old_overview_speaks_of_new_figures(
    run: partlabel.RunFolder, color_images: Images, tmp_path: Path
) -> None:
    root, _ = color_images
    partlabel.explain(run, [root / "00.png"], out=tmp_path, labels=["red"])

    class Stopping:
        def say(self, text: str) -> None:
            pass

        def track(self, what: str) -> Any:
            from contextlib import nullcontext

            def tick(done: int, total: int) -> None:
                if what == "explaining images":
                    raise KeyboardInterrupt

            return nullcontext(tick)

    with pytest.raises(KeyboardInterrupt):
        partlabel.explain(run, [root], out=tmp_path, labels=["red"], reporter=Stopping())
    assert [path.name for path in tmp_path.iterdir()] == ["001-00.png"]
    Image.open(tmp_path / "001-00.png").load()


def test_awkward_image_names(run: partlabel.RunFolder, color_images: Images, tmp_path: Path) -> None:
    for name in ("a" * 200, "two\nlines ☃", "50% $x$"):
        shutil.copy(color_images[0] / "00.png", tmp_path / f"{name}.png")
    found = partlabel.explain(run, [tmp_path], out=tmp_path / "out", labels=["red"])
    assert [entry["figure"] for entry in found["images"]] == [
        "001-50_x_.png",
        f"002-{'a' * 40}.png",
        "003-two_lines_.png",
    ]


def test_labels_of_training_are_not_put_on_images_of_the_same_name_elsewhere(
    run: partlabel.RunFolder, color_images: Images, tmp_path: Path
) -> None:
    root, table = color_images
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(root / "05.png", elsewhere / "00.png")
    truth = LabelTable.from_dense(["00.png"], table.classes, table.rows([5]))
    told = partlabel.explain(run, [elsewhere / "00.png"], out=tmp_path / "out", truth=truth, images=elsewhere)
    assert {label["state"] for label in told["images"][0]["labels"]} == {None}
    assert {label["truth"] for label in told["images"][0]["labels"]} <= {"present", "absent"}
    assert partlabel.evaluate(run, truth, images=elsewhere, report=False) is not None
    judged = run.evaluation()
    assert judged is not None
    assert judged["images_used_in_training"] == 0
