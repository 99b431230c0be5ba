"""Bundles of strangers: each ends in one sentence, reads no other file, asks no network, and takes no more memory and
time than its few bytes are worth.
"""

import copy
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from partlabel.errors import RunError
from partlabel.models.bundle import BundleInfo, load_bundle, save_bundle
from partlabel.models.encoders.build import create_backbone
from partlabel.models.fingerprint import tensors_digest
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger

pytestmark = pytest.mark.slow

CLASSES = ("red", "green")
CALIBRATION = {"classes": list(CLASSES), "intercept": [0.0, 0.1], "slope": [1.0, 2.0]}


def _bundle(folder: Path, head: HeadSpec) -> dict[str, Any]:
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    tagger = Tagger(backbone, head, CLASSES)
    info = BundleInfo(
        backbone=backbone.spec,
        head=tagger.head_spec,
        classes=CLASSES,
        method="bce",
        thresholds=(0.0, 1.0),
        calibration=CALIBRATION,
    )
    save_bundle(folder, tagger, info)
    return json.loads((folder / "model.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture
def described(tmp_path: Path) -> dict[str, Any]:
    """What a good bundle in `tmp_path` says of itself."""
    found = _bundle(tmp_path, HeadSpec())
    assert load_bundle(tmp_path)[1].classes == CLASSES
    return found


@pytest.fixture(autouse=True)
def _no_network_and_bounded_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import socket

    def refuse(*_: object, **__: object) -> None:
        os._exit(77)  # nothing may catch it

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    signal.alarm(300)
    yield
    signal.alarm(0)


def _refused(folder: Path, text: str | dict[str, Any]) -> str:
    """The sentence that a changed description ends in."""
    (folder / "model.json").write_text(text if isinstance(text, str) else json.dumps(text))
    with pytest.raises(RunError) as raised:
        load_bundle(folder)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1200
    return str(raised.value)


CHANGES: dict[str, tuple[tuple[str, ...], Any]] = {
    "hub": (("backbone", "architecture"), "hf-hub:stranger/network"),
    "old hub": (("backbone", "architecture"), "hf_hub:stranger/network"),
    "folder": (("backbone", "architecture"), "local-dir:/tmp"),
    "other network": (("backbone", "architecture"), "test_vit"),
    "no network": (("backbone", "architecture"), "nothing"),
    "number as name": (("backbone", "architecture"), 3),
    "depth": (("backbone", "model_args"), {"layers": [10**9, 1, 1, 1]}),
    "features": (("backbone", "model_args"), {"features_only": True}),
    "configuration": (("backbone", "model_args"), {"pretrained_cfg": {"hf_hub_id": "stranger/network"}}),
    "no size": (("backbone", "size"), 0),
    "huge size": (("backbone", "size"), 10**9),
    "mean": (("backbone", "mean"), [1e300, 0, 0]),
    "spread": (("backbone", "std"), [0, 0, 0]),
    "branches": (("backbone", "local_global"), True),
    "copies": (("backbone", "copies"), 10**6),
    "two copies": (("backbone", "copies"), 2),
    "other head": (("head", "kind"), "saliency"),
    "no head": (("head", "kind"), "nothing"),
    "head setting": (("head", "settings"), {"pool": "median"}),
    "head settings": (("head", "settings"), {"width": 3}),
    "huge head": (("head",), {"kind": "ml_gcn", "settings": {"hidden": 10**11}}),
    "head in head": (("head",), {"kind": "twin", "settings": {"head": {"kind": "twin", "settings": {}}}}),
    "endless steps": (("head",), {"kind": "ssgrl", "settings": {"steps": 10**12}}),
    "infinite head": (("head",), {"kind": "saliency", "settings": {"alpha": math.inf}}),
    "heads of attention": (("head",), {"kind": "colearning", "settings": {"heads": 0}}),
    "no class": (("classes",), []),
    "more classes": (("classes",), ["red", "green", "blue"]),
    "class twice": (("classes",), ["red", "red"]),
    "empty class": (("classes",), ["red", ""]),
    "half a letter": (("classes",), ["red", "\ud800"]),
    "class as number": (("classes",), ["red", 3]),
    "a million classes": (("classes",), [f"c{number}" for number in range(10**6)]),
    "thresholds": (("thresholds",), [0.0]),
    "threshold NaN": (("thresholds",), [0.0, math.nan]),
    "threshold infinite": (("thresholds",), [0.0, 10**400]),
    "foreign calibration": (("calibration", "classes"), ["green", "red"]),
    "short calibration": (("calibration", "slope"), [1.0]),
    "calibration NaN": (("calibration", "slope"), [1.0, math.nan]),
    "falling calibration": (("calibration", "slope"), [1.0, -1.0]),
    "calibration of text": (("calibration",), {"classes": "ab", "intercept": "ab", "slope": "ab"}),
    "control characters": (("method",), "bce\x1b[2J"),
    "format": (("format",), 10**9),
    "digest": (("weights_sha256",), "0"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_description_that_does_not_fit(tmp_path: Path, described: dict[str, Any], case: str) -> None:
    path, value = CHANGES[case]
    changed = copy.deepcopy(described)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    start = time.perf_counter()
    _refused(tmp_path, changed)
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "null", "{", "[" * 10**6, '{"a":' * 10**5, "9" * 10**5, '{"format": NaN}', "\ufeff{}", "{}"],
    ids=range(11),
)
def test_a_description_that_is_none(tmp_path: Path, described: dict[str, Any], text: str) -> None:
    _refused(tmp_path, text)


def test_a_description_without_end(tmp_path: Path, described: dict[str, Any]) -> None:
    (tmp_path / "model.json").unlink()
    with (tmp_path / "model.json").open("wb") as stream:
        stream.truncate(10**12)
    with pytest.raises(RunError, match="larger than 32 MB"):
        load_bundle(tmp_path)


class Bomb:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.trace),)


