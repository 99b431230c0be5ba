"""Whatever a label or score file holds, a reader answers with a table or with one sentence that names the file.

A few inputs of each kind run with all tests; PARTLABEL_FUZZ=10000 (`make fuzz`) runs so many per reader.
"""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partlabel.errors import PartlabelError
from partlabel.formats import read_table
from partlabel.formats.scores import read_scores
from partlabel.labels import LabelTable
from partlabel.names import not_a_name

FUZZ = settings(
    max_examples=int(os.environ.get("PARTLABEL_FUZZ", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PLAIN = "image class state present absent unknown source * a.jpg ./a.jpg cat Cat 1 0 nan None [] 0.5 -1 =1+1 a;b a|b"
ODD_WORDS = [
    "",
    " cat",
    "['cat']",
    "1" * 5000,
    "[" * 3000,
    "\u200b",
    "\x00",
    "1e999",
    '"',
    "\ufeff",
    "e\u0301",
    "\x1b[31m",
]
WORDS = st.sampled_from([*PLAIN.split(), "recovered", "probability", "score", *ODD_WORDS])
TEXTS = WORDS | st.text(max_size=6)
CELLS = st.lists(st.lists(TEXTS, min_size=1, max_size=5), min_size=1, max_size=6)
HEADERS = st.sampled_from(
    ["image,class,state,source", "image,cat,dog", "image,present,absent", "image,score,class", ""]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if "," in cell or "\n" in cell else cell


def as_csv(header: str, rows: list[list[str]], mark: str, encoding: str) -> bytes:
    lines = [header, *(mark.join(map(quoted, row)) for row in rows)]
    return "\n".join(lines).encode(encoding, "replace")


CSV = st.builds(as_csv, HEADERS, CELLS, st.sampled_from([",", ",", ",", ";", "\t", ", "]), ENCODINGS)
JSONL = st.lists(JSON | st.dictionaries(WORDS, JSON, max_size=4), max_size=5).map(
    lambda rows: "\n".join(json.dumps(row) for row in rows).encode()
) | st.sampled_from(
    [b'{"image": ' + b"9" * 5000 + b"}", b"[" * 100_000, b'{"image": "a", "present": [' + b"1," * 5000 + b"1]}", b"NaN"]
)


def damaged(content: bytes, at: int, value: int, cut: bool) -> bytes:
    place = at % max(len(content), 1)
    return content[:place] if cut else content[:place] + bytes([value]) + content[place + 1 :]


def as_parquet(columns: dict[str, list[object]]) -> bytes:
    longest = max((len(values) for values in columns.values()), default=0)
    sink = io.BytesIO()
    try:
        table = pa.table({name: (values * longest)[:longest] for name, values in columns.items()})
        pq.write_table(table, sink)
    except (pa.ArrowException, UnicodeError, TypeError, OverflowError):  # columns of several types
        pq.write_table(pa.table({"image": ["a"]}), sink)
    return sink.getvalue()


NAMES = st.sampled_from(["image", "class", "state", "source", "cat", "dog", "probability", "path", " image", "IMAGE"])
VALUES = st.lists(TEXTS, min_size=1, max_size=4) | st.lists(st.none() | st.floats(), min_size=1, max_size=4)
ODD = st.lists(st.booleans() | st.none(), min_size=1, max_size=3) | st.lists(
    st.lists(TEXTS, max_size=2), min_size=1, max_size=3
)
BINARY = st.lists(st.binary(max_size=4), min_size=1, max_size=3)
PARQUET = st.dictionaries(NAMES, VALUES | ODD | BINARY, min_size=1, max_size=5).map(as_parquet)


def spoilt(contents: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Contents, half of them with a wrong byte or an early end."""
    return contents | st.builds(damaged, contents, st.integers(0, 1 << 20), st.integers(0, 255), st.booleans())


def answer(read: Callable[[], LabelTable | np.ndarray]) -> LabelTable | np.ndarray | PartlabelError:
    try:
        return read()
    except PartlabelError as error:
        return error


def check(read: Callable[[], LabelTable | np.ndarray], path: Path) -> None:
    found = answer(read)
    if isinstance(found, PartlabelError):
        assert str(path) in str(found)
        assert len(str(found)) < 4000
        return
    if isinstance(found, LabelTable):
        names = (*found.images, *found.classes)
        assert not [name for name in names if not_a_name(name)]
        assert np.isin(found.states, (-1, 0, 1)).all()
    else:
        assert found.shape == (2, 2)
        assert not np.isnan(found).any()


OPTIONS = st.sampled_from([{}, {"conflicts": "unknown"}, {"ignore": ["source"]}, {"where": {"state": "1"}}])


@pytest.mark.parametrize("format", [None, "one_hot_csv", "long", "tag_lists"])
@FUZZ
@given(content=spoilt(CSV) | st.binary(max_size=200), options=OPTIONS)
def test_csv(tmp_path: Path, format: str | None, content: bytes, options: dict[str, object]) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    codes = {"codes": "1=present,0=absent,=unknown"} if format in {"one_hot_csv", "long"} else {}
    check(lambda: read_table(path, format=format, **options, **codes).table, path)  # type: ignore[arg-type, typeddict-item]


@FUZZ
@given(content=spoilt(JSONL), options=OPTIONS)
def test_json_lines(tmp_path: Path, content: bytes, options: dict[str, object]) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    check(lambda: read_table(path, **options).table, path)  # type: ignore[arg-type]


@FUZZ
@given(content=spoilt(PARQUET), options=OPTIONS)
def test_parquet(tmp_path: Path, content: bytes, options: dict[str, object]) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(content)
    check(lambda: read_table(path, codes="1=present,0=absent,=unknown", **options).table, path)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "contents"), [("s.csv", CSV), ("s.parquet", PARQUET)])
@FUZZ
@given(data=st.data())
def test_scores(tmp_path: Path, name: str, contents: st.SearchStrategy[bytes], data: st.DataObject) -> None:
    path = tmp_path / name
    path.write_bytes(data.draw(spoilt(contents)))
    labels = LabelTable.from_cells(["a.jpg", "1"], ["cat", "dog"], [0], [0], [1])
    check(lambda: read_scores(path, labels), path)
