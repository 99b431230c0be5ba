"""Whatever stands in a place of a COCO, LVIS or Datumaro document, a reader answers with a table or with a sentence."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partlabel.errors import PartlabelError
from partlabel.formats import read_table
from partlabel.labels import LabelTable
from partlabel.names import not_a_name

FUZZ = settings(
    max_examples=int(os.environ.get("PARTLABEL_FUZZ", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
ANNOTATIONS = [{"id": 1, "image_id": 1, "category_id": 2, "iscrowd": 0, "bbox": [1.5, 2, 3, 4]}]
LABELS = {"label": {"labels": [{"name": "cat", "parent": ""}, {"name": "dog"}]}}
LABEL = {"type": "label", "label_id": 0, "attributes": {"state": "absent"}}
DOCUMENTS: dict[str, Any] = {
    "coco": {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": ANNOTATIONS,
        "categories": CATEGORIES,
    },
    "lvis": {
        "images": [
            {"id": 1, "coco_url": "http://h/train2017/1.jpg", "neg_category_ids": [1]},
            {"id": 2, "file_name": "b.jpg", "neg_category_ids": [1], "not_exhaustive_category_ids": [2]},
        ],
        "annotations": ANNOTATIONS,
        "categories": CATEGORIES,
    },
    "datumaro": {
        "categories": LABELS,
        "items": [
            {"id": "a", "annotations": [LABEL, {"type": "bbox", "label_id": 1}], "image": {"path": "a.jpg"}},
            {"id": "b", "video": None},
        ],
    },
}
ODD = st.sampled_from(["", "nan", "a.jpg", "cat", "\ud800", "\x00", "['a']", -1, 0, 1, 2, 1.0, 1 << 70, -0.5])
VALUES = st.recursive(
    st.none() | st.booleans() | ODD, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("id"), inner)
)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def replaced(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    if isinstance(node, dict):
        return {key: replaced(inner, path[1:], value) if key == path[0] else inner for key, inner in node.items()}
    return [replaced(inner, path[1:], value) if key == path[0] else inner for key, inner in enumerate(node)]


@pytest.mark.parametrize("format", DOCUMENTS)
@FUZZ
@given(data=st.data())
def test_any_value_in_any_place(tmp_path: Path, format: str, data: st.DataObject) -> None:
    document = DOCUMENTS[format]
    for _ in range(data.draw(st.integers(1, 2))):
        document = replaced(document, data.draw(st.sampled_from([*places(document)])), data.draw(VALUES))
    path = tmp_path / "a.json"
    text = json.dumps(document)
    path.write_text(text[: data.draw(st.integers(0, len(text)))] if data.draw(st.booleans()) else text)
    for options in ({"format": format}, {}):
        found = answer(path, **options)
        if isinstance(found, PartlabelError):
            assert str(path) in str(found)
            assert len(str(found)) < 2000
        else:
            assert not [name for name in (*found.images, *found.classes) if not_a_name(name)]


def answer(path: Path, **options: Any) -> LabelTable | PartlabelError:
    try:
        return read_table(path, **options).table
    except PartlabelError as error:
        return error
