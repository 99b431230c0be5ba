from pathlib import Path

import numpy as np
import pytest
import torch

from partlabel.errors import LabelError
from partlabel.masking import hide

from .conftest import Read, write, write_voc

ALPHABET = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep "
    "sofa train tvmonitor"
)
BOXES = {
    "000009": [("dog", 0), ("dog", 1), ("sofa", 1)],
    "000003": [("person", 1), ("person", 1), ("car", 0)],
    "000007": [],
}
ORDER = ("000009", "000003", "000007")


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    write_voc(tmp_path, "2007", "trainval", BOXES, ORDER)
    write_voc(tmp_path, "2007", "test", {"000001": [("dog", 1), ("cat", 0)]}, ["000001"])
    write_voc(tmp_path, "2012", "val", {"2008_000001": [("dog", 1), ("cat", 0)]}, ["2008_000001"])
    return tmp_path


def expected(names: tuple[str, ...], difficult: int) -> list[list[int]]:
    dense = []
    for name in names:
        row = []
        for cls in ALPHABET.split():
            flags = [flag for box, flag in BOXES[name] if box == cls]
            row.append(-1 if not flags else 1 if 0 in flags else difficult)
        dense.append(row)
    return dense


@pytest.mark.parametrize(("difficult", "state"), [("unknown", 0), ("absent", -1), ("ignored", -1)])
def test_states_of_the_training_split(devkit: Path, read: Read, difficult: str, state: int) -> None:
    table = read(f"voc2007:{devkit},difficult={difficult}")
    assert table.classes == tuple(ALPHABET.split())
    assert table.images == tuple(f"JPEGImages/{name}.jpg" for name in ORDER)
    assert table.dense().tolist() == expected(ORDER, state)


@pytest.mark.parametrize(("difficult", "state"), [("unknown", 0), ("absent", -1), ("ignored", 0)])
@pytest.mark.parametrize("test", ["voc2007:{},split=test", "voc2012:{},split=val"])
def test_states_of_the_test_split(devkit: Path, read: Read, difficult: str, state: int, test: str) -> None:
    row = read(f"{test.format(devkit)},difficult={difficult}").dense()[0]
    assert {ALPHABET.split()[column]: int(row[column]) for column in np.flatnonzero(row != -1)} == {
        name: value for name, value in {"cat": 1, "dog": state}.items() if value != -1
    }


def test_unknown_is_the_default_and_the_folder_of_the_year_will_do(devkit: Path, read: Read) -> None:
    assert read(f"voc2007:{devkit / 'VOC2007'}").dense().tolist() == expected(ORDER, 0)


def test_masks_are_those_of_public_code(devkit: Path, read: Read) -> None:
    table = read(f"voc2007:{devkit},difficult=absent")
    dense = np.asarray(expected(ORDER, -1))  # as in SST, SARB and PU-MLC, and in CSL
    np.random.seed(0)  # noqa: NPY002
    draw = np.random.random(dense.shape) < 0.3  # noqa: NPY002
    assert hide(table, "legacy_numpy_ratio", ratio=0.3).table.dense().tolist() == np.where(draw, dense, 0).tolist()
    torch.manual_seed(0)
    known = torch.rand(*dense.shape) < 0.3
    assert hide(table, "legacy_torch_ratio", ratio=0.3).table.dense().tolist() == np.where(known, dense, 0).tolist()


def test_what_is_missing_or_broken_is_named(devkit: Path, read: Read) -> None:
    with pytest.raises(LabelError, match=r"ImageSets/Main/val\.txt does not exist"):
        read(f"voc2007:{devkit},split=val")
    annotation = devkit / "VOC2007" / "Annotations" / "000003.xml"
    whole = annotation.read_text()
    for broken, said in (
        (whole[:-20], "is no VOC annotation"),
        ("<html><body>404</body></html>", "it has no <annotation>"),
        (whole.replace("car", "zebra"), "'zebra', which is no class"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + whole.replace("car", "&b;"), "is no VOC annotation"),
    ):
        write(annotation, broken)
        with pytest.raises(LabelError, match=rf"000003\.xml.*{said}"):
            read(f"voc2007:{devkit}")
    annotation.unlink()
    with pytest.raises(LabelError, match=r"000003\.xml does not exist; in .*VOC2007 are expected"):
        read(f"voc2007:{devkit}")
    write(devkit / "VOC2007" / "ImageSets" / "Main" / "trainval.txt", "000009\n000009\n")
    with pytest.raises(LabelError, match="lists '000009' twice"):
        read(f"voc2007:{devkit}")
    write(devkit / "VOC2007" / "ImageSets" / "Main" / "trainval.txt", "../../x\n")
    with pytest.raises(LabelError, match="no name of an image"):
        read(f"voc2007:{devkit}")
