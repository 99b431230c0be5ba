"""The built-in scenes: what is on disk is what the tables say, and the same every time."""

import hashlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from partlabel.datasets.digit_scenes import _DIGIT_BLOCKS, _THEMES, CLASSES, Scenes, write_scenes
from partlabel.errors import StorageError, UsageError


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    return write_scenes(tmp_path_factory.mktemp("scenes"), train=300, test=100, seed=3)


def pixels(scenes: Scenes) -> dict[str, str]:
    names = [*scenes.train.images, *scenes.test.images]
    return {name: hashlib.sha256(np.asarray(Image.open(scenes.images / name)).tobytes()).hexdigest() for name in names}


def test_every_image_of_the_tables_is_a_readable_image_and_no_other_file_is_there(scenes: Scenes):
    names = [*scenes.train.images, *scenes.test.images]
    assert len(names) == 400
    assert names[0] == "train/00001.png"
    assert names[-1] == "test/00100.png"
    assert sorted(names) == sorted(path.relative_to(scenes.images).as_posix() for path in scenes.images.rglob("*.*"))
    for name in names:
        with Image.open(scenes.images / name) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (64, 64))


def test_tables_are_complete(scenes: Scenes):
    for table in (scenes.train, scenes.test):
        assert table.classes == CLASSES
        assert table.counts_by_class().unknown.sum() == 0
        present = table.counts_by_image().present
        assert present.min() >= 1
        assert 2 <= present.mean() <= 3
        assert (table.counts_by_class().present / len(table) > 0.1).all()


def test_some_digits_appear_together(scenes: Scenes):
    present = (scenes.train.dense() == 1).astype(float)
    prevalence = present.mean(0)
    lift = present.T @ present / len(present) / np.outer(prevalence, prevalence)
    of_one_theme = {pair for theme in _THEMES for pair in combinations(sorted(theme), 2)}
    other = set(combinations(range(10), 2)) - of_one_theme
    assert np.mean([lift[pair] for pair in of_one_theme]) > 1.15 * np.mean([lift[pair] for pair in other])


def test_the_same_arguments_give_the_same_images_and_labels(scenes: Scenes, tmp_path: Path):
    again = write_scenes(tmp_path, train=40, test=20, seed=3)
    expected = pixels(scenes)
    assert {name: expected[name] for name in pixels(again)} == pixels(again)
    assert (again.train.dense() == scenes.train.dense()[:40]).all()
    assert (again.test.dense() == scenes.test.dense()[:20]).all()
    other = write_scenes(tmp_path / "other", train=40, test=20, seed=4)
    assert not set(pixels(other).values()) & set(pixels(again).values())


def test_train_and_test_share_no_scene_and_no_writer(scenes: Scenes):
    assert len(set(pixels(scenes).values())) == 400
    train, test = _DIGIT_BLOCKS["train"], _DIGIT_BLOCKS["test"]
    assert test.stop <= len(load_digits().target)
    assert test.start - train.stop > 1797 / 13


def test_size_scales_the_scene(tmp_path: Path):
    scenes = write_scenes(tmp_path, train=3, test=0, size=96)
    assert len(scenes.test) == 0
    with Image.open(scenes.images / "train/00003.png") as image:
        assert image.size == (96, 96)


def test_progress_counts_every_scene_and_nothing_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    seen: list[tuple[int, int]] = []
    write_scenes(tmp_path, train=3, test=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 5) for done in range(1, 6)]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("wrong", [{"train": -1}, {"test": -1}, {"size": 8}, {"seed": -1}])
def test_wrong_arguments_are_refused(wrong: dict[str, int], tmp_path: Path):
    with pytest.raises(UsageError, match=r"at least 0, and size \d+ at least 32"):
        write_scenes(tmp_path, **wrong)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "images").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"cannot write .*00001.png"):
        write_scenes(tmp_path, train=1, test=0)
