"""New names for classes: several that become one are its parts."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partlabel.errors import LabelError
from partlabel.formats import read_table, write_table
from partlabel.formats.reading import Reading, ReadingReport
from partlabel.formats.renaming import renamed
from partlabel.labels import LabelTable, Source

CODES = "1=present,0=absent,=unknown"


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@given(
    st.lists(st.lists(st.sampled_from([-1, 0, 1]), min_size=4, max_size=4), min_size=1, max_size=5),
    st.lists(st.sampled_from([0, -1]), min_size=4, max_size=4),
    st.lists(st.booleans(), min_size=20, max_size=20),
    st.lists(st.sampled_from(["x", "y", ""]), min_size=3, max_size=3),
)
def test_parts_are_joined_image_by_image(
    dense: list[list[int]], background: list[int], listed: list[bool], new: list[str]
) -> None:
    rows, columns = np.nonzero(np.array(listed).reshape(5, 4)[: len(dense)])
    names = [f"{n}.jpg" for n in range(len(dense))]
    states = np.array(dense)[rows, columns]
    table = LabelTable.from_cells(names, ["a", "b", "c", "x"], rows, columns, states, background=background)
    report = ReadingReport(
        path="t", format="long", encoding="", rows_read=0, rows_used=0, rows_filtered=0, rows_skipped=0, skipped=(),
        duplicate_count=0, duplicates=(), conflict_count=0, conflicts=(), ignored_columns=(),
    )  # fmt: skip
    found = renamed(Reading(table, report), dict(zip("abc", new, strict=True)), Path("t"), None).table
    groups: dict[str, list[int]] = {}
    for column, name in enumerate([*new, "x"]):
        if name:
            groups.setdefault(name, []).append(column)
    assert found.classes == tuple(groups)
    before, after = table.dense(), found.dense()
    for row in range(len(dense)):
        for column, some in enumerate(groups.values()):
            states_of = [int(before[row, part]) for part in some]
            expected = 1 if 1 in states_of else -1 if set(states_of) == {-1} else 0
            assert after[row, column] == expected


WORDS = {"present": 1, "absent": -1, "unknown": 0, "unsure": 0}
JOINED = {  # what a whole is whose parts are these, in either order
    "present present": "present", "present absent": "present", "present unknown": "present",
    "present unsure": "present",
    "absent absent": "absent", "absent unknown": "unknown", "absent unsure": "unsure",
    "unknown unknown": "unknown", "unknown unsure": "unsure", "unsure unsure": "unsure",
}  # fmt: skip


@pytest.mark.parametrize("background", [*product([-1, 0], repeat=2)])
def test_unsure_parts(tmp_path: Path, background: tuple[int, int]) -> None:
    pairs = list(product(WORDS, repeat=2))
    images = [f"{one} {other}" for one, other in pairs]
    said = [(row, column, word) for row, pair in enumerate(pairs) for column, word in enumerate(pair)]
    rows, columns, words = zip(*said, strict=True)
    sources = [Source.UNSURE if word == "unsure" else Source.HUMAN for word in words]
    states = [WORDS[word] for word in words]
    table = LabelTable.from_cells(images, ["car", "truck"], rows, columns, states, sources, background)
    write_table(table, tmp_path / "t.csv")
    names = put(tmp_path / "names.csv", "from,to\ncar,vehicle\ntruck,vehicle\n")
    found = read_table(tmp_path / "t.csv", rename=str(names)).table
    for row, (one, other) in enumerate(pairs):
        expected = JOINED.get(f"{one} {other}") or JOINED[f"{other} {one}"]
        assert found.rows([row])[0, 0] == WORDS[expected], (one, other)
        assert found.select_images([row]).unsure == (expected == "unsure"), (one, other)


def test_in_every_kind_of_file(tmp_path: Path) -> None:
    names = str(put(tmp_path / "names.csv", "from,to\ncar,vehicle\ntruck,vehicle\nsky,\n"))
    wide = put(tmp_path / "wide.csv", "image,car,truck,sky,Ohio,dog\na,1,0,1,x,1\nb,0,0,,y,\nc,0,,,z,0\n")
    long = put(tmp_path / "long.csv", "image,class,state\na,car,1\na,truck,0\na,sky,1\na,dog,1\nb,car,0\nb,truck,0\n")
    table, report = read_table(wide, codes=CODES, rename=names, classes=["dog", "vehicle"])
    assert table.classes == ("dog", "vehicle")
    assert table.dense().tolist() == [[1, 1], [0, -1], [-1, 0]]
    table, report = read_table(long, codes=CODES, rename=names)
    assert table.classes == ("vehicle", "dog")
    assert table.dense().tolist() == [[1, 1], [-1, 0]]
    assert report.notes == ("new names for 3 of 4 classes, 1 dropped",)
    with pytest.raises(LabelError, match="no class 'vehicles'; closest: 'vehicle'"):
        read_table(long, codes=CODES, rename=names, classes=["vehicles"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("old,new\na,b\n", "has the columns from and to"),
        ("from,to\n,b\n", "line 2: the column 'from' is empty"),
        ("from,to\na,b\na,c\n", "line 3: class 'a' becomes both 'b' and 'c'"),
        ("from,to\na,\n", "every class is dropped"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, says: str) -> None:
    labels = put(tmp_path / "t.csv", "image,class,state\ni,a,present\n")
    with pytest.raises(LabelError, match=says):
        read_table(labels, rename=str(put(tmp_path / "names.csv", text)))


def test_names_that_nothing_has_are_said(tmp_path: Path) -> None:
    """And are no error: two tables may be read with the names of one."""
    labels = put(tmp_path / "t.csv", "image,class,state\ni,cat,present\n")
    report = read_table(labels, rename=str(put(tmp_path / "names.csv", "from,to\ncats,x\ndog,y\n"))).report
    assert report.notes[1] == "2 old names not in the labels, first 'cats'; closest: 'cat'"
