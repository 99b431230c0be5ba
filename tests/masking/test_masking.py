"""What every masking promises, and how `hide` names and records it."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partlabel import __version__
from partlabel.errors import UsageError
from partlabel.labels import LabelTable, Source
from partlabel.masking import MASKINGS, hide

EVERY: list[tuple[str, dict[str, Any]]] = [
    ("known_ratio", {"ratio": 0.3}),
    ("drop_positives", {"keep": 0.5}),
    ("drop_positives", {"published_left": 75}),
    ("drop_positives", {"published_left": 40}),
    ("single_positive", {}),
    ("positives_only", {}),
    ("per_class", {"count": 4}),
    ("per_class", {"fraction": 0.2}),
    ("legacy_numpy_ratio", {"ratio": 0.3}),
    ("legacy_torch_ratio", {"ratio": 0.3}),
    ("legacy_removal", {"removal": 0.3}),
    ("legacy_single_positive", {}),
]
LEGACY = {name for name in MASKINGS if name.startswith("legacy")}
KEYED = [(name, chosen) for name, chosen in EVERY if name not in LEGACY]
GOLDEN = [
    "eab7d26a7f31b6c4",
    "3ade096d6a2f0a69",
    "203b0a5af496d958",
    "6e51ddb8dbbff50a",
    "c85097bdca274c3a",
    "bd356d28e6790c50",
    "c6d1b8d66f2207ff",
    "6749409e88059941",
    "f34f7c89e7b266d1",
    "93379f8f8aa41bfe",
    "7bc79a6a6023db87",
    "8818b237f142fbd7",
]


def complete_table(images: int = 50, classes: int = 8, background: int = -1) -> LabelTable:
    columns = (np.arange(images)[:, None] * 3 + np.array([0, 2, 5])) % classes
    dense = np.full((images, classes), -1, np.int8)
    dense[np.arange(images)[:, None], columns] = 1
    names = [f"image{i}.jpg" for i in range(images)], [f"class{i}" for i in range(classes)]
    rows, cols = np.nonzero(dense == 1) if background == -1 else np.nonzero(dense)
    return LabelTable.from_cells(*names, rows, cols, dense[rows, cols], background=background)


@st.composite
def tables(draw: st.DrawFn, complete: bool = False) -> LabelTable:
    images, classes = draw(st.integers(0, 7)), draw(st.integers(1, 5))
    cells = [(i, c) for i in range(images) for c in range(classes)]
    background = draw(st.lists(st.sampled_from([-1, 0]), min_size=classes, max_size=classes))
    if complete:
        background = [-1] * classes
    listed = draw(st.lists(st.sampled_from(cells), unique=True)) if cells else []
    states = [draw(st.sampled_from([-1, 1] if complete else [-1, 0, 1])) for _ in listed]
    said = [draw(st.sampled_from([0, 1, 2, 3] if state else [0, 3, Source.UNSURE])) for state in states]
    sources = np.array(said, np.int8)
    rows, columns = [i for i, _ in listed], [c for _, c in listed]
    names = [f"i{i}" for i in range(images)], [f"c{c}" for c in range(classes)]
    return LabelTable.from_cells(*names, rows, columns, states, sources, background)


def source_of_every_cell(table: LabelTable) -> np.ndarray:
    dense = np.full(table.shape, Source.IMPORT, np.int8)
    cells = table.cells()
    dense[cells.image_index, cells.class_index] = cells.sources
    return dense


@pytest.mark.parametrize(("masking", "chosen"), EVERY)
@given(data=st.data())
@settings(max_examples=40)
def test_only_known_cells_become_unknown(masking: str, chosen: dict[str, Any], data: st.DataObject):
    table = data.draw(tables(complete=masking == "legacy_single_positive"))
    before = table.hash
    thinned, record = hide(table, masking, seed=data.draw(st.integers(0, 9)), **chosen)
    was, now = table.dense(), thinned.dense()
    assert ((now == was) | (now == 0)).all()
    assert (thinned.background == 0).all()
    was_unsure, unsure = (source_of_every_cell(one) == Source.UNSURE for one in (table, thinned))
    assert (unsure == was_unsure).all()
    assert (thinned.states.size, record["after"]["unknown"]) == ((now != 0).sum() + unsure.sum(), (now == 0).sum())
    assert (source_of_every_cell(thinned) == source_of_every_cell(table))[now != 0].all()
    assert thinned.images == table.images
    assert thinned.classes == table.classes
    assert table.hash == before
    # The hand-assembled rows are those that the checking constructor would have made.
    cells = thinned.cells()
    rebuilt = LabelTable.from_cells(table.images, table.classes, *cells)
    assert rebuilt.hash == thinned.hash == record["output_hash"]
    assert (rebuilt.class_index == thinned.class_index).all()


@pytest.mark.parametrize(("masking", "chosen"), KEYED)
def test_unsure_cells_change_no_draw(masking: str, chosen: dict[str, Any]):
    table = complete_table(background=0)
    listed, unsure = table.cells(), np.arange(table.states.size) % 7 == 3
    states = np.where(unsure, 0, listed.states)
    sources = np.where(unsure, Source.UNSURE, listed.sources)
    names = table.images, table.classes, listed.image_index, listed.class_index, states
    asked, not_asked = (hide(LabelTable.from_cells(*names, some), masking, **chosen).table for some in (sources, 0))
    assert asked.hash == not_asked.hash
    assert (asked.unsure, not_asked.unsure) == (unsure.sum(), 0)


@pytest.mark.parametrize(("masking", "chosen"), EVERY)
def test_blocks_do_not_matter(masking: str, chosen: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    for table in (complete_table(background=-1), complete_table(background=0)):
        whole = hide(table, masking, **chosen).table
        for cells in (1, 17, 100):
            with monkeypatch.context() as patch:
                patch.setattr("partlabel.masking.blocks._BLOCK_CELLS", cells)
                assert hide(table, masking, **chosen).table.hash == whole.hash


@pytest.mark.parametrize(("masking", "chosen"), EVERY)
def test_listed_and_implied_absents_are_treated_alike(masking: str, chosen: dict[str, Any]):
    implied, listed = complete_table(background=-1), complete_table(background=0)
    assert hide(implied, masking, **chosen).table.hash == hide(listed, masking, **chosen).table.hash


@pytest.mark.parametrize(("masking", "chosen"), KEYED)
def test_order_of_images_and_classes_does_not_matter(masking: str, chosen: dict[str, Any]):
    table, random = complete_table(), np.random.default_rng(0)
    images, classes = random.permutation(table.images).tolist(), random.permutation(table.classes).tolist()
    shuffled = hide(table.select_images(images).select_classes(classes), masking, **chosen).table
    again = shuffled.select_images(list(table.images)).select_classes(list(table.classes))
    assert (again.dense() == hide(table, masking, **chosen).table.dense()).all()


@pytest.mark.parametrize(("masking", "chosen"), [case for case in KEYED if case[0] != "per_class"])
def test_other_images_do_not_matter(masking: str, chosen: dict[str, Any]):
    table, some = complete_table(), [3, 17, 20, 49]
    part = hide(table.select_images(some), masking, **chosen).table
    assert (part.dense() == hide(table, masking, **chosen).table.rows(some)).all()


@pytest.mark.parametrize(("masking", "chosen"), [case for case in EVERY if case[0] != "positives_only"])
def test_seed_decides(masking: str, chosen: dict[str, Any]):
    table = complete_table()
    first = hide(table, masking, seed=1, **chosen).table.hash
    assert first == hide(table, masking, seed=1, **chosen).table.hash
    assert first != hide(table, masking, seed=2, **chosen).table.hash


@pytest.mark.parametrize(("case", "golden"), list(zip(EVERY, GOLDEN, strict=True)))
def test_golden_masks_never_change(case: tuple[str, dict[str, Any]], golden: str):
    dense = hide(complete_table(), case[0], **case[1]).table.dense()
    assert hashlib.sha256(dense.tobytes()).hexdigest()[:16] == golden


def test_record_says_everything_and_is_json():
    table = complete_table()
    thinned, record = hide(table, "known_ratio", ratio=np.float32(0.25), seed=5)
    assert json.loads(json.dumps(record)) == record
    known = thinned.dense()
    assert record == {
        "masking": "known_ratio",
        "settings": {"ratio": 0.25},
        "seed": 5,
        "input_hash": table.hash,
        "output_hash": thinned.hash,
        "before": {"present": 150, "absent": 250, "unknown": 0},
        "after": {"present": (known == 1).sum(), "absent": (known == -1).sum(), "unknown": (known == 0).sum()},
        "partlabel": __version__,
    }


def test_record_holds_the_seed_that_was_used():
    assert hide(complete_table(), "single_positive").record["seed"] == 0
    assert hide(complete_table(), "legacy_single_positive").record["seed"] == 1200
    assert hide(complete_table(), "positives_only", seed=3).record["seed"] is None


@pytest.mark.parametrize(
    ("masking", "chosen", "message"),
    [
        (
            "known_ration",
            {"ratio": 0.1},
            "unknown masking 'known_ration'; did you mean known_ratio.*Valid: known_ratio, drop_pos",
        ),
        ("bernoulli", {}, "unknown masking 'bernoulli'.*Valid: known_ratio"),
        ("known_ratio", {"ratios": 0.1}, "no setting 'ratios'; did you mean ratio"),
        ("positives_only", {"ratio": 0.1}, "no setting 'ratio'; it takes none"),
        ("known_ratio", {}, "needs a value for ratio"),
        ("known_ratio", {"ratio": 1.1}, "ratio is 1.1"),
        ("known_ratio", {"ratio": -0.1}, "ratio is -0.1"),
        ("known_ratio", {"ratio": float("nan")}, "ratio is nan"),
        ("known_ratio", {"ratio": "0.1"}, "ratio is '0.1'"),
        ("known_ratio", {"ratio": True}, "ratio is True"),
        ("known_ratio", {"ratio": 0.1, "seed": -1}, "seed -1"),
        ("drop_positives", {}, "exactly one of keep and published_left, but 0"),
        ("drop_positives", {"keep": 0.5, "published_left": 75}, "exactly one of keep and published_left, but 2"),
        ("drop_positives", {"published_left": 50}, "published lists are 75 and 40"),
        ("drop_positives", {"keep": 2}, "keep is 2"),
        ("per_class", {"count": -1}, "count is -1"),
        ("per_class", {"count": 1.5}, "count is 1.5"),
        ("per_class", {"fraction": 1.5}, "fraction is 1.5"),
        ("per_class", {}, "exactly one of count and fraction"),
        ("legacy_numpy_ratio", {"ratio": 0.1, "seed": 2**32}, "seed 4294967296 is outside"),
    ],
)
def test_wrong_settings_are_refused(masking: str, chosen: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        hide(complete_table(), masking, **chosen)
