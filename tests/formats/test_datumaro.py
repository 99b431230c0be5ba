"""Datumaro's own JSON: labels with a state as an attribute, and what Datumaro imports and exports."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partlabel.errors import LabelError, UsageError
from partlabel.formats import read_table, write_table
from partlabel.labels import LabelTable, Source


def label(label_id: Any, **attributes: Any) -> dict[str, Any]:
    return {"id": 0, "type": "label", "attributes": attributes, "group": 0, "label_id": label_id}


def item(id: str, *annotations: Any, path: str | None = None) -> dict[str, Any]:
    return {"id": id, "annotations": [*annotations], "image": {"path": path or f"{id}.jpg", "size": [100, 200]}}


BOX = {"id": 0, "type": "bbox", "attributes": {"state": "faded"}, "label_id": 2, "z_order": 0, "bbox": [1, 2, 3, 4]}
CAPTION = {"id": 0, "type": "caption", "attributes": {}, "group": 0, "caption": "a cat"}
DOCUMENT: dict[str, Any] = {
    "dm_format_version": "1.0",
    "media_type": 2,
    "infos": {},
    "categories": {
        "label": {
            "labels": [{"name": name, "parent": "", "attributes": []} for name in ("cat", "dog", "ape")],
            "label_groups": [],
            "attributes": ["state"],
        },
        "mask": {"colormap": [{"label_id": 0, "r": 0, "g": 0, "b": 0}]},
    },
    "items": [
        item("b/1", label(0), label(1, state="absent"), CAPTION, path="b/1.png"),
        item("2", label(1, state="present"), BOX, BOX, label(0, state="unknown")),
        item("3"),
        {"id": "4", "annotations": [label(0)], "video_frame": {"video_path": "a.mp4", "frame_index": 4}},
    ],
}
DENSE = [[1, -1, 0], [0, 1, 1], [0, 0, 0]]


def put(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def changed(*items: Any, **keys: Any) -> dict[str, Any]:
    return DOCUMENT | {"items": [*DOCUMENT["items"], *items]} | keys


def test_three_states(tmp_path: Path) -> None:
    table, report = read_table(put(tmp_path / "train.json", DOCUMENT))
    assert (table.images, table.classes) == (("b/1.png", "2.jpg", "3.jpg"), ("cat", "dog", "ape"))
    assert table.dense().tolist() == DENSE
    assert (report.format, report.duplicate_count) == ("datumaro", 0)
    assert report.notes == (
        "2 boxes and other shapes were read as present classes",
        "1 items are videos or point clouds and were left out",
    )
    complete = read_table(tmp_path / "train.json", unlisted="absent").table
    assert complete.dense().tolist() == [[1, -1, -1], [0, 1, 1], [-1, -1, -1]]
    both = item("5", label(0, state="unsure"), label(1, state="unsure"), label(1))
    again = read_table(put(tmp_path / "train.json", changed(both))).table
    assert again.dense()[3].tolist() == [0, 1, 0]
    assert again.open_rows([3]).tolist() == [[False, False, True]]
    assert again.unsure == 1


@pytest.mark.parametrize(
    ("id", "path", "name"),
    [
        ("b/1", "/data/images/default/b/1.PNG", "b/1.PNG"),
        ("b/1", "C:\\images\\b\\1.png", "b/1.png"),
        ("1", "b/1.png", "b/1.png"),
        ("2", "/data/1.png", "/data/1.png"),
        ("1", "../1.png", "../1.png"),
        ("1.png", "", "1.png.jpg"),
    ],
)
def test_names_of_images(tmp_path: Path, id: str, path: str, name: str) -> None:
    entry = {"id": id, "annotations": [], "image": {"path": path}}
    assert read_table(put(tmp_path / "a.json", DOCUMENT | {"items": [entry]})).table.images == (name,)


def test_items_may_come_before_the_labels(tmp_path: Path) -> None:
    document = {key: DOCUMENT[key] for key in ("items", "categories")}
    assert read_table(put(tmp_path / "a.json", document)).table.dense().tolist() == DENSE


def test_a_folder_of_subsets(tmp_path: Path) -> None:
    put(tmp_path / "annotations" / "train.json", DOCUMENT)
    val = {"label": {"labels": [{"name": "dog", "parent": ""}, {"name": "emu", "parent": ""}]}}
    put(tmp_path / "annotations" / "val.json", DOCUMENT | {"categories": val, "items": [item("2", label(1), label(0))]})
    (tmp_path / "images" / "val").mkdir(parents=True)
    table, report = read_table(tmp_path)
    assert table.images == ("b/1.png", "2.jpg", "3.jpg", "val/2.jpg")
    assert table.classes == ("cat", "dog", "ape", "emu")
    assert table.dense()[3].tolist() == [0, 1, 0, 1]
    assert report.notes[0] == "the subsets train, val were read together"
    assert read_table(tmp_path / "annotations" / "val.json").table.images == ("val/2.jpg",)


def test_the_state_may_be_another_attribute(tmp_path: Path) -> None:
    path = put(tmp_path / "a.json", changed(item("5", label(0, verdict="absent"))))
    assert read_table(path, columns="state=verdict").table.dense()[3].tolist() == [-1, 0, 0]
    assert read_table(path).table.dense()[3].tolist() == [1, 0, 0]
    with pytest.raises(LabelError, match="no label has the attribute 'veredict'"):
        read_table(path, columns="state=veredict")
    with pytest.raises(UsageError, match="names the attribute of the state only, not image"):
        read_table(path, columns="image=id")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (changed(item("5", label(3))), "item 5: label_id 3 is not one of the 3 labels"),
        (changed(item("5", label(-1))), "item 5: label_id -1 is not one of"),
        (changed(item("5", label("cat"))), "item 5 has the label_id 'cat', which is no number"),
        (changed(item("5", label(True))), "item 5 has the label_id 'True'"),
        (changed(item("5", label(10**30))), "item 5 has the label_id '1000"),
        (changed(item("5", label(0, state="no"))), "whose state is 'no'; write present, absent, unsure, unknown"),
        (changed(item("5", label(0, state=False))), "whose state is 'False'"),
        (changed(item("5", label(0), label(0, state="absent"))), "1 cell.s. contradict themselves"),
        (changed(item("5", "cat")), "item 5 has annotations that are no list of objects"),
        (changed({"id": "5", "annotations": {}}), "item 5 has annotations that are no list"),
        (changed({"annotations": []}), "item 5 has neither an image with a path nor an id"),
        (changed({"id": 5}), "item 5 has neither an image"),
        (changed("5"), "item 5 is no object"),
        (changed(categories={}), "categories has no label.labels"),
        (changed(categories=None), "categories has no label.labels"),
        (changed(categories={"label": {"labels": [{"name": "a"}, {"name": "a"}]}}), "label 1 is called 'a'; each"),
        (changed(categories={"label": {"labels": [{"name": 5}]}}), "label 0 is called 5"),
        (changed(items={}), "'items' is no list"),
        ({"dm_format_version": "1.0", "categories": DOCUMENT["categories"]}, "has no items"),
        ({"dm_format_version": "1.0", "items": []}, "has no categories"),
        ([DOCUMENT], "no object with the list 'items'"),
        (json.dumps(DOCUMENT)[:-1], "no complete JSON"),
        (json.dumps(DOCUMENT).replace("[100, 200]", "[NaN]", 1), "NaN is no number"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, document: Any, says: str) -> None:
    path = put(tmp_path / "a.json", document)
    with pytest.raises(LabelError, match=says) as refusal:
        read_table(path, format="datumaro")
    assert str(path) in str(refusal.value)


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside.json", DOCUMENT)
    root = tmp_path / "in"
    put(root / "annotations" / "a.json", DOCUMENT)
    os.symlink(outside, root / "annotations" / "b.json")
    with pytest.raises(LabelError, match=r"b\.json leads out of the folder"):
        read_table(root)


def test_datumaro_imports_what_is_written(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    states = [[1, -1, 0], [0, 1, 0], [0, 0, 0], [-1, -1, 0]]
    names = ["b/é 1.jpg", "a.png", "plain", "a.jpg"]
    before = LabelTable.from_dense(names, ["zebra", "cat, or not", "never"], states)
    write_table(before, tmp_path / "out", format="datumaro")
    seen = consumer("datumaro_import.py", tmp_path / "out", "datumaro")
    assert seen["classes"] == ["zebra", "cat, or not", "never"]
    assert {id: {name: more["state"] for name, _, more in labels} for id, labels in seen["items"].items()} == {
        "b/é 1.jpg": {"zebra": "present", "cat, or not": "absent"},
        "a.png": {"cat, or not": "present"},
        "plain": {},
        "a.jpg": {"zebra": "absent", "cat, or not": "absent"},
    }
    again = read_table(tmp_path / "out").table
    assert (again.images, again.classes, again.dense().tolist()) == (before.images, before.classes, states)
    with pytest.raises(LabelError, match="is there already"):
        write_table(before, tmp_path / "out", format="datumaro")


def test_what_datumaro_imports_and_exports_again_is_read(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    names, sources = (["b/1.jpg", "2.jpg"], ["cat", "dog", "never"]), [Source.IMPORT, Source.IMPORT, Source.UNSURE]
    before = LabelTable.from_cells(*names, [0, 0, 1], [0, 1, 1], [1, -1, 0], sources)
    write_table(before, tmp_path / "ours", format="datumaro")
    consumer("datumaro_import.py", tmp_path / "ours", "datumaro", tmp_path / "theirs")
    again = read_table(tmp_path / "theirs").table
    assert (again.images, again.classes) == (before.images, before.classes)
    assert again.dense().tolist() == before.dense().tolist()
    assert again.sources.tolist() == sources


def test_what_datumaro_exports_is_read(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    consumer("datumaro_export.py", tmp_path / "out", "datumaro")
    table = read_table(tmp_path / "out").table
    assert (table.images, table.classes) == (("b/1.jpg", "2.jpg", "3.jpg"), ("cat", "dog", "never"))
    assert table.dense().tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
