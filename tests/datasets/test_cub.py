from pathlib import Path

import pytest

from partlabel.datasets.cub import Cub200
from partlabel.errors import LabelError

from .conftest import Read, write

IMAGES = {"1": "001.Albatross/A_1.jpg", "2": "002.Auk/B_1.jpg", "3": "001.Albatross/A_2.jpg"}
ATTRIBUTES = {"1": "has_bill_shape::curved_(up_or_down)", "2": "has_size::small", "3": "has_tail::long"}
ANSWERS = {  # (image, attribute): present, certainty
    ("1", "1"): (1, 4),
    ("1", "2"): (0, 3),
    ("1", "3"): (0, 1),
    ("2", "1"): (1, 2),
    ("2", "2"): (0, 4),
    ("3", "1"): (0, 4),
    ("3", "2"): (1, 1),
    ("3", "3"): (1, 3),
}


def pairs(values: dict[str, str]) -> str:
    return "".join(f"{key} {value}\n" for key, value in values.items())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inner = tmp_path / "CUB_200_2011"
    write(inner / "images.txt", pairs(IMAGES))
    write(inner / "train_test_split.txt", "1 1\n2 0\n3 1\n")
    write(inner / "classes.txt", "1 001.Albatross\n2 002.Auk\n")
    write(inner / "image_class_labels.txt", "1 1\n2 2\n3 1\n")
    write(tmp_path / "attributes.txt", pairs(ATTRIBUTES))  # as the makers pack it
    lines = [f"{image} {name} {present} {sure} 5.5\n" for (image, name), (present, sure) in ANSWERS.items()]
    lines[1] = lines[1].replace(" 5.5", " 0 5.5")  # some official lines have one number more
    write(inner / "attributes" / "image_attribute_labels.txt", "".join(lines))
    return tmp_path


def expected(images: str, least: int) -> list[list[int]]:
    dense = []
    for image in images.split():
        row = []
        for name in ATTRIBUTES:
            present, sure = ANSWERS.get((image, name), (0, -1))
            row.append(0 if sure < least else 1 if present else -1)
        dense.append(row)
    return dense


@pytest.mark.parametrize(("split", "images"), [("train", "1 3"), ("test", "2"), ("all", "1 2 3")])
@pytest.mark.parametrize(("certainty", "least"), [("stated", 0), ("visible", 2), ("probably", 3), ("definitely", 4)])
def test_answers_by_certainty(folder: Path, read: Read, split: str, images: str, certainty: str, least: int) -> None:
    table = read(f"cub200_2011:{folder},split={split},certainty={certainty}")
    assert table.images == tuple(f"images/{IMAGES[one]}" for one in images.split())
    assert table.classes == tuple(ATTRIBUTES.values())
    assert table.dense().tolist() == expected(images, least)


def test_what_was_not_visible_is_unknown_by_default(folder: Path, read: Read) -> None:
    assert read(f"cub200_2011:{folder / 'CUB_200_2011'}").dense().tolist() == expected("1 3", 2)


def test_species(folder: Path, read: Read) -> None:
    write(folder / "seen.txt", "001.Albatross\n")
    table = read(f"cub200_2011:{folder},split=all,species={folder}/seen.txt")
    assert table.images == (f"images/{IMAGES['1']}", f"images/{IMAGES['3']}")
    assert Cub200().side_information(folder / "CUB_200_2011") == {
        f"images/{IMAGES['1']}": "001.Albatross",
        f"images/{IMAGES['2']}": "002.Auk",
        f"images/{IMAGES['3']}": "001.Albatross",
    }
    write(folder / "seen.txt", "003.Dodo\n")
    with pytest.raises(LabelError, match=r"names '003\.Dodo', which is no species"):
        read(f"cub200_2011:{folder},species={folder}/seen.txt")