def test_no_pickle_is_read(tmp_path: Path, described: dict[str, Any]) -> None:
    """Neither where the description points to one nor in place of the weights."""
    trace, bomb = tmp_path / "trace", pickle.dumps(Bomb(tmp_path / "trace"))
    (tmp_path / "bomb.pth").write_bytes(bomb)
    backbone = {**described["backbone"], "model_args": {"checkpoint_path": str(tmp_path / "bomb.pth")}}
    assert "checkpoint_path" in _refused(tmp_path, {**described, "backbone": backbone})
    (tmp_path / "model.safetensors").write_bytes(bomb)
    assert "cannot be read" in _refused(tmp_path, described)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(bomb)
    assert "cannot be read" in _refused(tmp_path, described)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_files_that_are_no_files(tmp_path: Path, described: dict[str, Any], name: str) -> None:
    """A pipe would wait for ever, a device would never end."""
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path), lambda path: os.symlink(path, path)):
        saved = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        make(tmp_path / name)  # type: ignore[operator]
        with pytest.raises(RunError):
            load_bundle(tmp_path)
        (tmp_path / name).rmdir() if make is os.mkdir else (tmp_path / name).unlink()
        (tmp_path / name).write_bytes(saved)


def _reweighed(folder: Path, described: dict[str, Any], weights: dict[str, torch.Tensor]) -> str:
    save_file(weights, folder / "model.safetensors")
    return _refused(folder, {**described, "weights_sha256": tensors_digest(weights)})


def test_weights_that_do_not_fit(tmp_path: Path, described: dict[str, Any]) -> None:
    weights = load_bundle(tmp_path)[0].state_dict()
    name = "head.linear.weight"
    assert f"{name} is missing" in _reweighed(tmp_path, described, {k: v for k, v in weights.items() if k != name})
    assert "zebra belongs to nothing" in _reweighed(tmp_path, described, {**weights, "zebra": torch.zeros(1)})
    assert f"{name} has the shape" in _reweighed(tmp_path, described, {**weights, name: weights[name].T.contiguous()})
    assert f"{name} has another type" in _reweighed(tmp_path, described, {**weights, name: weights[name].long()})
    assert "the type BOOL" in _reweighed(tmp_path, described, {**weights, name: weights[name].bool()})
    broken = weights[name].clone()
    broken[0, 0] = math.nan
    assert f"not finite, in {name}" in _reweighed(tmp_path, described, {**weights, name: broken})


IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
import torch, timm
from partlabel.errors import PartlabelError
from partlabel.models.bundle import load_bundle
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for folder in sys.argv[1:]:
    try:
        load_bundle(Path(folder))
    except PartlabelError as error:
        print(type(error).__name__, str(error)[:200])
    else:
        print("loaded")
"""

LARGE: list[dict[str, Any]] = [
    {"backbone": {"architecture": "vit_giant_patch14_224", "size": 224}},
    {"backbone": {"architecture": "test_vit", "size": 4096, "model_args": {"img_size": 4096, "patch_size": 1}}},
    {"backbone": {"architecture": "test_vit", "size": 160, "model_args": {"embed_dim": 16384, "depth": 100}}},
    {"head": {"kind": "ssgrl", "settings": {"hidden": 10**10}}},
    {"head": {"kind": "colearning", "settings": {"reduction": 10**9, "hidden": 10**9}}},
    {"head": {"kind": "pooled", "settings": {}}, "classes": [f"{number}" for number in range(100_000)]},
    {"head": {"kind": "ml_gcn", "settings": {}}, "classes": [f"{number}" for number in range(50_000)]},
    {"head": {"kind": "twin", "settings": {"head": {"kind": "ml_gcn", "settings": {"label_features": 10**9}}}}},
]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is limited by way of /proc")
def test_few_bytes_take_little_memory(tmp_path: Path) -> None:
    """Declared sizes are compared with the weights that are there before any memory is taken."""
    folders = [tmp_path / "good", *(tmp_path / str(number) for number in range(len(LARGE)))]
    for folder, change in zip(folders, [{}, *LARGE], strict=True):
        described = _bundle(folder, HeadSpec())
        described["thresholds"] = described["calibration"] = None
        for key, value in change.items():
            described[key] = {**described[key], **value} if key == "backbone" else value
        (folder / "model.json").write_text(json.dumps(described))
        assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000
    done = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_MEMORY, *map(str, folders)],
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[0] == "loaded"
    assert all(line.startswith("RunError ") and "memory" not in line for line in lines[1:]), lines
    assert len(lines) == len(folders)
