"""Frozen trunks in onnxruntime, about twice as fast as torch on a CPU: an optional extra, used where it gives the same.

Its maps are kept apart from torch's, because their last bits differ.
"""

import importlib.metadata
import importlib.util
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from partlabel.files import storage_errors
from partlabel.models.encoders.base import Backbone
from partlabel.training.map_compute import Trunk

ENOUGH_IMAGES = 1000
"""Fewer images are computed before the network is translated."""
_TOLERANCE = 1e-3
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_REFUSAL = "not-by-onnxruntime"

_trunks: WeakKeyDictionary[Backbone, Trunk] = WeakKeyDictionary()
"""Frozen networks that this process has translated; their weights do not change."""


class NoOnnxTrunk(Exception):
    """This trunk cannot be had in onnxruntime; says why."""


def has_onnx() -> bool:
    """Whether the packages of the extra `onnx` are installed."""
    return all(importlib.util.find_spec(package) is not None for package in _PACKAGES)


def was_refused(folder: Path) -> bool:
    """Whether an earlier process noted that this trunk cannot be had in onnxruntime, in these versions."""
    try:
        return (folder / _REFUSAL).read_text(encoding="utf-8") == _versions()
    except (OSError, ValueError):
        return False


def note_refusal(folder: Path) -> None:
    """Spare later processes the attempt.

    Raises:
        StorageError: the folder cannot be written.
    """
    with storage_errors(folder):
        (folder / _REFUSAL).write_text(_versions(), encoding="utf-8")


def _versions() -> str:
    return " ".join(f"{package} {importlib.metadata.version(package)}" for package in ("torch", *_PACKAGES))


class _TrunkOf(nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone.trunk(images)


def onnx_trunk(backbone: Backbone) -> Trunk:
    """The frozen part of a backbone on the CPU, one core per call, for several threads to call.

    Raises:
        NoOnnxTrunk: it cannot be translated, or gives other maps than torch: the largest difference on noise exceeds a
            thousandth of the largest value (or of 1).
    """
    if backbone in _trunks:
        return _trunks[backbone]
    was_training = backbone.training
    try:
        session = _session(_TrunkOf(backbone.cpu()).eval(), backbone.spec.size)
        _compare(backbone, session)
    except NoOnnxTrunk:
        raise
    except Exception as error:  # the exporter fails in as many ways as there are networks
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NoOnnxTrunk(reason[:200]) from error
    finally:
        backbone.train(was_training)

    def run(views: NDArray[np.float32]) -> NDArray[np.float16]:
        return _maps(session, views).astype(np.float16)

    _trunks[backbone] = run
    return run


def _session(trunk: nn.Module, size: int) -> Any:
    import onnxruntime

    with warnings.catch_warnings(), redirect_stdout(StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(trunk, (torch.zeros(1, 3, size, size),), dynamo=True, verbose=False)
        assert program is not None
        model = program.model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _compare(backbone: Backbone, session: Any) -> None:
    side = backbone.spec.size
    noise = np.random.default_rng(0).standard_normal((3, 1, 3, side, side), np.float32)
    for views in noise:
        expected = backbone.trunk(torch.from_numpy(views)).numpy()
        found = _maps(session, views)
        if found.shape != expected.shape:
            raise NoOnnxTrunk(f"maps of shape {found.shape} instead of {expected.shape}")
        difference = float(np.abs(found - expected).max())
        if not difference <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise NoOnnxTrunk(f"maps that differ by {difference:.2g}")


def _maps(session: Any, views: NDArray[np.float32]) -> NDArray[np.float32]:
    maps: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: views})[0]
    return maps
