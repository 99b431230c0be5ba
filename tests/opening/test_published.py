"""Published data sets where a label file can be named."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

import partlabel
from partlabel.cli.app import app
from partlabel.datasets.voc import Voc2007
from partlabel.errors import LabelError, UsageError
from partlabel.labels import LabelTable
from partlabel.opening import open_table
from partlabel.progress import SILENT


def command(*words: str) -> Result:
    return CliRunner().invoke(app, words)


class Listening:
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    track = SILENT.track


def write_split(folder: Path, split: str, classes: dict[str, str]) -> None:
    """VOC 2007 with one box an image, and pictures."""
    year = folder / "VOC2007"
    for name in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (year / name).mkdir(parents=True, exist_ok=True)
    (year / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(classes) + "\n")
    for number, (name, cls) in enumerate(classes.items()):
        box = f"<object><name>{cls}</name><difficult>0</difficult></object>"
        (year / "Annotations" / f"{name}.xml").write_text(f"<annotation>{box}</annotation>")
        Image.new("RGB", (32, 32), (40 * number % 256, 90, 200 if cls == "cat" else 10)).save(
            year / "JPEGImages" / f"{name}.jpg"
        )


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    folder = tmp_path / "VOCdevkit"
    write_split(folder, "trainval", {f"{number:06d}": "cat" if number % 2 else "dog" for number in range(12)})
    write_split(folder, "test", {f"{number:06d}": "cat" if number % 2 else "dog" for number in range(50, 54)})
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PARTLABEL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A growing list of what was really read."""
    done: list[str] = []
    read = Voc2007.read

    def counted(self: Voc2007, root: Path, options: dict[str, str], tick: object) -> LabelTable:
        done.append(options["split"])
        return read(self, root, options, tick)  # type: ignore[arg-type]

    monkeypatch.setattr(Voc2007, "read", counted)
    return done


def opened(text: str, **read: object) -> LabelTable:
    return open_table(text, SILENT, read)[0]  # type: ignore[arg-type]


def test_the_cache_is_used_and_knows_when_files_change(devkit: Path, cache: Path, reads: list[str]) -> None:
    first = opened(f"voc2007:{devkit}")
    again = opened(f"voc2007:{devkit}")
    assert reads == ["trainval"]
    assert again.hash == first.hash
    assert (again.images, again.classes) == (first.images, first.classes)
    assert len(list(cache.iterdir())) == 1
    opened(f"voc2007:{devkit}", where={"split": "test"})
    assert reads == ["trainval", "test"]
    annotation = devkit / "VOC2007" / "Annotations" / "000000.xml"
    state = annotation.stat()
    annotation.write_text(annotation.read_text().replace("dog", "cow"))
    os.utime(annotation, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000))
    changed = opened(f"voc2007:{devkit}")
    assert reads == ["trainval", "test", "trainval"]
    column = changed.class_positions["cow"]
    assert (first.states_at([0], [column]).item(), changed.states_at([0], [column]).item()) == (-1, 1)


def test_a_damaged_or_locked_cache_costs_a_reading_only(devkit: Path, cache: Path, reads: list[str]) -> None:
    first = opened(f"voc2007:{devkit}")
    next(cache.iterdir()).write_bytes(b"PAR1 nothing PAR1")
    assert opened(f"voc2007:{devkit}").hash == first.hash
    assert len(reads) == 2
    for path in (*cache.iterdir(), cache):
        path.unlink() if path.is_file() else path.rmdir()
    cache.write_text("a file where the folder should be")
    listening = Listening()
    assert open_table(f"voc2007:{devkit}", listening, {})[0].hash == first.hash
    assert any("is not kept" in text for text in listening.said)


def test_counts_that_differ_are_told_with_both_numbers(devkit: Path) -> None:
    listening = Listening()
    open_table(f"voc2007:{devkit}", listening, {})
    assert len(listening.said) == 1
    assert "trainval.txt gives 12 images where 5,011 are published (Table 1 of CSL)" in listening.said[0]
    open_table(f"voc2007:{devkit},split=test", listening, {})
    assert "test.txt gives 4 images where 4,952 are published (Table 1 of CSL)" in listening.said[1]


