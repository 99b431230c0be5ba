"""Files of other tools, damaged in any way: a table comes out, or one sentence that names the file.

Some inputs of each format run with all tests; PARTLABEL_FUZZ=10000 (`make fuzz`) runs so many per reader.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from partlabel.errors import PartlabelError
from partlabel.formats import FORMATS, Suggested, Suggestion, read_table, write_table
from partlabel.labels import LabelTable

FUZZ = settings(
    max_examples=int(os.environ.get("PARTLABEL_FUZZ", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
TABLES = {"one_hot_csv", "long", "tag_lists"}  # tests/formats/test_fuzz.py has their readers
ODD: list[Any] = [
    *(None, True, -1, 0, 10**30, 1e308, "", " ", "nan", [], {}, [[]], [None], {"a": None}, ["cat", 3], "a" * 300),
    *("../../etc/passwd", "/etc/passwd", "C:\\a.jpg", "\\\\host\\a.jpg", "\u202egpj.a", "<script>alert(1)</script>"),
    *("=1+1", "\x00"),
]
DOCTYPES = [
    '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;&x;">]>',
    '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
    "<?xml version='1.0' encoding='utf-7'?>",
]
BOX = {"bbox": [0, 0, 1, 1], "iscrowd": 0}
VOC = "<annotation><filename>a.jpg</filename><object><name>cat</name><difficult>0</difficult></object></annotation>"


def small_table() -> LabelTable:
    return LabelTable.from_dense(["a.jpg", "b/c.jpg"], ["cat", "big dog"], np.array([[1, -1], [0, 1]]))


def folder_of_classes(path: Path) -> None:
    for name in ("cat/1.jpg", "dog/2.jpg"):
        (path / name).parent.mkdir(parents=True)
        Image.new("RGB", (2, 2)).save(path / name)


def yolo(path: Path) -> None:
    for name, text in (("data.yaml", "names: [cat, dog]\ntrain: images\n"), ("labels/a.txt", "0 .5 .5 .1 .1\n")):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    (path / "images").mkdir()
    Image.new("RGB", (2, 2)).save(path / "images" / "a.jpg")


def voc_boxes(path: Path) -> None:
    (path / "Annotations").mkdir(parents=True)
    (path / "Annotations" / "a.xml").write_text(VOC)


def written(name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        format = FORMATS[name]
        suggested = Suggested.of([Suggestion("b/c.jpg", "cat", 0.75)])
        more = {"suggested": suggested} if "suggested" in format.written_with else {}
        lose = ["absent", *format.losses(small_table())] if format.two_states else [*format.losses(small_table())]
        write_table(small_table(), path, format=name, lose=lose, **more)  # type: ignore[arg-type]

    return make


SEEDS: dict[str, tuple[str, Callable[[Path], None]]] = {
    **{one.name: (one.name, written(one.name)) for one in FORMATS.values() if one.writes and one.name not in TABLES},
    "class_folders": ("class_folders", folder_of_classes),
    "yolo": ("yolo", yolo),
    "voc_boxes": ("voc", voc_boxes),
}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A good file or folder of each format."""
    top = tmp_path_factory.mktemp("seeds")
    found = {}
    for key, (name, make) in SEEDS.items():
        format = FORMATS[name]
        path = top / (key + (format.suffixes[0] if "file" in format.takes else ""))
        make(path)
        found[key] = path
    return found


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def spoilt(data: st.DataObject, content: bytes, suffix: str) -> bytes:
    """The content with one thing wrong."""
    ways = (
        ["byte", "cut", "twice", "insert"] + ["value", "value"] * (suffix == ".json") + ["doctype"] * (suffix == ".xml")
    )
    way = data.draw(st.sampled_from(ways))
    at = data.draw(st.integers(0, max(len(content) - 1, 0)))
    if way == "byte":
        return content[:at] + bytes([data.draw(st.integers(0, 255))]) + content[at + 1 :]
    if way == "cut":
        return content[:at]
    if way == "twice":
        return content + content
    if way == "insert":
        odd = data.draw(
            st.sampled_from([b"\xef\xbb\xbf", b"\x00", b"NaN", b"[" * 3000, b"<", b"&x;", b'"', b"\xff\xfe"])
        )
        return content[:at] + odd + content[at:]
    if way == "doctype":
        return data.draw(st.sampled_from(DOCTYPES)).encode() + content
    value = json.loads(content)
    place = data.draw(st.sampled_from(places(value)))
    return json.dumps(replaced(value, place, data.draw(st.sampled_from(ODD)))).encode()


def check(path: Path, name: str | None, unlisted: str) -> None:
    takes = unlisted == "absent" and "unlisted" in FORMATS[name or "coco"].options
    said = None
    try:
        found = read_table(path, format=name, unlisted="absent" if takes else "unknown").table
    except PartlabelError as error:
        said = str(error)
    if said is not None:
        assert str(path) in said
        assert len(said) < 4000
        return
    assert found.images
    assert found.classes
    assert all((*found.images, *found.classes))
    if not takes:
        assert (found.background == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("key", SEEDS)
@given(data=st.data())
@FUZZ
def test_a_table_or_a_sentence(tmp_path: Path, seeds: dict[str, Path], key: str, data: st.DataObject) -> None:
    seed, name = seeds[key], SEEDS[key][0]
    path = tmp_path / seed.name
    if path.is_dir():
        shutil.rmtree(path)
    if seed.is_dir():
        shutil.copytree(seed, path)
        files = sorted(one for one in path.rglob("*") if one.is_file())
        target = data.draw(st.sampled_from(files))
    else:
        shutil.copy(seed, path)
        target = path
    target.write_bytes(spoilt(data, target.read_bytes(), target.suffix))
    check(path, data.draw(st.sampled_from([name, name, None])), data.draw(st.sampled_from(["unknown", "absent"])))


@pytest.mark.parametrize("key", SEEDS)
def test_a_good_one_is_known_by_itself(seeds: dict[str, Path], key: str) -> None:
    """So that the damaged ones are damaged in one thing."""
    assert read_table(seeds[key]).report.format == SEEDS[key][0]
