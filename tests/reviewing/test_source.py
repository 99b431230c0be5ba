"""What `review` makes of a file: whatever stands between its columns, suggestions are suggestions."""

from pathlib import Path

import numpy as np
import pytest

from partlabel.errors import LabelError
from partlabel.progress import SILENT
from partlabel.reviewing.source import open_subject, refuse_empty

LINES = [
    ["image", "class", "state", "probability", "rule"],
    ["a, b.jpg", "sky", "present", "0.9", "promise"],
    ["c.jpg", "sea", "absent", "0.25", "doubtful"],
]


def written(folder: Path, mark: str, encoding: str = "utf-8") -> Path:
    path = folder / "suggested.csv"
    rows = [mark.join(f'"{cell}"' if mark in cell else cell for cell in line) for line in LINES]
    path.write_text("\n".join(rows) + "\n", encoding=encoding)
    return path


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_suggestions_saved_by_a_spreadsheet_stay_suggestions(tmp_path: Path, mark: str, encoding: str) -> None:
    subject, known = open_subject(written(tmp_path, mark, encoding), None, tmp_path, SILENT, {})
    assert known is None
    assert subject.images == ("a, b.jpg", "c.jpg")
    assert subject.classes == ("sky", "sea")
    assert subject.known.counts_by_class().unknown.tolist() == [2, 2]
    assert subject.listed is not None
    assert subject.listed.cells.tolist() == [0, 3]
    assert subject.listed.suggests.tolist() == [1, 1]
    np.testing.assert_allclose(subject.listed.probability, [0.9, 0.25])
    assert subject.listed.kind.tolist() == [0, 1]


@pytest.mark.parametrize("mark", [",", ";"])
def test_a_file_without_suggestions_is_refused(tmp_path: Path, mark: str) -> None:
    path = written(tmp_path, mark)
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(LabelError, match="holds no suggestion"):
        refuse_empty(path)


def test_a_line_that_lost_a_cell_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, ";")
    path.write_text(path.read_text().replace(";doubtful", ""))
    with pytest.raises(LabelError, match="line 3 has 4 cells, but the header has 5"):
        open_subject(path, None, tmp_path, SILENT, {})