def test_what_is_missing_or_broken_is_named(folder: Path, read: Read) -> None:
    answers = folder / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt"
    for line in ("1 1", "9 1 1 4 0", "1 9 1 4 0", "1 1 2 4 0", "1 1 1 x 0"):
        write(answers, f"1 2 1 4 0.1\n{line}\n")
        with pytest.raises(LabelError, match=rf"image_attribute_labels\.txt, line 2: '{line}'"):
            read(f"cub200_2011:{folder}")
    write(folder / "CUB_200_2011" / "train_test_split.txt", "1 1\n2 0\n")
    with pytest.raises(LabelError, match=r"train_test_split\.txt lacks image 3, which .*images\.txt lists"):
        read(f"cub200_2011:{folder}")
    write(folder / "CUB_200_2011" / "classes.txt", "1 001.Albatross\n")
    with pytest.raises(LabelError, match=r"image_class_labels\.txt names species 2, which .*classes\.txt lacks"):
        Cub200().side_information(folder / "CUB_200_2011")
    (folder / "attributes.txt").unlink()
    with pytest.raises(LabelError, match=r"attributes/attributes\.txt does not exist"):
        read(f"cub200_2011:{folder}")


@pytest.mark.parametrize(
    ("kept", "said"), [("", "3 images, first 1"), ("\n", "3 images, first 1"), ("1 2 1 4 0.1\n", "2 images, first 2")]
)
def test_images_without_an_answer_are_refused(folder: Path, read: Read, kept: str, said: str) -> None:
    """What a file that is cut short between two lines, or empty, would leave unknown without a word."""
    write(folder / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt", kept)
    with pytest.raises(LabelError, match=rf"image_attribute_labels\.txt has no answer for {said}; it may be cut short"):
        read(f"cub200_2011:{folder}")


def test_line_ends_and_byte_order_marks_of_answers(folder: Path, read: Read) -> None:
    before = read(f"cub200_2011:{folder},split=all").dense().tolist()
    answers = folder / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt"
    text = answers.read_text()
    write(answers, "\ufeff" + text.replace("\n", "\r\n"))
    assert read(f"cub200_2011:{folder},split=all").dense().tolist() == before
    write(answers, text.replace("\n", "\r"))  # one line to whoever splits at line feeds
    with pytest.raises(LabelError, match=r"image_attribute_labels\.txt"):
        read(f"cub200_2011:{folder},split=all")


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("images.txt", "2 002.Auk/B_1.jpg\n", "", r"images\.txt lacks image 2, which .*train_test_split\.txt lists"),
        ("images.txt", "002.Auk/B_1.jpg", IMAGES["1"], rf"images\.txt lists '{IMAGES['1']}' twice"),
        ("train_test_split.txt", "2 0", "2 5", r"train_test_split\.txt: '5' is neither 0 nor 1"),
        ("image_class_labels.txt", "2 2\n", "", r"image_class_labels\.txt lacks image 2, which .*images\.txt lists"),
        (
            "image_class_labels.txt",
            "2 2",
            "2 7",
            r"image_class_labels\.txt names species 7, which .*classes\.txt lacks",
        ),
        ("../attributes.txt", "has_size::small", "has_tail::long", r"attributes\.txt lists 'has_tail::long' twice"),
        ("attributes/image_attribute_labels.txt", "2 1 1 2", "1 1 0 4", r"labels\.txt: 1 cell\(s\) are listed with"),
        ("attributes/image_attribute_labels.txt", "2 1 1 2", "2 1 1 7", r"labels\.txt, line 4: '2 1 1 7 5\.5'"),
    ],
)
def test_lists_that_contradict_each_other_are_named(
    folder: Path, read: Read, file: str, old: str, new: str, said: str
) -> None:
    write(folder / "all.txt", "001.Albatross\n002.Auk\n")
    path = folder / "CUB_200_2011" / file
    assert path.read_text().count(old) == 1
    write(path, path.read_text().replace(old, new))
    with pytest.raises(LabelError, match=said):
        read(f"cub200_2011:{folder},split=all,species={folder}/all.txt")
