"""Cached maps: the same bits whatever the cache held, and no state of the cache that costs a training."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import partlabel
from partlabel.cache import default_cache
from partlabel.errors import ImageError, StorageError
from partlabel.images.dataset import ImageDataset
from partlabel.labels import LabelTable
from partlabel.methods.base import Context
from partlabel.methods.build import build_method
from partlabel.models.encoders.base import Backbone, view_settings
from partlabel.models.encoders.build import create_backbone
from partlabel.progress import SILENT, Silent
from partlabel.training.data import MapPlan, image_source, map_source, prepare_maps
from partlabel.training.map_cache import Recipe, cached_maps, content_hashes
from partlabel.training.map_store import check_room
from partlabel.training.scoring import score

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
TINY = {"backbone": "test_resnet", "pretrained": False, "size": 32, "freeze": True, "epochs": 1, "accelerator": "cpu"}


class Heard(Silent):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


Maps = Callable[..., torch.Tensor]


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    return create_backbone("test_resnet", pretrained=False, size=32, freeze=True)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def maps(backbone: Backbone, color_images: tuple[Path, LabelTable], heard: Heard) -> Maps:
    root, table = color_images

    def made(
        cache: Path, names: tuple[str, ...] = table.images, threads: int = 1, view: str = "plain", draw: int = 0
    ) -> torch.Tensor:
        images = ImageDataset(root, names, (view,), view_settings(backbone.spec), 0)
        hashes = content_hashes(root, names, lambda done, total: None)
        store = cached_maps(Recipe(backbone, images, draw, CPU), hashes, cache, threads=threads, reporter=heard)
        return store[np.arange(len(names))]

    return made


def _folder(cache: Path) -> Path:
    (folder,) = cache.iterdir()
    return folder


@pytest.mark.parametrize(("method", "train_last"), [("bce", 0), ("saliency", 0), ("saliency", 1), ("bce", 1)])
def test_cached_maps_give_the_logits_of_the_images(
    method: str, train_last: int, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, table = color_images
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", pretrained=False, size=32, freeze=True, train_last=train_last)
    tagger = build_method(method, {}, backbone, Context(table)).tagger.eval()
    views = view_settings(backbone.spec)
    direct = score(tagger, image_source(root, table.images, ("plain",), views, 0), 32)
    tagger.use_trunk_output()
    source = map_source(MapPlan(backbone, root, table.images, ("plain",), views, cache=tmp_path), SILENT)
    np.testing.assert_allclose(score(tagger, source, 32), direct, atol=5e-3)


@pytest.mark.parametrize("view", ["plain", "strong"])
def test_the_same_bits_whatever_the_cache_held_and_however_many_threads(
    view: str, maps: Maps, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    names = color_images[1].images
    whole = maps(tmp_path / "whole", view=view)
    maps(tmp_path / "parts", names[5:16], view=view)
    maps(tmp_path / "parts", names[20:21], threads=2, view=view)
    assert torch.equal(maps(tmp_path / "parts", view=view), whole)
    for threads in (2, 3):
        assert torch.equal(maps(tmp_path / f"{threads}", threads=threads, view=view), whole)
    assert torch.equal(maps(tmp_path / "parts", names[::-1], view=view), whole.flip(0))
    assert len({one.numpy().tobytes() for one in whole}) == len(names)


def test_random_views_differ_by_draw(maps: Maps, tmp_path: Path) -> None:
    first, second, plain = (
        maps(tmp_path, view=view, draw=draw) for view, draw in (("strong", 0), ("strong", 1), ("plain", 0))
    )
    assert not torch.equal(first, second)
    assert not torch.equal(first, plain)


def test_maps_are_those_of_each_image_alone(
    maps: Maps, backbone: Backbone, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, table = color_images
    made = maps(tmp_path)
    dataset = ImageDataset(root, table.images, ("plain",), view_settings(backbone.spec), 0)
    for row in range(len(table)):
        with torch.no_grad():
            alone = backbone.eval().trunk(dataset[0, row]["views"]["plain"][None])[0]
        torch.testing.assert_close(made[row], alone, rtol=2e-3, atol=2e-3)


def test_computing_leaves_the_weights_where_they_were(maps: Maps, backbone: Backbone, tmp_path: Path) -> None:
    before = [(parameter.data_ptr(), parameter.stride()) for parameter in backbone.parameters()]
    maps(tmp_path)
    assert [(parameter.data_ptr(), parameter.stride()) for parameter in backbone.parameters()] == before


def test_threads_of_the_caller_stay_what_they_were(maps: Maps, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        maps(tmp_path, threads=2)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def _flip(folder: Path) -> None:
    (values,) = folder.glob("*.f16")
    content = bytearray(values.read_bytes())
    content[len(content) // 2] ^= 1
    values.write_bytes(content)


def _cut(folder: Path) -> None:
    (values,) = folder.glob("*.f16")
    os.truncate(values, values.stat().st_size // 2 + 3)


def _tail(folder: Path) -> None:
    for path in (*folder.glob("*.f16"), *folder.glob("*.txt")):
        with open(path, "ab") as stream:
            stream.write(b"torn")


def _lose(ending: str) -> Callable[[Path], None]:
    def lose(folder: Path) -> None:
        for path in folder.glob(ending):
            path.unlink()

    return lose


def _mess(folder: Path) -> None:
    (index,) = folder.glob("*.txt")
    index.write_bytes(os.urandom(5000))
    (folder / "description.json").write_bytes(b"{")


def _linked(folder: Path) -> None:
    (values,) = folder.glob("*.f16")
    values.rename(folder / "elsewhere")
    values.symlink_to(folder / "elsewhere")


@pytest.mark.parametrize(
    "damage", [_flip, _cut, _tail, _lose("*.f16"), _lose("*.txt"), _lose("description.json"), _mess, _linked]
)
def test_what_is_damaged_is_computed_again(damage: Callable[[Path], None], maps: Maps, tmp_path: Path) -> None:
    whole = maps(tmp_path)
    damage(_folder(tmp_path))
    assert torch.equal(maps(tmp_path), whole)
    assert torch.equal(maps(tmp_path), whole)


def test_a_warm_cache_is_only_read(maps: Maps, tmp_path: Path) -> None:
    whole = maps(tmp_path)
    folder = _folder(tmp_path)

    def state() -> list[tuple[str, int, int]]:
        return sorted((path.name, path.stat().st_mtime_ns, path.stat().st_ino) for path in (folder, *folder.iterdir()))

    before = state()
    assert torch.equal(maps(tmp_path), whole)
    assert state() == before


def test_a_changed_image_is_not_kept_under_the_hash_of_its_old_content(
    backbone: Backbone, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root = tmp_path / "images"
    shutil.copytree(color_images[0], root)
    names = color_images[1].images
    hashes = content_hashes(root, names, lambda done, total: None)
    shutil.copy(root / names[0], root / names[20])
    images = ImageDataset(root, names, ("plain",), view_settings(backbone.spec), 0)
    recipe = Recipe(backbone, images, 0, CPU)
    with pytest.raises(ImageError, match=rf"{names[20]}' was changed while maps were computed; run again"):
        cached_maps(recipe, hashes, tmp_path / "cache", threads=2, reporter=SILENT)
    stored = recipe.folder(tmp_path / "cache")
    assert recipe.keys(hashes)[20] not in stored.rows


def test_nothing_is_written_through_a_link(maps: Maps, tmp_path: Path) -> None:
    maps(tmp_path / "first")
    (tmp_path / "victim").mkdir()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / _folder(tmp_path / "first").name).symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match="is a link, which maps are not written through; delete it"):
        maps(tmp_path / "cache")
    assert not list((tmp_path / "victim").iterdir())


def test_a_planted_lock_keeps_its_content(maps: Maps, tmp_path: Path) -> None:
    maps(tmp_path / "first")
    folder = tmp_path / "cache" / _folder(tmp_path / "first").name
    folder.mkdir(parents=True)
    for plant in (os.link, os.symlink):
        (tmp_path / "letter").write_text("dear reader")
        plant(tmp_path / "letter", folder / "lock")
        maps(tmp_path / "cache")
        assert (tmp_path / "letter").read_text() == "dear reader"
        (folder / "lock").unlink()
        _lose("*.txt")(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_maps_of_strangers_are_not_believed_where_everybody_may_write(maps: Maps, tmp_path: Path) -> None:
    whole = maps(tmp_path)
    folder = _folder(tmp_path)
    for path in folder.glob("*.*"):
        os.chown(path, 12345, 12345)
    assert torch.equal(maps(tmp_path), whole)
    assert len(list(folder.glob("*.f16"))) == 1
    tmp_path.chmod(0o777)
    assert torch.equal(maps(tmp_path), whole)
    assert len(list(folder.glob("*.f16"))) == 2


HOLDER = """
import fcntl, json, os, platform, sys, time
stream = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(stream, fcntl.LOCK_EX)
os.ftruncate(stream, 0)
os.pwrite(stream, json.dumps({"host": platform.node(), "pid": os.getpid(), "since": "1999"}).encode(), 0)
if sys.argv[2] == "fork" and not os.fork():
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(60)
os.write(1, b"0\\n")
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path, maps: Maps) -> Iterator[Callable[[str], tuple["subprocess.Popen[str]", Path]]]:
    """A process that holds the lock of a folder whose maps are to be computed."""
    started = []

    def start(how: str) -> tuple["subprocess.Popen[str]", Path]:
        maps(tmp_path / "cache")
        folder = _folder(tmp_path / "cache")
        _lose("*.txt")(folder)
        command = [sys.executable, "-c", HOLDER, str(folder / "lock"), how]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, folder

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_held_lock_is_reported_at_once_and_not_waited_for_without_end(
    holder: Callable[[str], tuple["subprocess.Popen[str]", Path]],
    maps: Maps,
    heard: Heard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process, _ = holder("alone")
    assert process.stdout is not None
    process.stdout.readline()
    monkeypatch.setattr("partlabel.training.map_claim.PATIENCE", 0.3)
    assert torch.equal(maps(tmp_path / "cache"), maps(tmp_path / "other"))
    assert f"waiting for the maps that process {process.pid} on" in "".join(heard.lines), heard.lines
    assert any("(since 1999)" in line and "they are computed here" in line for line in heard.lines)


def test_an_orphan_of_a_killed_training_does_not_hold_the_lock(
    holder: Callable[[str], tuple["subprocess.Popen[str]", Path]], maps: Maps, heard: Heard, tmp_path: Path
) -> None:
    process, _ = holder("fork")
    assert process.stdout is not None
    pids = {int(process.stdout.readline()) for _ in range(2)}
    process.kill()
    process.wait()
    (orphan,) = pids - {0}
    try:
        started = time.monotonic()
        maps(tmp_path / "cache")
        assert time.monotonic() - started < 20
        assert not any("waiting" in line for line in heard.lines)
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_a_file_system_without_locks_is_no_obstacle(
    maps: Maps, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    whole = maps(tmp_path / "other")
    monkeypatch.setattr(fcntl, "lockf", no_locks)
    assert torch.equal(maps(tmp_path / "cache"), whole)
    assert "has no locks (Function not implemented)" in heard.lines[-1]


def test_no_room_is_reported_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"the maps need 1000000000\.0 GB but .* has .* GB free"):
        check_room(tmp_path, 10**18)


@pytest.mark.parametrize("place", ["/proc/nope", "file"])
def test_an_impossible_cache_is_named_before_a_run_folder_is_made(
    place: str, color_images: tuple[Path, LabelTable], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, table = color_images
    (tmp_path / "file").write_text("")
    cache = tmp_path / place
    monkeypatch.setenv("PARTLABEL_CACHE", str(cache))
    with pytest.raises(StorageError, match=rf"maps cannot be kept in {cache} .*set PARTLABEL_CACHE to a folder"):
        partlabel.train(table, images=root, out=tmp_path / "run", **TINY)
    assert not (tmp_path / "run").exists()


def test_the_default_cache_is_its_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARTLABEL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "partlabel"
    check_room(default_cache(), 1)
    assert default_cache().stat().st_mode & 0o777 == 0o700
    assert not list(default_cache().iterdir())


def test_a_warm_training_decodes_no_image(
    color_images: tuple[Path, LabelTable], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, table = color_images
    monkeypatch.setenv("PARTLABEL_CACHE", str(tmp_path / "cache"))
    decoded: list[Path] = []
    original = Image.Image.load

    def counted(image: Image.Image) -> object:
        decoded.append(Path())
        return original(image)

    partlabel.train(table, images=root, out=tmp_path / "cold", report=False, **TINY)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", counted)
    warm = partlabel.train(table, images=root, out=tmp_path / "warm", report=False, **TINY)
    assert not decoded
    cold = json.loads((tmp_path / "cold" / "model" / "model.json").read_text())
    assert json.loads((warm.path / "model" / "model.json").read_text())["weights_sha256"] == cold["weights_sha256"]


def test_images_are_known_by_content_and_only_where_all_maps_are(
    backbone: Backbone, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, table = color_images
    views = view_settings(backbone.spec)
    plan = MapPlan(backbone, root, table.images[:9], ("plain",), views, cache=tmp_path)
    assert prepare_maps(plan, SILENT) == frozenset()
    map_source(plan, SILENT)
    more = MapPlan(backbone, root, (*table.images[5:12], "none.png"), ("plain",), views, cache=tmp_path)
    assert prepare_maps(more, SILENT) == set(table.images[5:9])
    both = MapPlan(backbone, root, table.images[:9], ("plain", "strong"), views, cache=tmp_path)
    assert prepare_maps(both, SILENT) == frozenset()
