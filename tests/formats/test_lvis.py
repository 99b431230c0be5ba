"""LVIS: annotated is present, verified negative is absent, and the lvis library opens what is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partlabel.errors import LabelError
from partlabel.formats import read_table, write_table
from partlabel.labels import LabelTable


def image(id: int, negative: list[Any], more: list[Any]) -> dict[str, Any]:
    return {
        "date_captured": "2013-11-14 17:02:52",
        "neg_category_ids": negative,
        "id": id,
        "license": 4,
        "height": 428,
        "width": 640,
        "flickr_url": "http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg",
        "coco_url": f"http://images.cocodataset.org/train2017/{id:012d}.jpg",
        "not_exhaustive_category_ids": more,
    }


def category(id: int, name: str) -> dict[str, Any]:
    more = {"synset": f"{name}.n.01", "synonyms": [name], "def": "a thing", "frequency": "c"}
    return {"image_count": 64, "instance_count": 85, "id": id, "name": name} | more


def annotation(id: int, image_id: int, category_id: int) -> dict[str, Any]:
    return {
        "area": 118.74,
        "id": id,
        "segmentation": [[429.48, 265.63, 429.98, 266.96, 430.98, 268.96]],
        "image_id": image_id,
        "bbox": [429.48, 265.63, 20.79, 13.04],
        "category_id": category_id,
    }


LVIS: dict[str, Any] = {
    "info": {"description": "LVIS dataset.", "version": "v1.0", "year": 2019},
    "annotations": [annotation(1, 391895, 3), annotation(2, 391895, 3), annotation(3, 522418, 703)],
    "images": [image(391895, [703], [3]), image(522418, [], []), image(184613, [3, 9], [703])],
    "categories": [category(3, "air_conditioner"), category(9, "alcohol"), category(703, "motorcycle")],
    "licenses": [],
}


def put(path: Path, document: Any) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def with_image(negative: Any, more: Any, **fields: Any) -> dict[str, Any]:
    return LVIS | {"images": [*LVIS["images"], image(7, negative, more) | fields]}


def test_three_states(tmp_path: Path) -> None:
    table, report = read_table(put(tmp_path / "lvis_v1_train.json", LVIS))
    assert table.images == tuple(f"train2017/{n:012d}.jpg" for n in (391895, 522418, 184613))
    assert table.classes == ("air_conditioner", "alcohol", "motorcycle")
    assert table.dense().tolist() == [[1, 0, -1], [0, 0, 1], [-1, -1, 0]]
    assert (report.format, report.rows_read, report.duplicate_count) == ("lvis", 3, 0)
    assert [note for note in report.notes if "1 times not_exhaustive_category_ids names a category" in note]


def test_images_of_version_05_have_a_file_name(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "COCO_val2014_000000000042.jpg", "neg_category_ids": [3]}]
    path = put(tmp_path / "a.json", LVIS | {"images": images, "annotations": []})
    table = read_table(path).table
    assert table.images == ("COCO_val2014_000000000042.jpg",)
    assert table.dense().tolist() == [[-1, 0, 0]]


@pytest.mark.parametrize(("negative", "more"), [([3], [3]), ([3, 9], [])])
def test_a_category_with_instances_that_is_negative_contradicts_itself(
    tmp_path: Path, negative: list[int], more: list[int]
) -> None:
    document = with_image(negative, more)
    if not more:
        document["annotations"] = [*LVIS["annotations"], annotation(4, 7, 3)]
    path = put(tmp_path / "a.json", document)
    with pytest.raises(LabelError, match=r"1 cell.s. contradict themselves.*'train2017/000000000007\.jpg'"):
        read_table(path)
    assert read_table(path, conflicts="unknown").table.dense()[3].tolist() == [0, 0 if more else -1, 0]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (with_image([5], []), "entry 4 of 'images', neg_category_ids: category 5 is not in the list 'categories'"),
        (with_image([], [5]), "entry 4 of 'images', not_exhaustive_category_ids: category 5 is not in the list"),
        (with_image(3, []), "entry 4 of 'images': 'neg_category_ids' is no list"),
        (with_image(None, []), "'neg_category_ids' is no list"),
        (with_image([None], []), "the id of its category is missing"),
        (with_image([True], []), "the id of its category is True"),
        (with_image([], [], coco_url=5), "entry 4 of 'images' has no 'file_name' and no usable 'coco_url'"),
        (with_image([], [], coco_url="a.jpg"), "no usable 'coco_url'"),
        (with_image([], [], coco_url="http://host/a/"), "no usable 'coco_url'"),
        (LVIS | {"annotations": [annotation(1, 5, 3)]}, "entry 1 of 'annotations': image 5 is not in the list"),
        ([LVIS], "no object with the list"),
        (json.dumps(LVIS)[:-9], "no complete JSON"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, document: Any, says: str) -> None:
    path = put(tmp_path / "a.json", document)
    with pytest.raises(LabelError, match=says) as refusal:
        read_table(path, format="lvis")
    assert str(path) in str(refusal.value)


def test_the_library_opens_what_is_written(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    states = [[1, 0, -1], [0, 0, 0], [1, 1, -1]]
    table = LabelTable.from_cells(
        ["b/é.jpg", "a.png", "c.jpg"], ["zebra", "cat", "dog"], [0, 0, 1, 2, 2], [0, 2, 2, 0, 1], [1, -1, 0, 1, 1],
        background=[0, 0, -1],
    )  # fmt: skip
    assert table.dense().tolist() == states
    write_table(table, tmp_path / "lvis.json", format="lvis")
    assert consumer("lvis_instances.py", tmp_path / "lvis.json") == {
        "images": {
            "b/é.jpg": [["zebra"], ["dog"], ["zebra"]],
            "a.png": [[], [], []],
            "c.jpg": [["zebra", "cat"], ["dog"], ["zebra", "cat"]],
        },
        "classes": ["zebra", "cat", "dog"],
    }


def test_the_library_sees_what_is_read(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    seen = consumer("lvis_instances.py", put(tmp_path / "a.json", LVIS))["images"]
    url = "http://images.cocodataset.org/train2017/000000391895.jpg"
    assert seen[url] == [["air_conditioner"] * 2, ["motorcycle"], ["air_conditioner"]]


def test_a_file_whose_images_are_out_of_sight_is_still_known(tmp_path: Path) -> None:
    annotations = [annotation(n, 391895, 3) for n in range(9_000)]
    many = [category(n, f"c{n}") for n in range(1000, 9000)]
    path = put(tmp_path / "a.json", LVIS | {"annotations": annotations, "categories": [*LVIS["categories"], *many]})
    assert "neg_category_ids" not in path.read_text()[:1_000_000] + path.read_text()[-1_000_000:]
    assert read_table(path).report.format == "lvis"
