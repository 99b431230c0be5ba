"""Footers of Parquet: what is read of them is what Arrow says, and damage is a sentence and no end of the process."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from partlabel.errors import LabelError
from partlabel.formats import read_table, write_table
from partlabel.formats.hugging_face.footer import most_values
from partlabel.labels import LabelTable


def said_by_arrow(path: Path) -> int:
    metadata = pq.ParquetFile(path).metadata
    totals = [0]
    for column in range(metadata.num_columns):
        values = 0
        for group in range(metadata.num_row_groups):
            values += metadata.row_group(group).column(column).num_values
        totals.append(values)
    return max(totals)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"row_group_size": 7, "version": "1.0"},
        {"row_group_size": 3, "write_statistics": False, "compression": "none", "write_page_index": True},
        {"use_dictionary": False, "store_schema": False, "data_page_version": "2.0"},
    ],
)
def test_the_most_values_of_a_column(tmp_path: Path, options: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    lists = [None if n == 3 else random.integers(0, 9, n).tolist() for n in range(40)]
    nested = [{"a": [[n, n], []], "b": n % 3 == 0, "c": None if n % 2 else "x" * n} for n in range(40)]
    plain = {"name": [f"{n}.jpg" for n in range(40)], "score": random.random(40), "lists": lists, "nested": nested}
    table = pa.table(plain).replace_schema_metadata({"note": "é" * 500})
    for some in (table, table.select(["name", "score"]), table.slice(0, 0)):
        pq.write_table(some, tmp_path / "t.parquet", **options)
        assert most_values(tmp_path / "t.parquet") == said_by_arrow(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    "footer", [b"", b"\x19", b"\x19\x1c", b"\xff" * 30, b"\x19\xfc" + b"\xff" * 20, b"\x1b\0", b"\x4c" * 5000]
)
def test_a_footer_that_is_none(tmp_path: Path, footer: bytes) -> None:
    (tmp_path / "t").write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(pa.ArrowInvalid, match="damaged"):
        most_values(tmp_path / "t")
    (tmp_path / "t").write_bytes(b"PAR1" + footer + (9999).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(pa.ArrowInvalid, match="longer than the file"):
        most_values(tmp_path / "t")


@pytest.mark.slow
@pytest.mark.parametrize("flipped", [0x04, 0x40])
def test_one_damaged_byte(tmp_path: Path, flipped: int) -> None:
    """Some of these made Arrow end the process."""
    path = tmp_path / "t.parquet"
    table = LabelTable.from_dense(["a.jpg", "b/c.jpg"], ["cat", "big dog"], [[1, -1], [0, 1]])
    write_table(table, path, format="hugging_face")
    content = path.read_bytes()
    said = []
    for at in range(len(content) - 2200, len(content) - 1500):
        path.write_bytes(content[:at] + bytes([content[at] ^ flipped]) + content[at + 1 :])
        try:
            assert read_table(path, format="hugging_face").table.images
        except LabelError as error:
            said.append(str(error))
    assert len(said) > 50
    assert all(str(path) in sentence for sentence in said)
