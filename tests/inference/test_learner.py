"""A model that learns from labels as they come, against the run itself and against a fit of its method."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from partlabel.errors import Interrupted, UsageError
from partlabel.inference.learner import Learner, learns
from partlabel.inference.scores import run_logits
from partlabel.labels import LabelTable
from partlabel.methods.base import Context, Seen
from partlabel.methods.build import build_method
from partlabel.methods.discriminant import Discriminant
from partlabel.methods.fitted import Fit
from partlabel.models.bundle import load_bundle
from partlabel.progress import SILENT
from partlabel.runs.folder import RunFolder

pytestmark = pytest.mark.slow

Data = tuple[Path, LabelTable]
Floats = NDArray[np.float32]


def _logits(learner: Learner) -> Floats:
    found = np.full((len(learner.images), len(learner.classes)), np.nan, np.float32)
    for rows, block in learner.blocks():
        found[rows] = block
    return found


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _features(run: RunFolder, names: tuple[str, ...], root: Path) -> torch.Tensor:
    """Pooled features of one image after the other, by the network as it is shipped."""
    tagger, info = load_bundle(run.model)
    found = []
    for name in names:
        with Image.open(root / name) as image:
            pixels = torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 255)
        mean, deviation = torch.tensor(info.backbone.mean), torch.tensor(info.backbone.std)
        with torch.no_grad():
            maps = tagger.features(((pixels - mean) / deviation).permute(2, 0, 1)[None]).maps
        found.append(maps[0].flatten(1).mean(1))
    return torch.stack(found)


def _fitted(run: RunFolder, labels: LabelTable, features: torch.Tensor) -> Floats:
    """Logits after a fit of the method with what the run chose, on a fresh network."""
    method = build_method(
        "discriminant", run.settings.method_settings, load_bundle(run.model)[0].backbone, Context(labels)
    )
    assert isinstance(method, Discriminant)

    def images(index: torch.Tensor | None = None) -> Iterator[Seen]:
        for row in (torch.arange(len(labels)) if index is None else index).split(1):
            yield Seen(row, features[row], torch.zeros(1, len(labels.classes)))

    with torch.no_grad():
        method.fit(Fit(labels, images, run.settings.seed, SILENT, run.info["fitted"]))
        return method.tagger.head(features[:, :, None, None]).logits.numpy()


def test_fitted_to_the_labels_of_the_run_it_is_the_run(fitted_run: RunFolder, color_images: Data) -> None:
    root, labels = color_images[0], fitted_run.labels()
    wanted = run_logits(fitted_run, labels.images, root, SILENT).logits
    learner = Learner.open(fitted_run, labels.images, root)
    assert (learner.images, learner.classes) == (labels.images, labels.classes)
    assert learner.features.shape == (len(labels), learner.tagger.backbone.num_features)
    np.testing.assert_allclose(_logits(learner), wanted, rtol=1e-4, atol=1e-4)
    learner.fit(labels)
    np.testing.assert_allclose(_logits(learner), wanted, rtol=1e-4, atol=1e-4)


def test_fitted_to_other_labels_it_is_what_the_method_makes_of_them(
    fitted_run: RunFolder, color_images: Data, partial_labels: LabelTable
) -> None:
    """More images than the run had, in another order, and other states; each fit begins anew; the run stays."""
    root, truth = color_images
    before = _contents(fitted_run.path)
    names = partial_labels.images[::-1]
    learner = Learner.open(fitted_run, names, root)
    features = _features(fitted_run, names, root)
    np.testing.assert_allclose(learner.features.numpy(), features.numpy(), rtol=1e-3, atol=1e-4)
    of_run = _logits(learner)
    found = []
    for labels in (partial_labels, truth, partial_labels):
        table = labels.select_images(names)
        learner.fit(table)
        found.append(_logits(learner))
        np.testing.assert_allclose(found[-1], _fitted(fitted_run, table, learner.features), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(found[0], found[2])
    assert np.abs(found[0] - found[1]).max() > 0.1
    assert np.abs(found[0] - of_run).max() > 0.01
    assert _contents(fitted_run.path) == before


def test_a_method_of_steps_is_refused_with_the_remedy(stepped_run: RunFolder, color_images: Data) -> None:
    assert not learns(stepped_run)
    with pytest.raises(UsageError, match=r"method bce takes steps; .*--method discriminant --freeze"):
        Learner.open(stepped_run, ("00.png",), color_images[0])


def test_an_exception_of_the_reporter_ends_a_fit(fitted_run: RunFolder, color_images: Data) -> None:
    class Impatient:
        """A reporter that has had enough."""

        def say(self, text: str) -> None:
            """Nothing."""

        def track(self, what: str) -> "Impatient":
            """Itself."""
            return self

        def __enter__(self) -> "Impatient":
            return self

        def __exit__(self, *error: object) -> None: ...

        def __call__(self, done: int, total: int) -> None:
            raise Interrupted("enough")

    labels = fitted_run.labels()
    learner = Learner.open(fitted_run, labels.images, color_images[0])
    with pytest.raises(Interrupted):
        learner.fit(labels, Impatient())
