"""`partlabel split`: nothing leaks, and what was done is on record."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import partlabel
from partlabel.api.split import Split
from partlabel.cli import main
from partlabel.errors import LabelError, UsageError
from partlabel.images.capture_date import capture_day
from partlabel.labels import LabelTable

ORIGINAL, EXIF = 0x9003, 0x8769


def pictures(folder: Path) -> list[str]:
    """Four scenes; of each a picture, its smaller copy, and a byte-for-byte copy in another folder."""
    generator = np.random.default_rng(0)
    names = []
    for scene in range(4):
        coarse = Image.fromarray(generator.integers(0, 256, (9, 9, 3), np.uint8))
        image = coarse.resize((120, 120), Image.Resampling.BICUBIC)
        for name, version in (
            (f"{scene}.png", image),
            (f"small/{scene}.jpg", image.resize((100, 100), Image.Resampling.BICUBIC)),
        ):
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            version.save(folder / name)
            names.append(name)
        (folder / "copies").mkdir(exist_ok=True)
        (folder / f"copies/{scene}.png").write_bytes((folder / f"{scene}.png").read_bytes())
        names.append(f"copies/{scene}.png")
    return names


def sides(split: Split) -> dict[str, str]:
    return {image: name for name, part in split.parts.items() for image in part.images}


def test_copies_stay_together(tmp_path: Path) -> None:
    names = pictures(tmp_path)
    table = LabelTable.from_dense(names, ["a"], np.ones((len(names), 1)))
    half = {"x": 0.5, "y": 0.5}
    found = partlabel.split(table, images=tmp_path, by=["near-duplicates"], shares=half)
    side = sides(found)
    assert found.record["units"] == 4
    assert len(side) == len(names)
    for scene in range(4):
        assert len({side[f"{scene}.png"], side[f"small/{scene}.jpg"], side[f"copies/{scene}.png"]}) == 1
    assert sorted(map(len, found.parts.values())) == [6, 6]
    loose = partlabel.split(table, shares=half)
    assert loose.record["units"] == len(names)


def test_folders_days_and_groups(tmp_path: Path) -> None:
    days = {
        "a.jpg": "2024:05:31 23:59:59",
        "b.jpg": "2024:05:31 00:00:00",
        "c.jpg": "2024:06:01 00:00:01",
        "d.jpg": None,
    }
    for name, taken in days.items():
        image, exif = Image.new("RGB", (8, 8)), Image.Exif()
        if taken:
            exif.get_ifd(EXIF)[ORIGINAL] = taken
        image.save(tmp_path / name, exif=exif)
    assert [capture_day(tmp_path, name) for name in days] == ["2024-05-31", "2024-05-31", "2024-06-01", None]
    assert capture_day(tmp_path, "../outside.jpg") is None
    table = LabelTable.from_dense([*days, "e/1.jpg", "e/2.jpg", "f/1.jpg"], ["a"], np.ones((7, 1)))
    half = {"x": 0.5, "y": 0.5}
    side = sides(partlabel.split(table, images=tmp_path, by=["date"], shares=half))
    assert side["a.jpg"] == side["b.jpg"]
    found = partlabel.split(table, by=["folder"], shares=half)
    assert found.record["units"] == 3
    groups = tmp_path / "groups.csv"
    groups.write_text("image;patient\na.jpg;7\nd.jpg;7\ne/1.jpg;\ne/2.jpg;\n")
    found = partlabel.split(table, groups=groups, shares=half)
    assert found.record["units"] == 6
    assert sides(found)["a.jpg"] == sides(found)["d.jpg"]
    both = partlabel.split(table, groups=groups, by=["folder"], shares=half)
    assert both.record["units"] == 3
    groups.write_text("image,patient\na.jpg,7\na.jpg,8\n")
    with pytest.raises(LabelError, match=r"line 3: image 'a\.jpg' is listed twice"):
        partlabel.split(table, groups=groups)


def test_files_and_their_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(1)
    table = LabelTable.from_dense([f"{n}.jpg" for n in range(50)], ["a", "b"], generator.integers(-1, 2, (50, 2)))
    partlabel.write_table(table, tmp_path / "t.csv")
    command = ["partlabel", "split", str(tmp_path / "t.csv"), "--out", str(tmp_path / "parts"), "--seed", "3"]
    monkeypatch.setattr(sys, "argv", [*command, "--shares", "train=0.6,val=0.2,test=0.2"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    record = json.loads((tmp_path / "parts" / "split.json").read_text())
    assert record["table_hash"] == table.hash
    seen: list[str] = []
    for name, told in record["parts"].items():
        path = tmp_path / "parts" / told["file"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == told["sha256"]
        part = partlabel.read_table(path).table
        assert part.hash == told["hash"] == table.select_images(list(part.images)).hash
        assert told["images"] == len(part) == {"train": 30, "val": 10, "test": 10}[name]
        seen += part.images
    assert sorted(seen) == sorted(table.images)
    assert "train: 30 images" in capsys.readouterr().err
    again = partlabel.split(table, shares=record["shares"], seed=3)
    assert [part.hash for part in again.parts.values()] == [told["hash"] for told in record["parts"].values()]
    other = partlabel.split(table, shares=record["shares"], seed=4)
    assert [part.hash for part in again.parts.values()] != [part.hash for part in other.parts.values()]


def test_arguments_that_cannot_be_used(tmp_path: Path) -> None:
    table = LabelTable.from_dense(["a/1", "a/2"], ["x"], [[1], [-1]])
    for shares, says in (
        ({"train": 1.0}, "two or more"),
        ({"a": 0.5, "b": 0.6}, "sum to 1.1"),
        ({"../a": 0.5, "b": 0.5}, "cannot be the name of a part"),
    ):
        with pytest.raises(UsageError, match=says):
            partlabel.split(table, shares=shares)
    with pytest.raises(UsageError, match="by 'patient' is not one of"):
        partlabel.split(table, by=["patient"])
    with pytest.raises(UsageError, match="say where they are"):
        partlabel.split(table, by=["date"])
    with pytest.raises(LabelError, match="2 images are 1 unit that must stay together, fewer than the 2 parts"):
        partlabel.split(table, by=["folder"])
    (tmp_path / "train.csv").write_text("image,x\na,present\n")
    with pytest.raises(UsageError, match="would be overwritten"):
        partlabel.split(tmp_path / "train.csv", out=tmp_path)
