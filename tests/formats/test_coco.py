"""COCO instances: what is annotated is present, nothing else is known, and pycocotools opens what is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partlabel.errors import LabelError
from partlabel.formats import read_table, write_table
from partlabel.labels import LabelTable

SEGMENTATION = [[510.66, 423.01, 511.72, 420.03, 510.45, 416.0]]
INSTANCES: dict[str, Any] = {
    "info": {"description": "COCO 2014 Dataset", "year": 2014, "contributor": "COCO Consortium"},
    "images": [
        {"license": 5, "file_name": "COCO_train2014_000000057870.jpg", "height": 480, "width": 640, "id": 57870},
        {"license": 5, "file_name": "COCO_train2014_000000384029.jpg", "height": 429, "width": 640, "id": 384029},
        {"license": 1, "file_name": "COCO_train2014_000000222016.jpg", "height": 640, "width": 480, "id": 222016},
    ],
    "licenses": [{"url": "http://creativecommons.org/licenses/by-nc-sa/2.0/", "id": 1, "name": "by-nc-sa"}],
    "annotations": [
        {"segmentation": SEGMENTATION, "area": 702.1, "iscrowd": 0, "image_id": 222016, "category_id": 18, "id": 1768},
        {"segmentation": SEGMENTATION, "area": 11.2, "iscrowd": 0, "image_id": 57870, "category_id": 62, "id": 1773},
        {"segmentation": SEGMENTATION, "area": 64.0, "iscrowd": 0, "image_id": 57870, "category_id": 62, "id": 2551},
        {
            "segmentation": {"counts": [272, 2, 4], "size": [480, 640]},
            "area": 18419,
            "iscrowd": 1,
            "image_id": 57870,
            "category_id": 1,
            "bbox": [1, 0, 276, 122],
            "id": 900100448263,
        },
        {"area": 5.0, "iscrowd": 1, "image_id": 222016, "category_id": 18, "id": 900100448264},
    ],
    "categories": [
        {"supercategory": "person", "id": 1, "name": "person"},
        {"supercategory": "animal", "id": 18, "name": "dog"},
        {"supercategory": "furniture", "id": 62, "name": "chair"},
    ],
}
DENSE = [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def put(path: Path, document: Any) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def changed(key: str, *entries: Any, document: dict[str, Any] = INSTANCES) -> str:
    return json.dumps(document | {key: [*document[key], *entries]})


def test_an_annotation_is_present_and_the_rest_is_unknown(tmp_path: Path) -> None:
    table, report = read_table(put(tmp_path / "instances.json", INSTANCES))
    assert table.images == tuple(f"COCO_train2014_{n:012d}.jpg" for n in (57870, 384029, 222016))
    assert table.classes == ("person", "dog", "chair")
    assert table.dense().tolist() == DENSE
    assert (report.format, report.rows_read, report.duplicate_count) == ("coco", 3, 0)
    assert len(report.notes) == 1
    assert report.notes[0].startswith("1 of 3 present cells rest on regions of a crowd alone")


def test_complete_by_the_users_word(tmp_path: Path) -> None:
    table = read_table(put(tmp_path / "instances.json", INSTANCES), unlisted="absent").table
    assert table.dense().tolist() == [[1, -1, 1], [-1, -1, -1], [-1, 1, -1]]
    assert table.states.size == 3


def test_the_lists_come_in_any_order_and_ids_may_be_texts(tmp_path: Path) -> None:
    backwards = {key: INSTANCES[key] for key in ("categories", "annotations", "images", "info")}
    assert read_table(put(tmp_path / "a.json", backwards)).table.dense().tolist() == DENSE
    text = json.dumps({key: INSTANCES[key] for key in ("annotations", "categories", "images")})
    for id in ("57870", "384029", "222016"):
        text = text.replace(f'": {id}', f'": "x{id}"')
    assert read_table(put(tmp_path / "b.json", text)).table.dense().tolist() == DENSE


def test_images_without_a_list_of_annotations(tmp_path: Path) -> None:
    path = put(tmp_path / "info.json", {key: INSTANCES[key] for key in ("images", "categories")})
    table, report = read_table(path)
    assert not table.dense().any()
    assert "no list 'annotations'" in report.notes[0]
    with pytest.raises(LabelError, match="--unlisted absent would make every class absent"):
        read_table(path, unlisted="absent")


def test_ids_of_annotations_that_come_twice_are_noted(tmp_path: Path) -> None:
    twice = {"image_id": 384029, "category_id": 1, "id": 1768}
    table, report = read_table(put(tmp_path / "a.json", changed("annotations", twice)))
    assert table.dense()[1].tolist() == [1, 0, 0]
    assert "1 annotations have the id of another annotation; all of them are read" in report.notes


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            changed("annotations", {"image_id": 1, "category_id": 1, "id": 1}),
            "entry 6 of 'annotations': image 1 is not",
        ),
        (changed("annotations", {"image_id": 57870, "category_id": 7}), "entry 6 of 'annotations': category 7 is not"),
        (changed("annotations", {"image_id": 57870, "id": 1}), "entry 6 of 'annotations' has no 'category_id'"),
        (changed("annotations", {"category_id": 1}), "has no 'image_id'"),
        (changed("annotations", {"image_id": 57870, "caption": "A dog."}), "captions name no classes"),
        (changed("annotations", {"image_id": 57870, "segments_info": []}), "panoptic"),
        (changed("annotations", [1]), "entry 6 of 'annotations' is \\[1\\]; an annotation is an object"),
        (changed("annotations", {"image_id": True, "category_id": 1}), "the id of its image is True"),
        (changed("annotations", {"image_id": 57870, "category_id": 1.0}), "the id of its category is 1.0"),
        (changed("annotations", {"image_id": [1], "category_id": 1}), "the id of its image is \\[1\\]"),
        (changed("images", {"id": 57870, "file_name": "b.jpg"}), "entry 4 of 'images': the id 57870 is that of an"),
        (changed("images", {"id": 1}), "entry 4 of 'images' has no 'file_name'"),
        (changed("images", {"file_name": "b.jpg"}), "entry 4 of 'images': the id of its image is missing"),
        (changed("images", {"id": 1, "file_name": 5}), "entry 4: the name of an image is '5'"),
        (changed("images", {"id": 1, "file_name": "\ud800"}), "no valid Unicode"),
        (changed("images", "b.jpg"), "entry 4 of 'images' is 'b.jpg' and no object"),
        (changed("categories", {"id": 1, "name": "cat"}), "entry 4 of 'categories': the id 1 is that of an earlier"),
        (changed("categories", {"id": 2, "name": "dog"}), "an earlier category is called 'dog' too"),
        (changed("categories", {"id": 2}), "the name of a class is missing"),
        (changed("categories", {"id": 2, "name": "nan"}), "'nan' stands for a missing value"),
        (json.dumps({"images": [], "annotations": []}), "no list 'categories'"),
        (json.dumps({"annotations": [], "categories": []}), "no list 'images'"),
        (json.dumps(INSTANCES | {"images": []}), "image 222016 is not in the list 'images' \\(5 entries"),
        (json.dumps({"images": [], "annotations": [], "categories": []}), "lists no image"),
        (json.dumps(INSTANCES | {"images": {}}), "'images' is no list"),
        (json.dumps([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9}]), "what a model detected"),
        (json.dumps(INSTANCES)[:-1] + ', "images": []}', "has the key 'images' twice"),
        (json.dumps(INSTANCES)[:-30], "no complete JSON"),
        (json.dumps(INSTANCES) + "[", "something follows its end"),
        (json.dumps(INSTANCES).replace("702.1", "NaN"), "NaN is no number"),
        (json.dumps(INSTANCES).replace("702.1", "[" * 100_000), "nested too deeply"),
        ('"images"', "no object with the list"),
        ("", "no object with the list"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, content: str, says: str) -> None:
    path = put(tmp_path / "a.json", content)
    with pytest.raises(LabelError, match=says) as refusal:
        read_table(path, format="coco")
    assert str(path) in str(refusal.value)


def table() -> LabelTable:
    states = [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    return LabelTable.from_dense(['b/é "1".jpg', "a.png", "none.jpg"], ["zebra", "cat, or not", "never"], states)


def test_pycocotools_opens_what_is_written(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    path = tmp_path / "instances.json"
    write_table(table(), path, format="coco")
    assert consumer("pycocotools_instances.py", path) == {
        "images": {'b/é "1".jpg': ["zebra"], "a.png": ["zebra", "cat, or not"], "none.jpg": []},
        "classes": ["zebra", "cat, or not", "never"],
        "crowds": 0,
    }


def test_datumaro_imports_what_is_written_as_labels(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    (tmp_path / "images").mkdir()
    write_table(table(), tmp_path / "annotations" / "labels_all.json", format="coco")
    seen = consumer("datumaro_import.py", tmp_path, "coco_labels")
    assert seen["classes"] == ["zebra", "cat, or not", "never"]
    assert {id: sorted(name for name, *_ in labels) for id, labels in seen["items"].items()} == {
        'b/é "1"': ["zebra"],
        "a": ["cat, or not", "zebra"],
        "none": [],
    }


def test_pycocotools_sees_what_is_read(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    path = put(tmp_path / "instances.json", INSTANCES)
    seen, read = consumer("pycocotools_instances.py", path), read_table(path).table
    assert seen["crowds"] == 2
    assert {image: sorted({*names}) for image, names in seen["images"].items()} == {
        image: sorted(name for name, state in zip(read.classes, states, strict=True) if state == 1)
        for image, states in zip(read.images, read.dense().tolist(), strict=True)
    }


def test_progress_is_told(tmp_path: Path) -> None:
    """In megabytes, up to the end, while the lists are read."""
    path = tmp_path / "t.json"
    boxes = [{"id": n, "image_id": 1, "category_id": 1, "segmentation": [[0.5] * 2000]} for n in range(400)]
    images = [{"id": 1, "file_name": "a.jpg"}]
    path.write_text(json.dumps({"images": images, "categories": [{"id": 1, "name": "cat"}], "annotations": boxes}))
    size = path.stat().st_size // 1_000_000
    assert size > 2
    told: list[tuple[int, int]] = []
    read_table(path, tick=lambda done, total: told.append((done, total)))
    assert [total for _, total in told] == [size] * len(told)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {0, 1, size} <= {done for done, _ in told}


def test_a_file_is_known_by_its_lists(tmp_path: Path) -> None:
    long = INSTANCES | {"annotations": INSTANCES["annotations"] * 20_000}
    assert read_table(put(tmp_path / "a.json", long)).report.format == "coco"
    for other in ({"samples": [{"filepath": "a.jpg"}]}, [{"data": {"images": ["a.jpg"]}, "annotations": []}]):
        with pytest.raises(LabelError):
            read_table(put(tmp_path / "b.json", other))
