from pathlib import Path

import numpy as np
import pytest
import torch

from partlabel.errors import LabelError, UsageError
from partlabel.masking import hide

from .conftest import Read, write

CONCEPTS = ("airport", "sky", "zebra")
ALL = ("a/0001_5.jpg", "a/0002_6.jpg", "b/0001_7.jpg", "b/0002_8.jpg", "c/0001_9.jpg")
TRUTH = {ALL[0]: "sky", ALL[1]: "", ALL[2]: "airport sky", ALL[3]: "zebra", ALL[4]: "sky zebra"}
TRAIN, TEST = (ALL[4], ALL[1], ALL[0]), (ALL[3], ALL[2])


def bits(concept: str, images: tuple[str, ...]) -> str:
    return "".join(f"{int(concept in TRUTH[image].split())}\r\n" for image in images)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "Concepts81.txt", "".join(f"{name}\n" for name in CONCEPTS))
    for split, images in (("Train", TRAIN), ("Test", TEST)):
        windows = "".join(image.replace("/", "\\") + "\r\n" for image in images)
        write(tmp_path / "ImageList" / f"{split}Imagelist.txt", windows)
        for concept in CONCEPTS:
            path = tmp_path / "Groundtruth" / "TrainTestLabels" / f"Labels_{concept}_{split}.txt"
            write(path, bits(concept, images))
    write(tmp_path / "ImageList" / "Imagelist.txt", "\n".join(ALL))
    for concept in CONCEPTS:
        write(tmp_path / "Groundtruth" / "AllLabels" / f"Labels_{concept}.txt", bits(concept, ALL))
    return tmp_path


def expected(images: tuple[str, ...]) -> list[list[int]]:
    return [[1 if concept in TRUTH[image].split() else -1 for concept in CONCEPTS] for image in images]


@pytest.mark.parametrize(
    ("options", "images"),
    [
        ("", TRAIN),
        (",split=test", TEST),
        (",unannotated=drop", (ALL[4], ALL[0])),
        (",order=all", (ALL[0], ALL[1], ALL[4])),
        (",order=all,unannotated=drop", (ALL[0], ALL[4])),
        (",order=all,split=test", (ALL[2], ALL[3])),
    ],
)
def test_splits_orders_and_images_without_concepts(
    folder: Path, read: Read, options: str, images: tuple[str, ...]
) -> None:
    table = read(f"nus_wide:{folder}{options}")
    assert table.images == tuple(f"Flickr/{image}" for image in images)
    assert table.classes == CONCEPTS
    assert table.dense().tolist() == expected(images)


def test_the_mask_of_csl(folder: Path, read: Read) -> None:
    dense = np.asarray(expected((ALL[0], ALL[4])))
    torch.manual_seed(0)
    known = torch.rand(*dense.shape) < 0.5
    masked = hide(read(f"nus_wide:{folder},order=all,unannotated=drop"), "legacy_torch_ratio", ratio=0.5).table
    assert masked.dense().tolist() == np.where(known, dense, 0).tolist()


def test_an_image_of_both_lists_is_a_test_image(folder: Path, read: Read) -> None:
    """As in the code of CSL, which reads the test list last."""
    write(folder / "ImageList" / "TestImagelist.txt", "\n".join((*TEST, ALL[0])))
    assert read(f"nus_wide:{folder},order=all").images == (f"Flickr/{ALL[1]}", f"Flickr/{ALL[4]}")
    images = tuple(f"Flickr/{name}" for name in (ALL[0], ALL[2], ALL[3]))
    assert read(f"nus_wide:{folder},order=all,split=test").images == images


def test_concepts_in_their_folder(folder: Path, read: Read) -> None:
    (folder / "ConceptsList").mkdir()
    (folder / "Concepts81.txt").rename(folder / "ConceptsList" / "Concepts81.txt")
    assert read(f"nus_wide:{folder}").dense().tolist() == expected(TRAIN)


def test_what_is_missing_or_broken_is_named(folder: Path, read: Read) -> None:
    truth = folder / "Groundtruth" / "TrainTestLabels" / "Labels_sky_Train.txt"
    for content in ("1\n0\n", "1\n0\n2\n", "1\n0\n1\n1\n"):
        write(truth, content)
        with pytest.raises(
            LabelError, match=r"sky_Train\.txt does not hold a 0 or 1 for each of the 3 images in .*TrainI"
        ):
            read(f"nus_wide:{folder}")
    truth.unlink()
    with pytest.raises(LabelError, match=r"Labels_sky_Train\.txt does not exist"):
        read(f"nus_wide:{folder}")
    write(folder / "ImageList" / "Imagelist.txt", "\n".join(ALL[1:]))
    with pytest.raises(LabelError, match=r"Imagelist\.txt lacks 'a/0001_5\.jpg'"):
        read(f"nus_wide:{folder},order=all")
    (folder / "Concepts81.txt").unlink()
    with pytest.raises(LabelError, match=r"Concepts81\.txt does not exist"):
        read(f"nus_wide:{folder}")


def test_lists_with_concept_numbers(folder: Path, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "single.txt", "7_x_m.jpg,1\n8_y_m.jpg,\n9_z_m.jpg,0 2\n")
    monkeypatch.chdir(folder)
    table = read("nus_wide_list:.,list=single.txt")
    assert table.images == ("images/7_x_m.jpg", "images/8_y_m.jpg", "images/9_z_m.jpg")
    assert table.dense().tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1]]
    absent = read(f"nus_wide_list:.,list={folder / 'single.txt'},unlisted=absent")
    assert absent.dense().tolist() == [[-1, 1, -1], [-1, -1, -1], [1, -1, 1]]
    with pytest.raises(UsageError, match="list=FILE"):
        read("nus_wide_list:.")
    with pytest.raises(LabelError, match=r"nowhere\.txt does not exist; it is named by list="):
        read("nus_wide_list:.,list=nowhere.txt")
    for line in ("7_x_m.jpg,3", "7_x_m.jpg,sky", "7_x_m.jpg", ",1"):
        write(folder / "single.txt", f"8_y_m.jpg,1\n{line}\n")
        with pytest.raises(LabelError, match=rf"single\.txt, line 2: '{line}' is not NAME,NUMBER NUMBER"):
            read("nus_wide_list:.,list=single.txt")
    write(folder / "Concepts81.txt", "sky\nsky\nzebra\n")
    with pytest.raises(LabelError, match=r"Concepts81\.txt lists 'sky' twice"):
        read("nus_wide_list:.,list=single.txt")
    write(folder / "Concepts81.txt", "sky\0\0\0\0zebra\n")
    with pytest.raises(LabelError, match=r"Concepts81\.txt is no text, it holds zero bytes"):
        read("nus_wide_list:.,list=single.txt")
