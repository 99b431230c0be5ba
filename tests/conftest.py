"""Shared settings of all tests: shapes checked, one thread, a cache of their own."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
from hypothesis import settings
from jaxtyping import install_import_hook
from PIL import Image
from timm.models import byobnet
from timm.models._registry import generate_default_cfgs, register_model

from partlabel.labels import LabelTable
from partlabel.progress import Silent
from partlabel.runs.folder import RunFolder

with install_import_hook(["partlabel.losses", "partlabel.methods", "partlabel.models"], "beartype.beartype"):
    import partlabel
    import partlabel.losses
    import partlabel.methods
    import partlabel.models.bundle
    import partlabel.models.explain_maps
    import partlabel.models.graphs.smoothing_graph

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts commands in the background without it

settings.register_profile("partlabel", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("partlabel")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process is left with a long one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


class AtSteps:
    """A reporter that calls a function with the number of training steps done, after each of them."""

    def __init__(self, call: Callable[[int], object]) -> None:
        self.call = call

    def say(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def track(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Pass the steps of a training on."""
        steps = what.startswith("training") and what.endswith("step")
        yield lambda done, total: self.call(done) if steps else None  # type: ignore[func-returns-value]


@pytest.fixture(scope="session")
def at_steps() -> type[AtSteps]:
    """The class, for tests that look on at a training or stop it."""
    return AtSteps


class Heard(Silent):
    """A reporter that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)


@pytest.fixture
def heard() -> Heard:
    """A reporter whose `lines` are what was said to it."""
    return Heard()


CLASSES = ("red", "green", "blue")


@contextmanager
def _session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For what is made once for many tests: the cache of `_own_cache`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARTLABEL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The key that seals runs; one for the session, since runs are shared by tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTLABEL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """No test, and nothing that it calls, leaves signals to somebody else."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)] == before


@pytest.fixture(scope="session")
def clip_tower() -> str:
    """Name of a CLIP ResNet that timm builds from a configuration like those it has, with small widths: of its own 64
    pixels it makes 2 × 2 places of 128 channels, of which the attention pooling's two heads make 12 in the joint space.
    """
    name = "tiny_resnet_clip"
    if not timm.is_model(name):
        blocks = [(1, 16, 1), (2, 32, 2), (3, 64, 2), (2, 128, 2)]
        byobnet.model_cfgs[name] = replace(
            byobnet.model_cfgs["resnet50_clip"],
            blocks=tuple(byobnet.ByoBlockCfg(type="bottle", d=d, c=c, s=s, br=0.5) for d, c, s in blocks),
            stem_chs=(8, 8, 16),
        )
        its = {**asdict(timm.get_pretrained_cfg("resnet50_clip")), "input_size": (3, 64, 64), "num_classes": 12}
        byobnet.default_cfgs.update(generate_default_cfgs({f"{name}.none": {**its, "hf_hub_id": None, "tag": None}}))

        def tiny_resnet_clip(pretrained: bool = False, **arguments: Any) -> Any:
            return byobnet._create_byobnet(name, pretrained=pretrained, **arguments)

        tiny_resnet_clip.__module__ = byobnet.__name__
        register_model(tiny_resnet_clip)
    return name


@pytest.fixture(scope="session")
def color_images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LabelTable]:
    """32 images of 32 × 32 pixels with red, green and blue squares, and their complete labels: easy to learn."""
    root = tmp_path_factory.mktemp("colors")
    random = np.random.default_rng(0)
    states = np.where(random.random((32, 3)) < 0.4, 1, -1).astype(np.int8)
    states[:2] = [[1, 1, 1], [-1, -1, -1]]
    names = [f"{number:02d}.png" for number in range(32)]
    for name, row in zip(names, states, strict=True):
        pixels = random.integers(0, 60, (32, 32, 3)).astype(np.uint8)
        for channel in np.flatnonzero(row > 0):
            x, y = random.integers(0, 20, 2)
            pixels[y : y + 12, x : x + 12, channel] = 255
        Image.fromarray(pixels).save(root / name)
    return root, LabelTable.from_dense(names, CLASSES, states)


@pytest.fixture(scope="session")
def partial_labels(color_images: tuple[Path, LabelTable]) -> LabelTable:
    """The colour images with about 60 % of the cells known."""
    _, table = color_images
    hidden = np.random.default_rng(1).random(table.shape) > 0.6
    return LabelTable.from_dense(table.images, table.classes, np.where(hidden, 0, table.dense()))


SMALL: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "accelerator": "cpu",
    "freeze": True,
    "report": False,
}
TRAINED_ON = 24


@pytest.fixture(scope="session")
def fitted_run(
    tmp_path_factory: pytest.TempPathFactory, color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> RunFolder:
    """A discriminant fitted to all known cells of the first 24 colour images, by what it chose without some of them."""
    labels = partial_labels.select_images(range(TRAINED_ON))
    out = tmp_path_factory.mktemp("fitted") / "run"
    with _session_cache(tmp_path_factory):
        return partlabel.train(
            labels, images=color_images[0], out=out, method="discriminant", holdout=0.3, refit=True, **SMALL
        )


@pytest.fixture(scope="session")
def stepped_run(
    tmp_path_factory: pytest.TempPathFactory, color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> RunFolder:
    """A run of a method that takes steps."""
    out = tmp_path_factory.mktemp("stepped") / "run"
    with _session_cache(tmp_path_factory):
        return partlabel.train(
            partial_labels, images=color_images[0], out=out, method="bce", epochs=1, holdout=0, **SMALL
        )
