"""An audit from its draw over the page to its release: real run, real server, real files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import partlabel
from partlabel.labels import LabelTable
from partlabel.recovery import Audited

pytestmark = pytest.mark.slow


def test_verdicts_on_the_page_release_suggestions(
    served: Callable[..., Any], color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, truth = color_images
    states = np.where(truth.dense() > 0, 1, 0).astype(np.int8)
    states[14:] = 0
    positives = LabelTable.from_dense(truth.images, truth.classes, states)
    run = partlabel.train(
        positives,
        images=root,
        out=tmp_path / "run",
        method="discriminant",
        backbone="test_resnet",
        pretrained=False,
        size=32,
        accelerator="cpu",
        freeze=True,
        report=False,
    )
    audit = tmp_path / "audit.csv"
    partlabel.recover(run, positives, images=root, out=audit, audit=12, precision=0.5, confidence=0.8)
    before = audit.read_bytes()
    server = served(audit, root)
    with server.client() as page:
        session = page.get("/api/session").json()
        assert [queue["id"] for queue in session["queues"]][-1] == "audit"
        assert session["progress"]["judged"] == 0
        assert (session["progress"]["target"], session["progress"]["confidence"]) == (0.5, 0.8)
        names = {one["id"]: one["name"] for one in session["classes"]}
        cells = page.get("/api/cells", params={"queue": "audit", "class": "all", "show": "all"}).json()["cells"]
        assert [(one["kind"], one["suggests"]) for one in cells] == [("audit", "present")] * 12
        lines = [line.split(",")[:2] for line in audit.read_text().splitlines()[1:]]
        assert [[one["name"], names[one["class"]]] for one in cells] == lines
        right = 0
        for number, one in enumerate(cells):
            row, column = truth.image_positions[one["name"]], truth.class_positions[names[one["class"]]]
            verdict = "present" if truth.dense()[row, column] > 0 else "absent"
            right += verdict == "present"
            given = {"cell": one["cell"], "verdict": verdict, "seen": None, "force": False}
            page.post(
                "/api/verdicts", json={"client": "t", "subject": session["subject"], "verdicts": [given]}
            ).raise_for_status()
            told = page.get("/api/changes", params={"after": 0, "client": "other"}).json()["progress"]
            assert told["judged"] == number + 1
            assert told["text"].startswith(f"{right} of {number + 1} judged suggestions are right")
    server.interrupt()
    lines = before.decode().splitlines()
    shuffled = tmp_path / "shuffled.csv"
    shuffled.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    (tmp_path / "shuffled.csv.json").write_bytes((tmp_path / "audit.csv.json").read_bytes())
    with served(shuffled, root).client() as page:  # a bound would follow the order of the draw
        assert page.get("/api/session").json()["progress"] is None
    released = partlabel.recover(run, positives, images=root, audited=audit, out=tmp_path / "released.csv")
    assert audit.read_bytes() == before
    assert isinstance(released.thresholds, Audited)
    assert int(released.thresholds.release.judged.sum()) == 12
    assert int(released.thresholds.release.right.sum()) == right
    assert told["text"] == released.thresholds.told
    assert len(released) > 0
