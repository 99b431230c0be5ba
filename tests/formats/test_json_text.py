"""JSON a part at a time: wherever a part ends, the answer is that of the whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partlabel.errors import LabelError
from partlabel.formats import json_text
from partlabel.formats.json_text import entries, lists

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)
MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)


@pytest.fixture(params=[1, 3, 20])
def small_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(json_text, "_CHUNK", request.param)
    return int(request.param)


def put(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


@given(a=st.lists(VALUES, max_size=4), b=st.lists(VALUES, max_size=4), other=VALUES, indent=st.sampled_from([None, 1]))
@MANY
def test_entries_are_those_of_the_document(
    tmp_path: Path, small_parts: int, a: list[Any], b: list[Any], other: Any, indent: int | None
) -> None:
    document = {"o": other, "a": a, "p": [other], "b": {"c": b}}
    path = put(tmp_path / "a.json", json.dumps(document, indent=indent))
    assert list(entries(path, "a.item")) == a
    assert list(entries(path, "b.c.item")) == b
    assert list(entries(path, "none.item")) == list(entries(path, "b.item")) == list(entries(path, "item")) == []
    assert [(key, list(found)) for key, found in lists(path, ["p", "a"])] == [("a", a), ("p", [other])]
    assert [key for key, _ in lists(path, ["p", "a"])] == ["a", "p"]
    assert list(entries(put(path, json.dumps(a, indent=indent)), "item")) == a


@given(value=VALUES, at=st.integers(0, 60))
@MANY
def test_a_document_that_ends_early_is_refused(tmp_path: Path, small_parts: int, value: Any, at: int) -> None:
    text = json.dumps({"a": [value, value]})
    path = put(tmp_path / "a.json", text[: min(at, len(text) - 1)])
    for prefix in ("a.item", "b.item", "item"):
        with pytest.raises(LabelError, match=r"a\.json is no complete JSON"):
            list(entries(path, prefix))


@pytest.mark.parametrize("wrong", ["", "{", "[1", "[1,]", "[1 2]", '{"a" 1}', '{"a": [1,]}', "{1: 2}", "[1]]", "[01]"])
@pytest.mark.parametrize(
    "more", ["[tru]", '["\x01"]', '["\\x"]', "[NaN]", "[-Infinity]", "[" + "9" * 5000 + "]", '["a']
)
def test_what_is_no_json_is_refused(tmp_path: Path, small_parts: int, wrong: str, more: str) -> None:
    for text in (wrong, more):
        for prefix in ("item", "a.item"):
            with pytest.raises(LabelError, match=r"a\.json is no complete JSON \(.*at character"):
                list(entries(put(tmp_path / "a.json", text), prefix))


def test_an_error_is_found_where_it_is_and_not_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "_CHUNK", 100)
    path = put(tmp_path / "a.json", '{"a": [' + "[1], " * 100 + "[1 2]" + ", [1]" * 1_000_000 + "]}")
    read = []
    original = json_text._Document._more
    monkeypatch.setattr(json_text._Document, "_more", lambda self: read.append(1) or original(self))
    with pytest.raises(LabelError, match=r"',' delimiter, at character 510\)"):
        list(entries(path, "a.item"))
    assert len(read) < 10


def test_bytes_that_are_no_text_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf["\xc3\xa9"]')
    assert list(entries(path, "item")) == ["é"]
    path.write_bytes(b'["\xff"]')
    with pytest.raises(LabelError, match="is not UTF-8"):
        list(entries(path, "item"))
    with pytest.raises(LabelError, match="cannot be read"):
        list(entries(tmp_path, "item"))
