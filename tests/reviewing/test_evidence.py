"""Maps of a real run, asked for over HTTP."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import partlabel
from partlabel.labels import LabelTable

pytestmark = pytest.mark.slow


def test_a_map_over_the_picture(
    served: Callable[..., Any], tmp_path: Path, color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> None:
    run = partlabel.train(
        partial_labels,
        images=color_images[0],
        out=tmp_path / "run",
        method="saliency",
        backbone="test_resnet",
        backbone_args={"output_stride": 8},
        pretrained=False,
        size=64,
        epochs=2,
        accelerator="cpu",
        report=False,
    )
    (tmp_path / "classes.txt").write_text("\n".join([*partial_labels.classes, "a class that the model has not"]))
    server = served(tmp_path / "classes.txt", color_images[0], run=run.path)
    with server.client() as page:
        assert page.get("/api/session").json()["has_evidence"]
        answer = page.get("/evidence/3/1", timeout=120)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["cache-control"] == "no-store"
        assert Image.open(io.BytesIO(answer.content)).size == (32, 32)
        assert page.get("/evidence/3/0").content != answer.content
        refused = page.get("/evidence/3/3")
        assert refused.status_code == 400
        assert "has no class" in refused.json()["error"]
        assert page.get("/evidence/3/4").status_code == 404
        assert page.get("/evidence/99/0").status_code == 404
    server.interrupt()
    assert server.process.returncode == 0