def test_options_of_files_are_refused_and_classes_chosen(devkit: Path) -> None:
    with pytest.raises(UsageError, match="voc2007 does not use --codes"):
        opened(f"voc2007:{devkit}", codes="1=present")
    with pytest.raises(UsageError, match="voc2007 does not use --unlisted"):
        opened(f"voc2007:{devkit}", unlisted="absent")
    with pytest.raises(UsageError, match="has no option 'splt'"):
        opened(f"voc2007:{devkit}", where={"splt": "test"})
    with pytest.raises(LabelError, match="has no class 'zebra'"):
        opened(f"voc2007:{devkit}", classes=["zebra"])
    assert opened(f"voc2007:{devkit}", classes=["dog", "cat"]).classes == ("dog", "cat")


def test_look_on_the_command_line(devkit: Path, tmp_path: Path) -> None:
    found = tmp_path / "look.json"
    test = ["--against", f"voc2007:{devkit}", "--against-where", "split=test"]
    told = command("look", f"voc2007:{devkit}", *test, "--json", str(found))
    assert told.exit_code == 0
    assert "gives 12 images where 5,011 are published (Table 1 of CSL)" in told.stderr
    record = json.loads(found.read_text())
    assert (record["images"], record["against"]["images"]) == (12, 4)


def test_data_sets_are_listed() -> None:
    assert "voc2007\n    PASCAL VOC 2007; options: split, difficult" in command("datasets").stdout
    told = command("datasets", "coco2014").stdout
    for part in ("annotations/instances_SPLIT2014.json", "82,783 images with split=train, unannotated=keep"):
        assert part in told
    assert isinstance(command("datasets", "coco").exception, UsageError)


def test_nothing_that_is_read_is_written_over(devkit: Path) -> None:
    listing = devkit / "VOC2007" / "ImageSets" / "Main" / "trainval.txt"
    with pytest.raises(UsageError, match=r"trainval\.txt is read and would be overwritten"):
        partlabel.hide(f"voc2007:{devkit}", out=listing, ratio=0.5)

    other = devkit / "VOC2007" / "Annotations" / "000050.xml"
    with pytest.raises(UsageError, match=r"000050\.xml is read and would be overwritten"):
        partlabel.hide(f"voc2007:{devkit}", out=other, ratio=0.5, read={"where": {"split": "test"}})


def test_hide_and_merge_take_data_sets(devkit: Path, tmp_path: Path) -> None:
    out, more = tmp_path / "half.parquet", tmp_path / "more.csv"
    hidden = command(
        "hide", f"voc2007:{devkit}", "--masking", "legacy_numpy_ratio", "--ratio", "0.5", "--out", str(out)
    )
    assert hidden.exit_code == 0
    complete = partlabel.read_dataset(f"voc2007:{devkit}")
    np.random.seed(0)  # noqa: NPY002
    kept = np.random.random((12, 20)) < 0.5  # noqa: NPY002
    half = partlabel.read_table(out).table
    assert (half.dense() == np.where(kept, complete.dense(), 0)).all()
    assert command("merge", str(out), f"voc2007:{devkit}", "--out", str(more)).exit_code == 0
    assert (partlabel.read_table(more).table.dense() == complete.dense()).all()


def test_conditions_of_another_file_are_told(devkit: Path) -> None:
    listening = Listening()
    both = {"where": {"split": "test", "site": "north"}}
    table, _ = open_table(f"voc2007:{devkit}", listening, both, shared=True)  # type: ignore[arg-type]
    assert len(table) == 4
    assert any("has no option 'site'; --where site holds for the other file alone" in text for text in listening.said)


def test_a_data_set_in_python(devkit: Path, tmp_path: Path) -> None:
    assert partlabel.read_dataset(f"voc2007:{devkit},split=test").hash == opened(f"voc2007:{devkit},split=test").hash
    with pytest.raises(UsageError, match=r"names no published data set; give NAME:DIR with a name of voc2007"):
        partlabel.read_dataset(str(tmp_path / "labels.csv"))


