"""Labels come in from another tool, a model learns from them, and what it suggests goes back into that tool."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import partlabel
from partlabel.cli import main
from partlabel.labels import LabelTable, Source

pytestmark = pytest.mark.slow

Verb = Callable[..., None]
SMALL = ["--backbone", "test_resnet", "--set", "pretrained=false", "--set", "size=32", "--freeze", "--method"]
FITTED = [*SMALL, "discriminant", "--set", "accelerator=cpu", "--quiet"]
ESTIMATED = ["--estimate", "--precision", "0.5", "--quiet"]


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Verb:
    """A command of the command line, which must end well."""

    def run(*arguments: str | Path) -> None:
        monkeypatch.setattr(sys, "argv", ["partlabel", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code

    return run


def told(name: str, classes: list[str]) -> dict[str, Any]:
    return {"from_name": name, "to_name": "image", "type": "choices", "value": {"choices": classes}}


def export_of(table: LabelTable) -> list[dict[str, Any]]:
    """A project as Label Studio exports it: every second image annotated, one annotation cancelled."""
    tasks = []
    for number, image in enumerate(table.images):
        of_state = {"tags": 1, "missing": -1}
        row = table.rows([number])[0]
        results = [
            told(control, [name for name, found in zip(table.classes, row, strict=True) if found == state])
            for control, state in of_state.items()
        ]
        results = [one for one in results if one["value"]["choices"]]
        annotation = {"id": number, "result": results, "was_cancelled": number == 4, "ground_truth": False}
        annotations = [annotation] if number % 2 == 0 else []
        data = {"image": f"/data/local-files/?d=photos/{image}"}
        tasks.append({"id": number, "data": data, "annotations": annotations, "predictions": []})
    return tasks


def test_label_studio_half_annotated(
    tmp_path: Path, verb: Verb, color_images: tuple[Path, LabelTable], consumer: Callable[..., Any]
) -> None:
    root, truth = color_images
    export = tmp_path / "export.json"
    export.write_text(json.dumps(export_of(truth)))
    reading = ["--columns", "present=tags,absent=missing", "--strip", "photos/"]
    table = partlabel.read_table(export, columns=reading[1], strip="photos/").table
    annotated = [row for row in range(len(truth)) if row % 2 == 0 and row != 4]
    hidden = np.isin(np.arange(len(truth)), annotated, invert=True)
    expected = np.where(hidden[:, None], 0, truth.rows(np.arange(len(truth))))
    assert table.images == truth.images
    assert table.select_classes(list(truth.classes)).dense().tolist() == expected.tolist()
    verb("train", export, *reading, "--images", root, "--out", tmp_path / "run", *FITTED)
    verb("recover", tmp_path / "run", export, *reading, "--images", root, "--out", tmp_path / "s.csv", *ESTIMATED)
    suggestions = (tmp_path / "s.csv").read_text().splitlines()[1:]
    assert suggestions
    tasks = tmp_path / "tasks.json"
    back = ["--to", "label_studio", "--suggestions", tmp_path / "s.csv", "--prefix", "/data/local-files/?d=photos/"]
    verb("convert", export, tasks, *reading, *back)
    seen = consumer("label_studio_opens.py", tasks, tmp_path / "tasks.config.xml")
    assert {*seen["classes"]["present"]} == {*truth.classes}
    by_image = {
        image.removeprefix("/data/local-files/?d=photos/"): (said, guessed) for image, said, guessed in seen["tasks"]
    }
    assert {*by_image} == {*truth.images}
    for row, image in enumerate(truth.images):
        said, _ = by_image[image]
        for state, control in ((1, "present"), (-1, "absent")):
            names = {name for name, found in zip(truth.classes, expected[row], strict=True) if found == state}
            assert {*said.get(control, [])} == names
    shown = {(image, name) for image, (_, guessed) in by_image.items() for name in guessed.get("present", [])}
    assert shown == {tuple(line.split(",")[:2]) for line in suggestions}


def test_lvis_to_predictions(tmp_path: Path, verb: Verb, color_images: tuple[Path, LabelTable]) -> None:
    root, truth = color_images
    categories = [{"id": 7 - n, "name": name, "synset": f"{name}.n.01"} for n, name in enumerate(truth.classes)]
    ids = {one["name"]: one["id"] for one in categories}
    images, annotations = [], []
    for row, image in enumerate(truth.images):
        states = dict(zip(truth.classes, truth.rows([row])[0].tolist(), strict=True))
        absent = [ids[name] for name, state in states.items() if state < 0 and (row + ids[name]) % 2]
        url = f"http://images.cocodataset.org/colors/{image}"
        images.append({"id": row, "coco_url": url, "neg_category_ids": absent, "not_exhaustive_category_ids": []})
        for name, state in states.items():
            if state > 0 and (row + ids[name]) % 3:
                box = {"bbox": [0, 0, 9, 9], "area": 81, "segmentation": [[0, 0, 9, 0, 9, 9]]}
                annotations.append({"id": len(annotations), "image_id": row, "category_id": ids[name], **box})
    content = {"images": images, "annotations": annotations, "categories": categories}
    labels = tmp_path / "lvis_v1_train.json"
    labels.write_text(json.dumps(content))
    photos = tmp_path / "colors"
    shutil.copytree(root, photos)
    verb("look", labels, "--images", tmp_path, "--quiet")
    verb("train", labels, "--images", tmp_path, "--out", tmp_path / "run", *FITTED)
    known = partlabel.RunFolder.open(tmp_path / "run").labels()
    right = truth.dense()
    for row, image in enumerate(known.images):
        for column, name in enumerate(known.classes):
            state = known.rows([row])[0, column]
            place = truth.image_positions[image.removeprefix("colors/")], truth.class_positions[name]
            assert state in {0, right[place]}
    counts = known.counts_by_class()
    assert counts.present.sum() == len(annotations)
    assert counts.absent.sum() == sum(len(one["neg_category_ids"]) for one in images)
    verb("predict", tmp_path / "run", photos, "--out", tmp_path / "scores.csv", "--quiet")
    assert len((tmp_path / "scores.csv").read_text().splitlines()) > len(truth)


def test_keywords_of_photographs(
    tmp_path: Path, verb: Verb, color_images: tuple[Path, LabelTable], consumer: Callable[..., Any]
) -> None:
    """From XMP keywords to suggested ones under a prefix; the photographs stay as they are, byte for byte."""
    root, truth = color_images
    photos = tmp_path / "photos"
    photos.mkdir()
    names = [f"{Path(name).stem}.jpg" for name in truth.images]
    for name, image in zip(names, truth.images, strict=True):
        Image.open(root / image).save(photos / name, quality=95)
    known = truth.dense() * (np.add.outer(np.arange(len(truth)), np.arange(3)) % 3 > 0)
    table = LabelTable.from_dense(names, truth.classes, known)
    partlabel.write_table(table, tmp_path / "keywords", format="sidecars", lose=["classes", "order"])
    for sidecar in (tmp_path / "keywords").rglob("*.xmp"):
        shutil.copy(sidecar, photos / sidecar.name)
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in photos.iterdir()}
    verb("train", photos, "--format", "sidecars", "--images", photos, "--out", tmp_path / "run", *FITTED)
    given = ["--format", "sidecars", "--images", photos, "--out", tmp_path / "s.csv"]
    verb("recover", tmp_path / "run", photos, *given, *ESTIMATED)
    suggestions = {tuple(line.split(",")[:2]) for line in (tmp_path / "s.csv").read_text().splitlines()[1:]}
    assert suggestions
    back = ["--to", "sidecars", "--suggestions", tmp_path / "s.csv", "--lose", "classes", "--lose", "order"]
    verb("convert", photos, tmp_path / "new", "--format", "sidecars", *back)
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in photos.iterdir()} == before
    new = partlabel.read_table(tmp_path / "new", format="sidecars")
    assert {(one.image, one.class_name) for one in new.report.suggested} == suggestions
    again = new.table.select_images(list(names)).select_classes(list(truth.classes))
    assert again.dense().tolist() == known.tolist()
    assert {*again.sources.tolist()} <= {Source.IMPORT, Source.REVIEW}
    image, name = sorted(suggestions)[0]
    seen = consumer("pyexiv2_keywords.py", "read", tmp_path / "new" / f"{image}.xmp")
    assert name in json.dumps(seen)
    assert "partlabel" in json.dumps(seen)
