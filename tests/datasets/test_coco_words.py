import json
from pathlib import Path

import pytest

from partlabel.errors import LabelError, UsageError

from .conftest import Read, write

CAPTIONS = {
    "train": [(5, "A dog, a man's DOG."), (3, "The man sits"), (5, "A cat"), (9, "zoo_keeper at 3 o'clock")],
    "val": [(4, "a zebra"), (2, "the dog")],
}
IMAGES = {"train": (3, 5, 9, 8), "val": (2, 4, 6)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, captions in CAPTIONS.items():
        content = {
            "images": [{"id": one, "file_name": f"COCO_{split}2014_{one:012d}.jpg"} for one in IMAGES[split]],
            "annotations": [{"id": n, "image_id": image, "caption": text} for n, (image, text) in enumerate(captions)],
        }
        write(tmp_path / "annotations" / f"captions_{split}2014.json", json.dumps(content))
    return tmp_path


def test_the_most_frequent_words_of_the_training_captions(folder: Path, read: Read) -> None:
    """a 3, dog 2; of the words that stand once the first ones of the alphabet."""
    table = read(f"coco2014_words:{folder},words=8")
    assert table.classes == ("a", "dog", "3", "at", "cat", "keeper", "man", "man's")
    assert table.images == tuple(f"train2014/COCO_train2014_{one:012d}.jpg" for one in IMAGES["train"])
    has = {3: {"man"}, 5: {"a", "dog", "man's", "cat"}, 9: {"keeper", "at", "3"}, 8: set()}
    for row, image in enumerate(IMAGES["train"]):
        assert table.rows([row])[0].tolist() == [1 if word in has[image] else -1 for word in table.classes]
    unknown = read(f"coco2014_words:{folder},words=8,unlisted=unknown")
    assert (unknown.dense() == (table.dense() > 0)).all()
    assert read(f"coco2014_words:{folder}").classes == (*table.classes, "o'clock", "sits", "the", "zoo")


def test_the_other_split_has_the_same_classes(folder: Path, read: Read) -> None:
    table = read(f"coco2014_words:{folder},split=val,words=2")
    assert table.classes == ("a", "dog")
    assert table.dense().tolist() == [[-1, 1], [1, -1], [-1, -1]]
    assert read(f"coco2014_words:{folder},split=val,order=annotation").images[0].endswith("4.jpg")


def test_a_given_vocabulary_and_list(folder: Path, read: Read) -> None:
    write(folder / "words.txt", "zebra\nthe\n")
    write(folder / "valid2.txt", "COCO_val2014_000000000004\n2\n")
    wanted = f"coco2014_words:{folder},split=val,vocabulary={folder}/words.txt,list={folder}/valid2"
    table = read(f"{wanted}.txt")
    assert [name[-5] for name in table.images] == ["4", "2"]
    assert (table.classes, table.dense().tolist()) == (("zebra", "the"), [[1, -1], [-1, 1]])
    write(folder / "valid2.json", json.dumps({"images": [{"id": 2}], "annotations": []}))
    assert [name[-5] for name in read(f"{wanted}.json").images] == ["2"]
    write(folder / "valid2.txt", "5\n")
    with pytest.raises(LabelError, match="lists '5', which is no image of this split"):
        read(f"{wanted}.txt")


def test_what_cannot_be_meant(folder: Path, read: Read) -> None:
    with pytest.raises(UsageError, match="words '0' is not a whole number above 0"):
        read(f"coco2014_words:{folder},words=0")
    path = folder / "annotations" / "captions_train2014.json"
    path.write_text(path.read_text().replace('"caption"', '"text"'))
    for split in CAPTIONS:  # the words of both are counted in the training captions
        with pytest.raises(LabelError, match=r"captions_train2014\.json: an annotation has no caption"):
            read(f"coco2014_words:{folder},split={split}")
    path.unlink()
    with pytest.raises(LabelError, match=r"captions_train2014\.json does not exist"):
        read(f"coco2014_words:{folder},split=val")
