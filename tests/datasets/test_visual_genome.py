import json
from pathlib import Path

import numpy as np
import pytest

from partlabel.errors import LabelError
from partlabel.masking import hide

from .conftest import Read, write

INDEX = {"10.jpg": [3, 199, 3], "2.jpg": [], "7.jpg": [0], "5.jpg": [1]}
ORDER = ("7.jpg", "10.jpg", "2.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "train_list_500.txt", "\n".join(ORDER) + "\n")
    write(tmp_path / "ssgrl_partition" / "test_list_500.txt", "5.jpg\n")
    write(tmp_path / "vg_category_200_labels_index.json", json.dumps(INDEX))
    for place, name in (("VG_100K", "7.jpg"), ("VG_100K", "10.jpg"), ("VG_100K_2", "10.jpg"), ("VG_100K_2", "2.jpg")):
        write(tmp_path / place / name, "")
    return tmp_path


@pytest.mark.parametrize(("unlisted", "other"), [("unknown", 0), ("absent", -1)])
def test_listed_categories_and_the_others(folder: Path, read: Read, unlisted: str, other: int) -> None:
    table = read(f"vg200:{folder},unlisted={unlisted}")
    assert table.images == ("VG_100K/7.jpg", "VG_100K/10.jpg", "VG_100K_2/2.jpg")
    assert table.classes == tuple(map(str, range(200)))
    dense = [[1 if number in INDEX[name] else other for number in range(200)] for name in ORDER]
    assert table.dense().tolist() == dense


def test_unknown_is_the_default(folder: Path, read: Read) -> None:
    assert not (read(f"vg200:{folder}").dense() < 0).any()


def test_the_mask_of_sst(folder: Path, read: Read) -> None:
    dense = np.asarray([[1 if number in INDEX[name] else -1 for number in range(200)] for name in ORDER])
    np.random.seed(0)  # noqa: NPY002
    draw = np.random.random(dense.shape) < 0.1  # noqa: NPY002
    masked = hide(read(f"vg200:{folder},unlisted=absent"), "legacy_numpy_ratio", ratio=0.1).table
    assert masked.dense().tolist() == np.where(draw, dense, 0).tolist()


def test_the_test_split_500_classes_and_names(folder: Path, read: Read) -> None:
    assert read(f"vg200:{folder},split=test").images == ("VG_100K/5.jpg",)
    write(folder / "vg" / "vg_category_500_labels_index.json", json.dumps({"5.jpg": [499]}))
    write(folder / "names.txt", "\n".join(f"thing {number}" for number in range(500)))
    table = read(f"vg500:{folder},split=test,names={folder}/names.txt")
    assert table.shape == (1, 500)
    assert table.states_at([0], [table.class_positions["thing 499"]]).item() == 1
    with pytest.raises(LabelError, match="names 500 classes, not 200"):
        read(f"vg200:{folder},names={folder}/names.txt")
    write(folder / "names.txt", "thing\n" * 200)
    with pytest.raises(LabelError, match=r"names\.txt lists 'thing' twice; write each name on a line of its own"):
        read(f"vg200:{folder},names={folder}/names.txt")


def test_what_is_missing_or_broken_is_named(folder: Path, read: Read) -> None:
    index = folder / "vg_category_200_labels_index.json"
    for name, numbers in (("2.jpg", [200]), ("2.jpg", "3"), ("10.jpg", [-1]), ("7.jpg", [True]), ("7.jpg", [3.0])):
        write(index, json.dumps({**INDEX, name: numbers}))
        with pytest.raises(LabelError, match=rf"no list of numbers below 200 for '{name}'"):
            read(f"vg200:{folder}")
    write(index, json.dumps(INDEX)[:-4])
    with pytest.raises(LabelError, match=r"index\.json is no complete JSON \(.*char"):
        read(f"vg200:{folder}")
    index.write_bytes(json.dumps(INDEX).encode("utf-16"))
    with pytest.raises(LabelError, match=r"index\.json is no text; it may be damaged: [^;]*$"):
        read(f"vg200:{folder}")
    index.unlink()
    with pytest.raises(LabelError, match=r"vg_category_200_labels_index\.json does not exist"):
        read(f"vg200:{folder}")
