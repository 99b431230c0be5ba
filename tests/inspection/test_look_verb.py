import json
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partlabel.api.look import look
from partlabel.errors import ImageError, LabelError, UsageError
from partlabel.files import write_json
from partlabel.formats import read_table
from partlabel.inspection.look import Look
from partlabel.inspection.page import page
from partlabel.inspection.record import record
from partlabel.labels import LabelTable
from partlabel.methods.catalogue import CATALOGUE, check_fit

Scene = Callable[..., Image.Image]
CODES = "1=present,0=absent,=unknown"


def lines_of(found: Look) -> list[str]:
    return page(found).splitlines()


def table(images: list[str], classes: int = 2) -> LabelTable:
    states = np.ones((len(images), classes), np.int8)
    states[::2] = -1
    return LabelTable.from_dense(images, [f"c{column}" for column in range(classes)], states)


def write_empty_png(path: Path, width: int, height: int) -> None:
    """A header, and no pixels: enough to refuse an image by its size."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


@pytest.fixture
def images(tmp_path: Path, scene: Scene) -> Path:
    """Six train images, two test images of their own, one a small recompressed copy of 2.jpg, one a copy of 3.jpg."""
    root = tmp_path / "images"
    (root / "test").mkdir(parents=True)
    for seed in range(6):
        scene(seed).save(root / f"{seed}.jpg", quality=92)
    for seed in (10, 11):
        scene(seed).save(root / "test" / f"{seed}.jpg")
    scene(2).resize((150, 120)).save(root / "test" / "again.jpg", quality=40)
    shutil.copy(root / "3.jpg", root / "test" / "copy.jpg")
    return root


TRAIN = [f"{seed}.jpg" for seed in range(6)]
TEST = ["test/10.jpg", "test/11.jpg", "test/again.jpg", "test/copy.jpg"]


def test_nothing_wrong(images: Path):
    found = look(table(TRAIN), images=images, against=table(["test/10.jpg", "test/11.jpg"]))
    assert found.problems == ()
    assert lines_of(found)[-1] == "No problem found"
    assert found.image_files is not None
    assert found.image_files.unlisted == ("test/again.jpg", "test/copy.jpg")
    assert "  2 image files of 10 are in no table: 'test/again.jpg', 'test/copy.jpg'" in lines_of(found)
    pairs = {"lsep", "warp", "fast0tag", "wsabie"}  # no image has both signs
    assert {fit.method for fit in found.methods if fit.misfit} == pairs


def test_leaks_across_a_split(images: Path):
    found = look(table(TRAIN), images=images, against=table([*TEST, "5.jpg"]))
    assert found.image_files is not None
    assert found.against is not None
    assert found.against.shared_names == ("5.jpg",)
    assert [tuple(group) for group in found.image_files.identical] == [(("3.jpg",), ("test/copy.jpg",))]
    (near,) = found.image_files.near
    assert (near.image, near.closest, near.alike) == ("test/again.jpg", "2.jpg", 1)
    assert near.distance <= 4
    assert found.image_files.checked == len({*TRAIN, *TEST})
    assert found.problems == (
        "1 image is in both tables: '5.jpg'",
        "1 image is in both tables as identical files: '3.jpg' = 'test/copy.jpg'",
        "1 image of the other table looks like one of this table: 'test/again.jpg' is near '2.jpg'",
    )
    text = page(found)
    for part in (
        "Against the other table, of 5 images",
        "1 name in both: '5.jpg'",
        "'3.jpg' = 'test/copy.jpg'",
        "bits from '2.jpg'",
    ):
        assert part in text
    assert look(table(TRAIN), images=images, against=table(TEST), max_distance=0).image_files.near == ()  # type: ignore[union-attr]


def test_shared_names_need_no_images():
    found = look(table(TRAIN), against=table(["9.jpg", "1.jpg", "0.jpg"]))
    assert found.problems == ("2 images are in both tables: '1.jpg', '0.jpg'",)
    assert found.image_files is None


def test_both_splits_in_one_file(images: Path, tmp_path: Path):
    rows = [f"{name},{'train' if name in TRAIN else 'test'},{number % 2}\n" for number, name in enumerate(TRAIN + TEST)]
    file = tmp_path / "all.csv"
    file.write_text("image,split,cat\n" + "".join(rows))
    found = look(
        file,
        images=images,
        against=file,
        read={"codes": CODES, "where": {"split": "train"}},
        against_read={"codes": CODES, "where": {"split": "test"}},
    )
    assert (found.known.images, found.against and found.against.images) == (tuple(TRAIN), len(TEST))
    assert len(found.problems) == 2


def test_every_broken_image_by_name(images: Path):
    (images / "1.jpg").write_bytes((images / "1.jpg").read_bytes()[:3000])
    (images / "text.jpg").write_text("cat\n")
    (images / "4.jpg").unlink()
    write_empty_png(images / "huge.png", 30_000, 30_000)
    shutil.copy(images / "0.jpg", images / "twin.jpg")
    names = [*TRAIN, "text.jpg", "../images/0.jpg", "huge.png", "twin.jpg"]
    found = look(table(names), images=images)
    assert found.image_files is not None
    assert [(problem.image, problem.kind) for problem in found.image_files.problems] == [
        ("1.jpg", "broken"),
        ("4.jpg", "missing"),
        ("text.jpg", "broken"),
        ("../images/0.jpg", "outside"),
        ("huge.png", "too large"),
    ]
    assert found.problems == (
        "1 image of 10 is missing from the image folder: '4.jpg'",
        "1 image of 10 is named outside the image folder: '../images/0.jpg'",
        "2 images of 10 are broken: '1.jpg', 'text.jpg'",
        "1 image of 10 is too large: 'huge.png'",
    )
    assert [group.in_table for group in found.image_files.identical_within] == [("0.jpg", "twin.jpg")]
    text = page(found)
    assert "5 of 10 can be used" in text
    for problem in found.image_files.problems:
        assert f"{problem.kind}: {problem.reason}" in text


def test_a_table_that_no_image_matches(images: Path):
    found = look(table(["images/0", "images/1", "images/77"]), images=images)
    (sentence,) = found.problems
    assert sentence == (
        f"none of the 3 images of the table is in {str(images)!r}: the first name is 'images/0', and the folder "
        f"holds 10 image files, the first '0.jpg'; the names begin with 'images/', which the folder does not hold "
        f"(give {str(images.parent)!r} as the image folder), "
        "and the names lack the ending '.jpg' ('images/0' is probably '0.jpg'; `partlabel convert --images` mends it); "
        "that explains 2 of 3"
    )
    assert sentence in page(found)


def test_an_empty_folder_is_told(tmp_path: Path):
    (sentence,) = look(table(["a.jpg", "b.jpg"]), images=tmp_path).problems
    assert "the folder holds no image file; give the folder that the names start from" in sentence


def test_links_that_lead_out_are_told(images: Path, tmp_path: Path):
    blobs = images.rename(tmp_path / "blobs")
    images.mkdir()
    for name in TRAIN[:3]:
        (images / name).symlink_to(blobs / name)
    found = look(table(TRAIN[:3]), images=images)
    assert found.problems == (
        "3 images of 3 lead out of the image folder by a link: '0.jpg', '1.jpg', '2.jpg'; copy the folder with its "
        "links followed (cp -rL)",
    )
    (images / "2.jpg").unlink()
    shutil.copy(blobs / "2.jpg", images)
    assert look(table(TRAIN[:3]), images=images).problems[0].startswith("2 images of 3 lead out of the image folder")


def test_12_bits_in_16_are_told(tmp_path: Path, scene: Scene):
    """Values up to 4095 are a sixteenth of the range; one brighter image shows that the range is used."""
    grey = np.asarray(scene(0).convert("L").resize((40, 30))).astype(np.uint16)
    for number in range(3):
        Image.fromarray(grey * 16).save(tmp_path / f"{number}.png")
    scene(1).save(tmp_path / "photo.jpg")
    names = ["0.png", "1.png", "2.png", "photo.jpg"]
    (problem,) = look(table(names), images=tmp_path).problems
    assert problem.startswith("3 images of 16 bits per channel use less than a quarter of the range: no value is above")
    assert int(re.search(r"above ([\d,]+) of", problem)[1].replace(",", "")) in range(int(grey.max()) * 16, 4500)
    Image.fromarray(grey * 200).save(tmp_path / "2.png")
    assert look(table(names), images=tmp_path).problems == ()


def test_what_the_folder_holds_besides_is_counted(images: Path):
    for name in ("notes.txt", "more.txt", "list.csv", ".hidden.jpg", "README"):
        (images / name).write_text("x")
    found = look(table(TRAIN), images=images)
    assert found.image_files is not None
    assert dict(found.image_files.left_out) == {".txt": 2, ".csv": 1, "hidden": 1, "without ending": 1}
    assert "  besides 10 image files the folder holds 2 .txt, 1 .csv, 1 hidden, 1 without ending" in lines_of(found)
    assert record(found)["image_files"]["left_out"] == {".csv": 1, ".txt": 2, "hidden": 1, "without ending": 1}


def test_a_limit_that_can_be_raised(images: Path):
    Image.new("RGB", (1000, 500)).save(images / "large.png")
    found = look(table(["0.jpg", "large.png"]), images=images, max_image_mb=1.9)
    assert found.problems == ("1 image of 2 is too large: 'large.png'",)
    assert "raise --max-image-mb" in page(found)
    assert look(table(["0.jpg", "large.png"]), images=images, max_image_mb=2).problems == ()
    for wrong in (0, -1, float("nan"), float("inf"), True, "1"):
        with pytest.raises(UsageError, match="max_image_mb"):
            look(table(["0.jpg"]), images=images, max_image_mb=wrong)


def test_reading_report(tmp_path: Path):
    file = tmp_path / "labels.csv"
    file.write_text("image,class,state\na,cat,1\na,cat,0\nb,cat,1\nb,cat,1\nb,dog,\n")
    found = look(file, read={"codes": CODES})
    assert found.report == read_table(file, codes=CODES, conflicts="unknown").report
    assert found.problems == (
        f"{file}: 1 cell called present in one place and absent in another, or contradicted by another cell, taken as "
        f"unknown; first: image 'a', class 'cat', lines 2, 3",
        "1 class without a known cell: 'dog'; train refuses the table, unless told to leave them out "
        "(--drop-empty-classes)",
    )
    text = page(found)
    assert "    image 'a', class 'cat': lines 2, 3" in text
    assert "    image 'b', class 'cat': lines 4, 5" in text
    assert "1 class without a known cell: 'dog'" in text
    assert "1 class with known present cells only: 'cat'" in text
    assert "1 image without a known cell: 'a'" in text
    with pytest.raises(LabelError, match="contradict"):
        look(file, read={"codes": CODES, "conflicts": "fail"})
    with pytest.raises(LabelError, match="codes"):
        look(file)


def test_conflicts_of_the_second_table_count(tmp_path: Path):
    file = tmp_path / "test.csv"
    file.write_text("image,class,state\nz,c0,present\nz,c0,absent\n")
    assert look(table(["a", "b"]), against=file).problems != ()


@pytest.mark.parametrize("states", [[[1, 0], [0, 1]], [[1, -1], [0, 0]], [[0, 0], [0, 0]], [[-1, 0], [0, -1]]])
def test_methods_that_fit_are_those_that_training_takes(states: list[list[int]]):
    labels = LabelTable.from_dense(["a", "b"], ["x", "y"], np.array(states))
    found = look(labels)
    fits = {fit.method: fit.misfit is None for fit in found.methods}
    assert list(fits) == list(CATALOGUE)
    for name, fit in fits.items():
        if fit:
            check_fit(name, labels)
        else:
            with pytest.raises(LabelError):
                check_fit(name, labels)
    assert ("no method can learn from these labels" in found.problems) is not any(fits.values())
    assert any("no cell is known" in problem for problem in found.problems) is not np.any(states)
    text = page(found)
    assert all(fit.misfit in text for fit in found.methods if fit.misfit)


def test_lists_are_cut_on_the_page_and_whole_in_json(tmp_path: Path):
    names = [f"{number:03}.jpg" for number in range(25)]
    classes = [f"c{number}" for number in range(25)]
    found = look(LabelTable.from_cells(names, classes, [0], [0], [1]), images=tmp_path)
    text = page(found)
    assert (
        "24 classes without a known cell: 'c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8', 'c9', 'c10' and 14 more"
        in text
    )
    assert "24 images without a known cell: '001.jpg'" in text
    assert text.count("missing: image") == 10
    assert "    and 15 more" in text.splitlines()
    value = record(found)
    assert len(value["image_files"]["problems"]) == len(value["per_class"]) == len(value["per_image"]) == 25
    assert value["empty_classes"] == classes[1:]
    assert value["images_without_known_cell"] == names[1:]
    assert value["per_class"][0] == {"class": "c0", "prevalence": 1.0, "present": 1, "absent": 0, "unknown": 24}
    assert value["per_class"][1]["prevalence"] is None
    assert value["per_image"][1] == {"image": "001.jpg", "present": 0, "absent": 0, "unknown": 25}
    assert value["known"] == {"present": 1, "absent": 0, "unknown": 624}


def test_the_page_shows_the_least_known_classes():
    states = np.ones((8, 12), np.int8)
    for column in range(12):
        states[: column // 2, column] = -1
    states[:, 7] = 0
    rows = [
        line.split()
        for line in lines_of(look(LabelTable.from_dense(map(str, range(8)), [f"c{n}" for n in range(12)], states)))
    ]
    shown = [row[0] for row in rows if row and row[0].startswith("c") and row[0][1:].isdigit()]
    assert shown == ["c7", "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c10", "c11"]
    assert ["c2", "7", "1", "0", "87.5", "%"] in rows
    assert ["c7", "0", "0", "8", "-"] in rows


def test_names_cannot_write_to_the_terminal(tmp_path: Path):
    hostile = ["[bold]x[/bold]", ":smile:", "\x1b[31mred", "two\nlines", "ラーメン", "[/nothing]"]
    labels = LabelTable.from_dense(["\x1b]0;title\x07.jpg", "b\udce9.jpg"], hostile, np.zeros((2, 6)))
    found = look(labels, images=tmp_path)
    text = page(found)
    assert all(character.isprintable() or character == "\n" for character in text)
    for name in ("[bold]x[/bold]", ":smile:", "'\\x1b[31mred'", "'two\\nlines'", "ラーメン", "[/nothing]"):
        assert name in text
    write_json(tmp_path / "look.json", record(found))
    assert json.loads((tmp_path / "look.json").read_text())["per_image"][1]["image"] == "b\\udce9.jpg"


def test_json_of_everything(images: Path, tmp_path: Path):
    file = tmp_path / "labels.csv"
    file.write_text("image,present,absent\n" + "".join(f"{name},cat,dog\n" for name in [*TRAIN, "0.jpg", "none.jpg"]))
    found = look(file, images=images, against=table(TEST))
    write_json(tmp_path / "look.json", record(found))
    value = json.loads((tmp_path / "look.json").read_text())
    assert value["reading"]["duplicates"] == {"count": 1, "first": [{"image": "0.jpg", "class": None, "lines": [2, 8]}]}
    assert value["one_sided_classes"] == {"only_present": ["cat"], "only_absent": ["dog"]}
    assert value["methods"]["bce"] == {"fits": True, "reason": None, "unknown": "ignored"}
    assert value["image_files"]["problems"][0]["image"] == "none.jpg"
    assert value["image_files"]["identical"] == [{"in_table": ["3.jpg"], "in_against": ["test/copy.jpg"]}]
    assert value["image_files"]["near"][0]["image"] == "test/again.jpg"
    assert value["against"] == {"images": 4, "shared_names": [], "reading": None}
    assert value["problems"] == list(found.problems)


def test_declared_classes_are_told():
    labels = LabelTable.from_cells(["a", "b"], ["x", "y"], [0], [0], [1], background=[-1, 0])
    found = look(labels)
    assert found.known.declared_complete == ("x",)
    assert "Unlisted cells are absent by declaration in 1 class" in lines_of(found)


def test_arguments_are_checked(tmp_path: Path):
    for distance in (-1, 17):
        with pytest.raises(UsageError, match="max_distance"):
            look(table(["a"]), max_distance=distance)
    with pytest.raises(ImageError, match="image folder"):
        look(table(["a"]), images=tmp_path / "none")


def test_look_needs_no_torch():
    code = "import sys; from partlabel.api.look import look; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
