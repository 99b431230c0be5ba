"""What follows from known cells, against loops over single images; what cannot be, and files that say it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import partlabel
from partlabel.errors import LabelError
from partlabel.formats.relations_file import read_relations
from partlabel.labels import LabelTable, Source
from partlabel.relations import Relations
from partlabel.runs.holdout import hold_out

CLASSES = ["dog", "animal", "thing", "day", "night", "noon"]
IMPLIES = (("dog", "animal"), ("animal", "thing"), ("noon", "day"))
EXCLUDES = (("day", "night"),)


def _chose(control: str, *names: str) -> dict[str, Any]:
    return {"from_name": control, "to_name": "image", "type": "choices", "value": {"choices": [*names]}}


def by_rules(row: list[int]) -> list[int] | None:
    """One image: apply the direct rules again and again; None where that contradicts what is known."""
    state = dict(zip(CLASSES, row, strict=True))
    while True:
        new = dict(state)
        wanted: list[tuple[str, int]] = []
        for one, other in IMPLIES:
            wanted += [(other, 1)] * (state[one] == 1) + [(one, -1)] * (state[other] == -1)
        for one, other in EXCLUDES:
            wanted += [(other, -1)] * (state[one] == 1) + [(one, -1)] * (state[other] == 1)
        for name, value in wanted:
            if new[name] == -value:
                return None
            new[name] = value
        if new == state:
            return [state[name] for name in CLASSES]
        state = new


def with_declared(row: list[int], listed: list[bool], background: list[int]) -> list[int] | None:
    """What is stated counts first; a declared absence holds where nothing stated has settled the cell, and below it."""
    stated = by_rules([state if is_listed else 0 for state, is_listed in zip(row, listed, strict=True)])
    if stated is None:
        return None
    found = dict(zip(CLASSES, stated, strict=True))
    soft = [
        name
        for name, is_listed, state in zip(CLASSES, listed, background, strict=True)
        if not is_listed and state == -1 and found[name] == 0
    ]
    for name in soft:
        found[name] = -1
        for other in {"thing": ["animal", "dog"], "animal": ["dog"], "day": ["noon"]}.get(name, []):
            found[other] = found[other] or -1
    return [found[name] for name in CLASSES]


@given(
    st.lists(st.lists(st.sampled_from([-1, 0, 0, 1]), min_size=6, max_size=6), min_size=1, max_size=6),
    st.lists(st.sampled_from([0, 0, -1]), min_size=6, max_size=6),
    st.lists(st.booleans(), min_size=36, max_size=36),
)
def test_as_rules_applied_one_by_one(dense: list[list[int]], background: list[int], listed: list[bool]) -> None:
    keep = np.array(listed).reshape(6, 6)[: len(dense)] | (np.array(dense) == 1)
    rows, columns = np.nonzero(keep)
    states = np.array(dense)[rows, columns]
    names = [f"{n}.jpg" for n in range(len(dense))]
    table = LabelTable.from_cells(names, CLASSES, rows, columns, states, Source.HUMAN, background)
    found = Relations(IMPLIES, EXCLUDES).completed(table)
    before, after = table.dense(), found.table.dense()
    contradicted = {one.image for one in found.contradictions}
    for n, name in enumerate(names):
        there = [bool(keep[n, c]) and (dense[n][c] != 0 or background[c] == -1) for c in range(6)]
        expected = with_declared(before[n].tolist(), there, background)
        assert (expected is None) == (name in contradicted)
        if expected is not None:
            assert after[n].tolist() == expected
        else:
            left = [state if is_there else 0 for state, is_there in zip(after[n].tolist(), there, strict=True)]
            assert by_rules(left) is not None
    cells = found.table.cells()
    was = before[cells.image_index, cells.class_index]
    implied = cells.sources == Source.IMPLIED
    assert (was[implied] != cells.states[implied]).all()
    assert (was[~implied & (cells.states != 0)] == cells.states[~implied & (cells.states != 0)]).all()
    assert found.implied == implied.sum()


def test_recovered_cells_settle_nothing_and_give_way() -> None:
    table = LabelTable.from_cells(["a"], ["dog", "animal"], [0], [0], [1], Source.RECOVERED)
    assert Relations(IMPLIES).completed(table).table.dense().tolist() == [[1, 0]]
    sources = [Source.HUMAN, Source.RECOVERED]
    table = LabelTable.from_cells(["a"], ["dog", "animal"], [0, 0], [0, 1], [1, -1], sources)
    found = Relations(IMPLIES).completed(table)
    assert (found.table.dense().tolist(), found.contradictions) == ([[1, 1]], ())
    assert found.table.sources.tolist() == [Source.HUMAN, Source.IMPLIED]


def test_a_contradicted_cell_implies_nothing() -> None:
    table = LabelTable.from_cells(["a"], ["dog", "animal", "thing"], [0, 0], [0, 1], [1, -1], Source.HUMAN)
    assert Relations(IMPLIES).completed(table).table.dense().tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("implies", "excludes", "says"),
    [
        ([("a", "b"), ("b", "c"), ("c", "a")], [], "'a' implies itself"),
        ([("a", "a")], [], "'a' implies itself"),
        ([], [("a", "a")], "'a' excludes itself"),
        ([("a", "b"), ("b", "c")], [("a", "c")], "'a' excludes itself or what it implies"),
        ([("a", "b"), ("a", "c")], [("b", "c")], "'a' excludes itself or what it implies"),
    ],
)
def test_relations_that_cannot_hold(implies: Any, excludes: Any, says: str) -> None:
    with pytest.raises(LabelError, match=says):
        Relations(tuple(implies), tuple(excludes))


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = put(
        tmp_path / "r.csv", 'class;relation;other\ndog;implies;"big, animal"\nday;Excludes;night\nday;excludes;night\n'
    )
    assert read_relations(path) == Relations((("dog", "big, animal"),), (("day", "night"),))
    for text, says in (
        ("class,relation,other\ndog,is,animal\n", "line 2: relation 'is' is not implies or excludes"),
        ("class,relation,other\ndog,implies,\n", "line 2: a class is not named"),
        ("class,other\ndog,animal\n", "relations have class, relation, other"),
        ("class,relation,other\n", "states no relation"),
        ("class,relation,other\na,implies,b\nb,implies,a\n", r"r\.csv: class 'a' implies itself"),
    ):
        with pytest.raises(LabelError, match=says):
            read_relations(put(path, text))


def test_the_hierarchy_of_open_images(tmp_path: Path) -> None:
    dog = {"LabelName": "/m/dog", "Part": [{"LabelName": "/m/ear"}]}
    tree = {"LabelName": "/m/0bl9f", "Subcategory": [{"LabelName": "/m/animal", "Subcategory": [dog]}]}
    path = put(tmp_path / "bbox_labels_600_hierarchy.json", json.dumps(tree))
    assert read_relations(path).implies == (("/m/dog", "/m/animal"),)
    put(tmp_path / "class-descriptions-boxable.csv", "/m/dog,Dog\n/m/animal,Animal\n")
    assert read_relations(path).implies == (("Dog", "Animal"),)
    put(path, json.dumps({"LabelName": "x", "Subcategory": [{"Subcategory": [3]}]}))
    with pytest.raises(LabelError, match="has no LabelName"):
        read_relations(path)


def test_supercategories_of_coco(tmp_path: Path) -> None:
    categories = [
        {"id": 1, "name": "dog", "supercategory": "animal"},
        {"id": 2, "name": "person", "supercategory": "person"},
    ]
    assert read_relations(put(tmp_path / "c.json", json.dumps({"categories": categories}))).implies == (
        ("dog", "animal"),
    )
    with pytest.raises(LabelError, match="no class hierarchy"):
        read_relations(put(tmp_path / "c.json", "[1]"))


def test_reading_with_relations(tmp_path: Path) -> None:
    relations = put(tmp_path / "r.csv", "class,relation,other\ndog,implies,animal\nday,excludes,night\n")
    labels = put(
        tmp_path / "t.csv", "image,class,state\na,dog,present\nb,animal,absent\nc,day,present\na,night,present\n"
    )
    assert partlabel.read_table(labels).table.classes == ("dog", "animal", "day", "night")
    table, report = partlabel.read_table(labels, relations=str(relations))
    assert table.dense().tolist() == [[1, 1, -1, 1], [-1, -1, 0, 0], [0, 0, 1, -1]]
    assert sorted(table.sources.tolist()) == [Source.IMPORT] * 4 + [Source.IMPLIED] * 4
    assert "4 cells known as well" in report.notes[0]
    partlabel.write_table(table, tmp_path / "again.csv")
    assert partlabel.read_table(tmp_path / "again.csv").table.sources.tolist() == table.sources.tolist()
    put(labels, "image,class,state\na,dog,present\na,animal,absent\nb,dog,present\n")
    with pytest.raises(LabelError, match=r"1 pair.* contradict .*image 'a': 'dog' is present and 'animal' is absent"):
        partlabel.read_table(labels, relations=str(relations))
    table, report = partlabel.read_table(labels, relations=str(relations), conflicts="unknown")
    assert table.dense().tolist() == [[0, 0], [1, 1]]
    assert report.conflict_count == 2  # both cells are unknown now


ONE_HOT = "image,dog,cat,animal,day,remark\na,1,,,1,nice\nb,,,0,,\nc,,1,,,none\n"
TASKS = [
    {"data": {"image": image}, "annotations": [{"result": [_chose("present", *there), _chose("absent", *not_there)]}]}
    for image, there, not_there in (("a", ["dog", "day"], []), ("b", [], ["animal"]), ("c", ["cat"], []))
]


@pytest.mark.parametrize("kind", ["one_hot_csv", "label_studio"])
def test_classes_are_chosen_after_what_follows_from_the_others(tmp_path: Path, kind: str) -> None:
    relations = put(
        tmp_path / "r.csv", "class,relation,other\ndog,implies,animal\ncat,implies,animal\nfir,implies,tree\n"
    )
    labels = put(tmp_path / "t.csv", ONE_HOT)
    options: dict[str, Any] = {"codes": "1=present,0=absent,=unknown"}
    if kind == "label_studio":
        labels, options = put(tmp_path / "t.json", json.dumps(TASKS)), {}
    options |= {"relations": str(relations)}
    table, report = partlabel.read_table(labels, classes=["animal", "cat"], **options)
    assert report.format == kind
    assert table.classes == ("animal", "cat")
    assert table.dense().tolist() == [[1, 0], [-1, -1], [1, 1]]
    assert "3 cells known as well" in report.notes[0]
    assert not any("not in the labels" in note for note in report.notes)  # firs are none of these classes' business
    rename = put(tmp_path / "rename.csv", "from,to\nanimal,beast\n")
    put(relations, "class,relation,other\ndog,implies,beast\n")
    table, _ = partlabel.read_table(labels, classes=["beast"], rename=str(rename), **options)
    assert (table.classes, table.dense().tolist()) == (("beast",), [[1], [-1], [0]])
    with pytest.raises(LabelError, match="has no class 'bird'"):
        partlabel.read_table(labels, classes=["bird", "beast"], rename=str(rename), **options)
    put(relations, "class,relation,other\ndog,implies,bird\n")
    with pytest.raises(LabelError, match="has no class 'bird'"):
        partlabel.read_table(labels, classes=["bird"], **options)


@pytest.mark.parametrize(
    "content", ["image,class,state\na,dog,present\na,cat,absent\n", "image,present,absent\na,dog,cat\n"]
)
def test_in_long_files_and_tag_lists_another_class_is_an_error(tmp_path: Path, content: str) -> None:
    relations = put(tmp_path / "r.csv", "class,relation,other\ndog,implies,animal\n")
    labels = put(tmp_path / "t.csv", content)
    with pytest.raises(LabelError, match="'cat'"):
        partlabel.read_table(labels, classes=["dog", "animal"], relations=str(relations))
    table, _ = partlabel.read_table(labels, classes=["dog", "cat", "animal"], relations=str(relations))
    assert table.dense().tolist() == [[1, -1, 1]]


def test_implied_cells_are_never_judged() -> None:
    generator = np.random.default_rng(0)
    names = [f"{n}" for n in range(200)]
    dense = generator.integers(-1, 2, (200, 2))
    table = Relations((("a", "b"),)).completed(LabelTable.from_dense(names, ["a", "b"], dense)).table
    for by in ("cells", "images"):
        held = hold_out(table, 0.3, 0, by=by)
        position, listed = table.find(held.held_out.image_index, held.held_out.class_index)
        assert listed.all()
        assert position.size
        assert (table.sources[position] != Source.IMPLIED).all()
