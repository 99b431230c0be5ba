"""Bad input as a new user would give it, through the command line: one sentence, the right exit code, nothing half
written.
"""

import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from partlabel.cli import main
from partlabel.labels import LabelTable

pytestmark = pytest.mark.slow

HEADER = "image,red,green,blue\n"
CODES = ("--codes", "1=present,0=absent,=unknown")
TINY = (
    "--backbone",
    "test_resnet",
    "--from-scratch",
    "--set",
    "size=32",
    "--epochs",
    "1",
    "--set",
    "accelerator=cpu",
    "--quiet",
)


class Said(NamedTuple):
    code: int
    out: str
    error: str


Run = Callable[..., Said]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["partlabel", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return Said(int(end.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def folder(tmp_path: Path, color_images: tuple[Path, LabelTable]) -> Path:
    """A folder with a good table and links to no one: real copies of the colour images."""
    root, table = color_images
    images = tmp_path / "images"
    images.mkdir()
    for name in table.images:
        (images / name).write_bytes((root / name).read_bytes())
    rows = [
        f"{name}," + ",".join({1: "1", -1: "0", 0: ""}[int(s)] for s in row)
        for name, row in zip(table.images, table.dense(), strict=True)
    ]
    (tmp_path / "labels.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return tmp_path


def _train(run: Run, folder: Path, table: str = "labels.csv", *more: object) -> Said:
    return run("train", folder / table, "--images", folder / "images", "--out", folder / "run", *CODES, *TINY, *more)


def _one_sentence(said: Said, code: int, *parts: str) -> None:
    assert said.code == code, said
    assert said.error.startswith("partlabel: ")
    assert said.error.count("\n") == 1, said.error
    for part in parts:
        assert part in said.error, said.error


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system where no folder can be made")
def test_a_run_folder_that_cannot_be_made(run: Run, folder: Path) -> None:
    said = run("train", folder / "labels.csv", "--images", folder / "images", "--out", "/proc/nope/run", *CODES, *TINY)
    _one_sentence(said, said.code, "cannot write /proc/nope/run: No such file or directory")


def test_values_without_codes(run: Run, folder: Path) -> None:
    said = run("look", folder / "labels.csv")
    _one_sentence(said, 3, "labels.csv", "--codes")


def test_missing_images(run: Run, folder: Path) -> None:
    (folder / "images" / "03.png").unlink()
    _one_sentence(_train(run, folder), 4, "1 of 32 images", "03.png", "--broken skip")
    assert not (folder / "run").exists()
    assert _train(run, folder, "labels.csv", "--broken", "skip").code == 0


def test_no_image_matches(run: Run, folder: Path) -> None:
    (folder / "empty").mkdir()
    said = run("train", folder / "labels.csv", "--images", folder / "empty", "--out", folder / "run", *CODES, *TINY)
    _one_sentence(said, 4, "none of the 32 images")
    said = run("train", folder / "labels.csv", "--images", folder / "nowhere", "--out", folder / "run", *CODES, *TINY)
    _one_sentence(said, 4, "nowhere", "does not exist")


@pytest.mark.parametrize("kind", ["truncated", "text", "bomb", "empty"])
def test_broken_images_are_named_by_train_and_look(run: Run, folder: Path, kind: str) -> None:
    victim = folder / "images" / "05.png"
    if kind == "truncated":
        Image.open(victim).resize((200, 200)).convert("RGB").save(victim, "JPEG")
        victim.write_bytes(victim.read_bytes()[:-1500])
    elif kind == "text":
        victim.write_text("this is no image")
    elif kind == "empty":
        victim.write_bytes(b"")
    else:
        Image.fromarray(np.zeros((1, 30000), np.uint8)).save(victim)
        content = bytearray(victim.read_bytes())
        content[20:24] = (30000).to_bytes(4, "big")  # the height in IHDR, with its checksum
        import zlib

        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        victim.write_bytes(content)
    _one_sentence(_train(run, folder), 4, "1 of 32 images", "05.png")
    said = run("look", folder / "labels.csv", "--images", folder / "images", *CODES, "--quiet")
    assert "05.png" in said.out


def test_odd_but_good_images_train(run: Run, folder: Path) -> None:
    images = folder / "images"
    with Image.open(images / "00.png") as one:
        one.convert("CMYK").save(images / "00.png", "JPEG")
    Image.fromarray((np.arange(1024).reshape(32, 32) * 60).astype(np.uint16)).save(images / "01.png")
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    frames[0].save(images / "02.png", "GIF", save_all=True, append_images=frames[1:])
    assert _train(run, folder).code == 0


def test_duplicate_and_conflicting_rows(run: Run, folder: Path) -> None:
    text = (folder / "labels.csv").read_text()
    (folder / "twice.csv").write_text(text + text.splitlines()[5] + "\n")
    said = run("look", folder / "twice.csv", *CODES, "--quiet")
    assert said.code == 0
    assert "04.png" in said.out
    first = text.splitlines()[1]
    flipped = first[:-1] + ("0" if first.endswith("1") else "1")
    (folder / "conflict.csv").write_text(text + flipped + "\n")
    _one_sentence(_train(run, folder, "conflict.csv"), 3, "00.png", "blue", "--conflicts unknown")
    assert _train(run, folder, "conflict.csv", "--conflicts", "unknown").code == 0


def test_unknown_class_names(run: Run, folder: Path) -> None:
    _one_sentence(_train(run, folder, "labels.csv", "--classes", "red,gren"), 3, "gren", "green")


@pytest.mark.parametrize("how", ["windows", "bom", "utf-16", "quoted"])
def test_spelling_of_files(run: Run, folder: Path, how: str) -> None:
    text = (folder / "labels.csv").read_text()
    path = folder / "spelled.csv"
    if how == "windows":
        path.write_bytes(text.replace("\n", "\r\n").encode())
    elif how == "bom":
        path.write_bytes(text.encode("utf-8-sig"))
    elif how == "utf-16":
        path.write_bytes(text.encode("utf-16"))
    else:
        (folder / "images" / "00.png").rename(folder / "images" / "a, b.png")
        path.write_text(text.replace("00.png,", '"a, b.png",').replace("red", '"red, dark"', 1))
    assert _train(run, folder, "spelled.csv").code == 0
    name = "red, dark" if how == "quoted" else "red"
    said = run("predict", folder / "run", folder / "images", "--out", folder / "tags.csv", "--quiet")
    assert said.code == 0
    assert name in (folder / "tags.csv").read_text()


def test_names_that_climb(run: Run, folder: Path) -> None:
    text = (folder / "labels.csv").read_text().replace("00.png", "../labels.csv")
    (folder / "climb.csv").write_text(text)
    _one_sentence(_train(run, folder, "climb.csv"), 4, "../labels.csv", "leads out of the image folder")


def test_a_class_without_known_cell(run: Run, folder: Path) -> None:
    lines = (folder / "labels.csv").read_text().splitlines()
    (folder / "gap.csv").write_text("\n".join([lines[0] + ",gold", *(line + "," for line in lines[1:])]) + "\n")
    looked = run("look", folder / "gap.csv", *CODES)
    assert looked.code == 1
    assert "1 class without a known cell: 'gold'; train refuses the table, unless told to leave them out" in looked.out
    assert "--drop-empty-classes" in looked.out
    _one_sentence(_train(run, folder, "gap.csv"), 3, "'gold'", "--drop-empty-classes")
    assert _train(run, folder, "gap.csv", "--drop-empty-classes").code == 0


def test_a_table_without_known_cell(run: Run, folder: Path) -> None:
    names = [line.partition(",")[0] for line in (folder / "labels.csv").read_text().splitlines()[1:]]
    (folder / "none.csv").write_text(HEADER + "".join(f"{name},,,\n" for name in names))
    looked = run("look", folder / "none.csv", *CODES)
    assert looked.code == 1
    assert "label some images (partlabel review TABLE)" in " ".join(looked.out.split())
    for more in ([], ["--drop-empty-classes"]):
        _one_sentence(_train(run, folder, "none.csv", *more), 3, "no cell of the table is known", "review TABLE")


def test_another_class_list(run: Run, folder: Path) -> None:
    assert _train(run, folder).code == 0
    (folder / "other.csv").write_text((folder / "labels.csv").read_text().replace("blue", "navy"))
    said = run("evaluate", folder / "run", folder / "other.csv", "--images", folder / "images", *CODES, "--quiet")
    _one_sentence(said, 5, "another class list", "'blue'", "'navy'")
    _one_sentence(_train(run, folder), 5, "exists and is not empty")
    said = run("evaluate", folder, folder / "labels.csv", "--images", folder / "images", *CODES)
    _one_sentence(said, 5, "is no run folder")


def test_positives_only(run: Run, folder: Path) -> None:
    text = (folder / "labels.csv").read_text()
    body = text.removeprefix(HEADER)
    (folder / "present.csv").write_text(HEADER + body.replace(",0", ","))
    _one_sentence(_train(run, folder, "present.csv"), 6, "no absent cell", "assume_negative")
    assert _train(run, folder, "present.csv", "--method", "assume_negative").code == 0
    said = run(
        "recover",
        folder / "run",
        folder / "present.csv",
        "--images",
        folder / "images",
        "--out",
        folder / "s.csv",
        *CODES,
        "--quiet",
    )
    _one_sentence(said, 3, "absent")
    assert not (folder / "s.csv").exists()


def test_wrong_words(run: Run, folder: Path) -> None:
    _one_sentence(_train(run, folder, "labels.csv", "--method", "sr"), 2, "no method 'sr'", "saliency")
    _one_sentence(
        _train(run, folder, "labels.csv", "--set", "epoch=3"), 2, "no setting 'epoch'", "did you mean epochs?"
    )
    _one_sentence(_train(run, folder, "labels.csv", "--set", "epochs"), 2, "'epochs' is not NAME=VALUE")
    _one_sentence(_train(run, folder, "labels.csv", "--set", "epochs=3"), 2, "epochs is given twice")
    _one_sentence(run("train", folder / "labels.csv"), 2, "--images DIR")
    _one_sentence(run("train", "--resume", folder), 5, "is no run folder")
    _one_sentence(run("train", "--resume", folder, "--epochs", 3), 2, "leave --epochs out")
    _one_sentence(_train(run, folder, "labels.csv", "--set", "images=x"), 2, "'images' is no setting", "--images")
    hide = run("hide", folder / "labels.csv", "--out", folder / "hidden.csv", "--set", "seed=3", *CODES)
    _one_sentence(hide, 2, "'seed' is no setting")
    (folder / "settings.toml").write_bytes("lr = 1".encode("utf-16"))
    _one_sentence(_train(run, folder, "labels.csv", "--config", folder / "settings.toml"), 2, "no UTF-8 text")
    _one_sentence(
        _train(run, folder, "labels.csv", "--classes", ",".join(f"name {n}" for n in range(50))), 3, "no class 'name 0'"
    )


def test_ctrl_c_while_maps_are_computed(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("partlabel.training.map_store.write", press)
    monkeypatch.setenv(
        "PARTLABEL_CACHE", str(folder / "empty cache")
    )  # another test may have computed these maps already
    _one_sentence(_train(run, folder, "labels.csv", "--freeze"), 130, "go on with: partlabel train --resume")
    monkeypatch.setattr("partlabel.cli.options.reporter", press)
    _one_sentence(run("look", folder / "labels.csv"), 130, "partlabel: stopped")


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Files cannot grow beyond a limit: what a full disk does, without filling one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk(run: Run, folder: Path, small_files: Callable[[int], None]) -> None:
    small_files(100_000)
    _one_sentence(_train(run, folder), 8, "no space left", "selection-last.ckpt")
    small_files(resource.RLIM_INFINITY)
    assert not list((folder / "run").rglob("*.part*"))
    assert _train(run, folder).code == 0  # nothing that could be gone on from is left in the way