def test_images_must_be_named_for_files(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,class,state\na.png,cat,present\n")
    with pytest.raises(UsageError, match="--images DIR"):
        partlabel.train(tmp_path / "labels.csv", out=tmp_path / "run")


@pytest.mark.slow
def test_train_evaluate_recover_and_explain_find_the_images(devkit: Path, tmp_path: Path) -> None:
    table, run = f"voc2007:{devkit}", str(tmp_path / "run")
    quick = ["--backbone", "test_resnet", "--from-scratch", "--epochs", "1", "--batch-size", "4", "--set", "size=32"]
    assert command("train", table, "--classes", "cat,dog", *quick, "--holdout", "0.4", "--out", run).exit_code == 0
    inputs = json.loads((Path(run) / "run.json").read_text())["inputs"]
    assert inputs["table"] == f"voc2007:{devkit / 'VOC2007'}"
    assert inputs["images"] == str(devkit / "VOC2007")
    judged = tmp_path / "judged.json"
    test = f"{table},split=test"
    assert command("evaluate", run, test, "--classes", "cat,dog", "--json", str(judged)).exit_code == 0
    assert json.loads(judged.read_text())["images_used_in_training"] == 0
    assert command("recover", run, table, "--classes", "cat,dog", "--out", str(tmp_path / "found.csv")).exit_code == 0
    picture = str(devkit / "VOC2007" / "JPEGImages" / "000050.jpg")
    assert command("explain", run, picture, "--truth", test, "--out", str(tmp_path / "maps")).exit_code == 0
    assert json.loads((tmp_path / "maps" / "explained.json").read_text())["truth"] is True


def test_a_cached_table_knows_where_its_images_are(tmp_path: Path) -> None:
    folder = tmp_path / "vg"
    for name in ("VG_100K", "VG_100K_2"):
        (folder / name).mkdir(parents=True)
    (folder / "train_list_500.txt").write_text("1.jpg\n")
    (folder / "vg_category_200_labels_index.json").write_text('{"1.jpg": [4]}')
    (folder / "VG_100K_2" / "1.jpg").touch()
    assert opened(f"vg200:{folder}").images == ("VG_100K_2/1.jpg",)
    (folder / "VG_100K_2" / "1.jpg").rename(folder / "VG_100K" / "1.jpg")
    assert opened(f"vg200:{folder}").images == ("VG_100K/1.jpg",)


def test_species_are_written_as_side_information(tmp_path: Path) -> None:
    folder, out = tmp_path / "cub", tmp_path / "species.csv"
    lists = {
        "images.txt": "1 001.Auk, great/a.jpg\n2 002.Owl/b.jpg\n",
        "train_test_split.txt": "1 1\n2 0\n",
        "classes.txt": "1 001.Auk, great\n2 002.Owl\n",
        "image_class_labels.txt": "1 1\n2 2\n",
        "attributes/image_attribute_labels.txt": "1 1 1 4 0\n2 1 0 4 0\n",
        "attributes/attributes.txt": "1 has_tail::long\n",
    }
    for name, text in lists.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert command("datasets", f"cub200_2011:{folder}", "--side", str(out)).exit_code == 0
    with out.open(newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["image", "category"],
            ["images/001.Auk, great/a.jpg", "001.Auk, great"],
            ["images/002.Owl/b.jpg", "002.Owl"],
        ]
    assert opened(f"cub200_2011:{folder},split=all").images == ("images/001.Auk, great/a.jpg", "images/002.Owl/b.jpg")
    (tmp_path / "coco").mkdir()
    alone = command("datasets", "--side", str(out)).exception
    assert isinstance(alone, UsageError)
    assert "give NAME:DIR as well" in str(alone)
    refused = command("datasets", f"coco2014:{tmp_path / 'coco'}", "--side", str(out)).exception
    assert isinstance(refused, UsageError)
    assert "cub200_2011:DIR does" in str(refused)
