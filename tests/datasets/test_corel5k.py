from pathlib import Path

import pytest

from partlabel.errors import LabelError, UsageError

from .conftest import Read, write

WORDS = ("city", "mountain", "sky")
TRAIN = {"1000": (3, 1), "12": (2,), "7": (1, 2, 3)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "words", "\n".join(WORDS) + "\n")
    write(tmp_path / "image_nums", "\n".join(TRAIN) + "\n")
    padded = [" ".join(map(str, (*numbers, *[-99] * (3 - len(numbers))))) for numbers in TRAIN.values()]
    write(tmp_path / "document_words", "\n".join(padded) + "\n")
    write(tmp_path / "test_1_image_nums", "5\n")
    write(tmp_path / "test_1_document_words", "  2  -99 -99\n")
    return tmp_path


@pytest.mark.parametrize(("unlisted", "other"), [("unknown", 0), ("absent", -1)])
def test_keywords_and_the_other_words(folder: Path, read: Read, unlisted: str, other: int) -> None:
    table = read(f"corel5k:{folder},unlisted={unlisted}")
    assert table.images == tuple(f"images/{number}.jpeg" for number in TRAIN)
    assert table.classes == WORDS
    dense = [[1 if number in numbers else other for number in (1, 2, 3)] for numbers in TRAIN.values()]
    assert table.dense().tolist() == dense


def test_the_test_split_where_images_lie_elsewhere(folder: Path, read: Read) -> None:
    table = read(f"corel5k:{folder},split=test,pattern=photos/{{}}.jpg")
    assert (table.images, table.dense().tolist()) == (("photos/5.jpg",), [[0, 1, 0]])
    with pytest.raises(UsageError, match=r"no single \{\} for the number"):
        read(f"corel5k:{folder},pattern=photos.jpg")


def test_what_is_missing_or_broken_is_named(folder: Path, read: Read) -> None:
    for line in ("4 -99", "0", "sky", "inf", "nan", "1.5 -99"):
        write(folder / "test_1_document_words", f"{line}\n")
        with pytest.raises(LabelError, match=rf"test_1_document_words, line 1: '{line}'"):
            read(f"corel5k:{folder},split=test")
    write(folder / "image_nums", "1000\n12\n../7\n")
    with pytest.raises(LabelError, match=r"image_nums: '\.\./7' is no number of an image"):
        read(f"corel5k:{folder}")
    write(folder / "image_nums", "1000\n12\n")
    with pytest.raises(LabelError, match=r"document_words has 3 lines and .*image_nums 2"):
        read(f"corel5k:{folder}")
    (folder / "words").unlink()
    with pytest.raises(LabelError, match=r"words does not exist"):
        read(f"corel5k:{folder}")
