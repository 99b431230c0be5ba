"""A model asked in a process, then in its forked children."""

import subprocess
import sys
from pathlib import Path

import pytest

import partlabel
from partlabel.labels import LabelTable

SCRIPT = """
import multiprocessing, sys
import partlabel

def ask(image):
    return partlabel.predict(sys.argv[1], [image]).num_rows

if __name__ == "__main__":
    ask(sys.argv[2])
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map_async(ask, [sys.argv[2]] * 4).get(timeout=90))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork on this system")
def test_children_forked_after_a_first_call_answer(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    root, _ = color_images
    run = partlabel.train(
        partial_labels,
        images=root,
        out=tmp_path / "run",
        backbone="test_resnet",
        pretrained=False,
        size=32,
        epochs=1,
        report=False,
    )
    done = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(run.path), str(root / "00.png")],
        env={**__import__("os").environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.stdout.strip() == "[3, 3, 3, 3]", done.stderr
