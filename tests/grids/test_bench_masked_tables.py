import json
from pathlib import Path

import numpy as np
import pytest

from partlabel.api.hide import hide
from partlabel.errors import RunError
from partlabel.formats import read_table, write_table
from partlabel.grids.data import lacking, make_masked, masked_path
from partlabel.grids.schema import Masking
from partlabel.labels import LabelTable
from partlabel.masking import hide as mask
from partlabel.progress import SILENT


@pytest.fixture
def complete() -> LabelTable:
    states = np.where(np.random.default_rng(0).random((30, 4)) < 0.4, 1, -1)
    return LabelTable.from_dense([f"{row}.jpg" for row in range(30)], ["a", "b", "c", "d"], states)


def file_of(complete: LabelTable, folder: Path, seed: int = 0, **masking: object) -> Path:
    entry = Masking.model_validate({"name": "known_ratio", "ratio": 0.5, **masking})
    path = masked_path(complete, entry, seed, folder / "table")
    make_masked(complete, entry, seed, path, hide, SILENT)
    return path


def test_table_is_that_of_hide_and_written_once(complete: LabelTable, tmp_path: Path) -> None:
    path = file_of(complete, tmp_path)
    expected = mask(complete, "known_ratio", seed=0, ratio=0.5)
    assert read_table(path).table.hash == expected.table.hash
    assert json.loads(Path(f"{path}.json").read_text()) == expected.record
    written = path.stat().st_mtime_ns
    assert file_of(complete, tmp_path) == path
    assert path.stat().st_mtime_ns == written


def test_other_labels_settings_and_seeds_have_other_files(complete: LabelTable, tmp_path: Path) -> None:
    fewer = complete.select_classes(["a", "b"])
    paths = {
        file_of(complete, tmp_path),
        file_of(complete, tmp_path, seed=1),
        file_of(complete, tmp_path, ratio=0.4),
        file_of(fewer, tmp_path),
    }
    assert len(paths) == 4


def test_changed_file_is_refused(complete: LabelTable, tmp_path: Path) -> None:
    path = file_of(complete, tmp_path)
    write_table(complete, path)
    with pytest.raises(RunError, match=r"is not the table that .* describes; delete both"):
        file_of(complete, tmp_path)


def test_file_without_record_is_made_again(complete: LabelTable, tmp_path: Path) -> None:
    path = file_of(complete, tmp_path)
    content = path.read_bytes()
    Path(f"{path}.json").unlink()
    path.write_bytes(content[:100])
    assert file_of(complete, tmp_path) == path
    assert read_table(path).table.hash == mask(complete, "known_ratio", seed=0, ratio=0.5).table.hash
    Path(f"{path}.json").write_text('{"output_h')  # as a full disk leaves it
    path.write_bytes(content[:100])
    assert file_of(complete, tmp_path) == path
    assert read_table(path).table.hash == mask(complete, "known_ratio", seed=0, ratio=0.5).table.hash


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ([[1, -1]], ""),
        ([[1, 0]], "known absent cells"),
        ([[0, -1]], "known present cells"),
        ([[0, 0]], "known present and absent cells"),
    ],
)
def test_what_labels_lack(states: list[list[int]], words: str) -> None:
    assert lacking(LabelTable.from_dense(["a.jpg"], ["a", "b"], np.array(states))) == words
