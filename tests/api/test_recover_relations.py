"""`recover` honours relations between classes, by what is known and among what it suggests."""

from pathlib import Path

import pytest

import partlabel
from partlabel.labels import LabelTable
from partlabel.runs.folder import RunFolder

pytestmark = pytest.mark.slow
HEADER = "class,relation,other\n"


def test_suggestions_do_not_exclude_each_other(
    tmp_path: Path, color_images: tuple[Path, LabelTable], fitted_run: RunFolder
) -> None:
    root, truth = color_images
    none = LabelTable.from_cells(truth.images, truth.classes, [], [], [])
    partlabel.write_table(none, tmp_path / "t.csv")
    given = {"images": root, "estimate": True, "precision": 0.05}
    free = partlabel.recover(fitted_run, tmp_path / "t.csv", **given)
    both = [
        image for image in none.images if {"red", "green"} <= {one.class_name for one in free if one.image == image}
    ]
    assert both
    (tmp_path / "r.csv").write_text(HEADER + "red,excludes,green\n")
    bound = partlabel.recover(fitted_run, tmp_path / "t.csv", read={"relations": str(tmp_path / "r.csv")}, **given)
    assert {one[:2] for one in free} - {one[:2] for one in bound} == {
        (image, name) for image in both for name in ("red", "green")
    }


def test_what_follows_from_known_cells_is_not_suggested(
    tmp_path: Path, color_images: tuple[Path, LabelTable], fitted_run: RunFolder
) -> None:
    root, truth = color_images
    some = LabelTable.from_cells(truth.images[24:], truth.classes, range(8), [0] * 8, [1] * 8)
    partlabel.write_table(some, tmp_path / "t.csv")
    (tmp_path / "r.csv").write_text(HEADER + "red,excludes,green\nred,implies,blue\n")
    read = {"relations": str(tmp_path / "r.csv")}
    given = {"images": root, "estimate": True, "precision": 0.2}
    assert len(partlabel.recover(fitted_run, tmp_path / "t.csv", **given))
    assert not len(partlabel.recover(fitted_run, tmp_path / "t.csv", read=read, **given))
