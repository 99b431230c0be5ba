from pathlib import Path

import pytest

from partlabel.datasets import open_images_labels
from partlabel.errors import LabelError, UsageError
from partlabel.labels import LabelTable, Source

from .conftest import Read, write

CLASSES = ("/m/09", "/m/01", "/m/05")
HUMAN = (
    ("c0", "/m/01", "1"),
    ("a0", "/m/77", "1"),  # no trainable class
    ("b0", "/m/05", "0"),
    ("c0", "/m/05", "0.0"),
    ("d0", "/m/09", "1"),
    ("d0", "/m/09", "0"),  # two answers that differ
    ("b0", "/m/05", "0"),  # one answer twice
)
MACHINE = (("a0", "/m/01", "0.7"), ("c0", "/m/05", "0.9"), ("d0", "/m/09", "1.0"), ("b0", "/m/01", "0.4"))


def labels(rows: tuple[tuple[str, str, str], ...]) -> str:
    lines = [f"{image},verification,{name},{confidence}" for image, name, confidence in rows]
    return "\n".join(("ImageID,Source,LabelName,Confidence", *lines)) + "\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(open_images_labels, "_BLOCK", 40)  # several blocks, so that names are joined across them
    third = tmp_path / "2017_11"
    write(third / "train" / "annotations-human.csv", labels(HUMAN))
    write(third / "train" / "annotations-machine.csv", labels(MACHINE))
    write(third / "train" / "images.csv", "ImageID,Subset\n" + "".join(f"{one},train\n" for one in ("e0", "d0", "c0")))
    write(third / "classes-trainable.txt", "\n".join(CLASSES) + "\n")
    write(third / "class-descriptions.csv", '/m/05,"Car, old"\n/m/01,Cat\n/m/77,x\n/m/09,Cat\n')
    write(tmp_path / "oidv6-train-annotations-human-imagelabels.csv", labels(HUMAN))
    write(tmp_path / "test-annotations-human-imagelabels.csv", labels((("z0", "/m/01", "0"),)))
    write(tmp_path / "oidv6-classes-trainable.txt", "\n".join(CLASSES))
    return tmp_path


def rows(table: LabelTable) -> dict[str, list[int]]:
    return {image: table.rows([row])[0].tolist() for row, image in enumerate(table.images)}


def test_answers_of_people(folder: Path, read: Read) -> None:
    """Columns are /m/09, /m/01, /m/05; only asked cells are known."""
    for name in ("open_images_v3", "open_images_v6"):
        table = read(f"{name}:{folder}")
        assert table.classes == CLASSES
        assert rows(table) == {"train/c0.jpg": [0, 1, -1], "train/b0.jpg": [0, 0, -1]}
        assert list(table.images) == ["train/c0.jpg", "train/b0.jpg"]
        assert set(table.sources.tolist()) == {Source.HUMAN}
    assert rows(read(f"open_images_v6:{folder},split=test")) == {"test/z0.jpg": [0, -1, 0]}


@pytest.mark.parametrize(("unannotated", "images"), [("drop", "c b"), ("listed", "c a b d"), ("keep", "e d c a b")])
def test_images_without_labels_of_these_classes(folder: Path, read: Read, unannotated: str, images: str) -> None:
    table = read(f"open_images_v3:{folder},unannotated={unannotated}")
    assert table.images == tuple(f"train/{one}0.jpg" for one in images.split())
    assert rows(table)["train/c0.jpg"] == [0, 1, -1]
    assert (table.counts_by_class().present.sum(), table.counts_by_class().absent.sum()) == (1, 2)


def test_labels_of_a_classifier_are_told_apart(folder: Path, read: Read) -> None:
    machine = read(f"open_images_v3:{folder},labels=machine")
    assert rows(machine) == {"train/a0.jpg": [0, 1, 0], "train/c0.jpg": [0, 0, 1], "train/d0.jpg": [1, 0, 0]}
    assert not (machine.without_recovered().dense() != 0).any()
    assert rows(read(f"open_images_v3:{folder},labels=machine,min_confidence=0.4"))["train/b0.jpg"] == [0, 1, 0]
    both = read(f"open_images_v3:{folder},labels=both")
    assert rows(both) == {  # people's "no" counts, and where their answers differ nothing does
        "train/c0.jpg": [0, 1, -1],
        "train/a0.jpg": [0, 1, 0],
        "train/b0.jpg": [0, 0, -1],
    }
    assert rows(both.without_recovered())["train/a0.jpg"] == [0, 0, 0]
    assert rows(both.without_recovered())["train/c0.jpg"] == [0, 1, -1]
    with pytest.raises(UsageError, match="min_confidence 'high' is not a number"):
        read(f"open_images_v3:{folder},labels=machine,min_confidence=high")


def test_descriptions_as_names(folder: Path, read: Read) -> None:
    assert read(f"open_images_v3:{folder},names=description").classes == ("Cat (/m/09)", "Cat (/m/01)", "Car, old")
    write(folder / "2017_11" / "class-descriptions.csv", "/m/05,Car\n")
    with pytest.raises(LabelError, match="does not describe class '/m/09'"):
        read(f"open_images_v3:{folder},names=description")


def test_what_is_missing_or_broken_is_named(folder: Path, read: Read) -> None:
    path = folder / "2017_11" / "train" / "annotations-human.csv"
    for content, said in (
        (labels((("a0", "/m/01", "0.5"),)), "label 1 has confidence 0.5, which is not 0 or 1"),
        ("ImageID,LabelName\na,b\n", "is no CSV with ImageID, LabelName, Confidence"),
        (labels(HUMAN) + "x,y\n", "is no CSV with"),
        (labels((("a0", "/m/01", "yes"),)), "is no CSV with"),
        (labels((("a0", "/m/01", "1"), ("", "/m/01", "1"))), "label 2 names no image"),
        (labels((("a0", "/m/77", "1"),)), "has no label of a trainable class, such as '/m/09'"),
        ("", "is no CSV with"),
        ("ImageID,Source,LabelName,Confidence\n", "lists no label"),
    ):
        write(path, content)
        with pytest.raises(LabelError, match=rf"annotations-human\.csv.*{said}"):
            read(f"open_images_v3:{folder}")
    write(path, labels(HUMAN))
    write(folder / "2017_11" / "train" / "images.csv", "ImageID,Subset\n")
    with pytest.raises(LabelError, match=r"images\.csv lists no image"):
        read(f"open_images_v3:{folder},unannotated=keep")
    path.unlink()
    with pytest.raises(LabelError, match=r"annotations-human\.csv does not exist"):
        read(f"open_images_v3:{folder}")
