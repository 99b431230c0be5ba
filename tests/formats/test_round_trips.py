"""Every format that is written: what comes back is what was written, or a sentence says what cannot be held."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partlabel.errors import LabelError
from partlabel.formats import FORMATS, LOSABLE, Format, read_table, write_table
from partlabel.labels import LabelTable

Tables = Callable[..., st.SearchStrategy[LabelTable]]
WRITTEN = [format for format in FORMATS.values() if format.writes]
ONCE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def target(folder: Path, format: Format) -> Path:
    """A file, which may be there and is replaced, or a folder that is not."""
    path = folder / ("t" + format.suffixes[0] if "file" in format.takes else "t")
    if path.is_dir():
        shutil.rmtree(path)
    return path


def refused(table: LabelTable, path: Path, format: Format, lose: frozenset[str]) -> str | None:
    said = None
    try:
        write_table(table, path, format=format.name, lose=lose)
    except LabelError as error:
        said = str(error)
    assert said is None or str(path) in said
    return said


def read_again(path: Path, format: Format, complete: bool) -> LabelTable:
    """As its owner would read it, who knows whether the labels are complete."""
    if format.two_states and complete:
        return read_table(path, format=format.name, unlisted="absent").table
    return read_table(path, format=format.name).table


@pytest.mark.parametrize("format", WRITTEN, ids=lambda format: format.name)
@given(data=st.data())
@ONCE
def test_plain_names_come_back(tmp_path: Path, label_tables: Tables, format: Format, data: st.DataObject) -> None:
    table = data.draw(label_tables(odd_names=False))
    path = target(tmp_path, format)
    counts = table.counts_by_class()
    both = counts.absent.any() and counts.unknown.any()
    losses = format.losses(table)
    refusal = refused(table, path, format, frozenset())
    assert (refusal is not None) == bool(losses or (format.two_states and both)), refusal
    if refusal is None:
        again = read_again(path, format, not counts.unknown.any())
        assert again.images == table.images
        assert again.classes == table.classes
        assert again.dense().tolist() == table.dense().tolist()
        if format.keeps_unsure:
            assert again.open_rows(range(len(again))).tolist() == table.open_rows(range(len(table))).tolist()
        return
    assert all(f"--lose {word}" in refusal for word in losses)
    if not (counts.present.any() or counts.absent.any()) and "classes" in losses:
        return  # no class would be left
    lose = frozenset(losses) | ({"absent"} if format.two_states else set())
    assert refused(table, path, format, lose) is None
    again = read_again(path, format, False)
    for image in again.images:
        for name in again.classes:
            at = [table.image_positions[image]], [table.class_positions[name]]
            now = int(again.states_at([again.image_positions[image]], [again.class_positions[name]])[0])
            before = int(table.states_at(*at)[0])
            assert now == (max(before, 0) if format.two_states and both else before)
    assert again.unsure == table.unsure * format.keeps_unsure
    known = counts.present.sum() + counts.absent.sum() * (not (format.two_states and both))
    counts = again.counts_by_class()
    assert counts.present.sum() + counts.absent.sum() == known


@pytest.mark.parametrize("format", WRITTEN, ids=lambda format: format.name)
@given(data=st.data())
@ONCE
def test_odd_names_come_back_or_are_refused(
    tmp_path: Path, label_tables: Tables, format: Format, data: st.DataObject
) -> None:
    table = data.draw(label_tables(odd_names=True))
    path = target(tmp_path, format)
    lose = frozenset(format.losses(table)) | ({"absent"} if format.two_states else set())
    if refused(table, path, format, lose) is None:
        again = read_again(path, format, not table.counts_by_class().unknown.any())
        assert {*again.images} <= {*table.images}
        assert {*again.classes} <= {*table.classes}
        counts, before = again.counts_by_class(), table.counts_by_class()
        assert counts.present.sum() == before.present.sum()


@pytest.mark.parametrize("word", LOSABLE)
def test_unknown_never_becomes_absent_without_the_word(tmp_path: Path, word: str) -> None:
    """Only `--lose unknown` lets a file say absent where nobody looked."""
    table = LabelTable.from_dense(["a.jpg", "b.jpg"], ["cat", "dog"], [[1, 0], [-1, 1]])
    for format in WRITTEN:
        path = target(tmp_path / format.name, format)
        path.parent.mkdir()
        if refused(table, path, format, frozenset({word})) is not None:
            continue
        again = read_table(path, format=format.name).table
        at = [again.image_positions["a.jpg"]], [again.class_positions["dog"]]
        assert again.states_at(*at)[0] == 0, format.name
