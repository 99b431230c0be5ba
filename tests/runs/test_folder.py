import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from partlabel.errors import PartlabelError, StorageError
from partlabel.labels import LabelTable
from partlabel.runs.folder import RunFolder
from partlabel.runs.holdout import hold_out
from partlabel.runs.settings import TrainSettings

CLASSES = ("red", "green")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """All small files of a run of ten images."""
    states = np.where(np.arange(20).reshape(10, 2) % 3 == 0, 1, -1).astype(np.int8)
    table = LabelTable.from_dense([f"{number}.png" for number in range(10)], CLASSES, states)
    run = RunFolder.create(tmp_path / "it's a run", TrainSettings(), {"images": "/", "labels_hash": table.hash}, table)
    cells = hold_out(table, 0.5, 0).held_out
    run.write_held_out(cells, np.zeros(cells.states.size, np.float32), table)
    run.append_log({"phase": "selection", "epoch": 1, "loss": 0.5})
    return run


READERS = {
    "run.json": lambda run: run.info,
    "config.json": lambda run: run.settings,
    "labels.parquet": lambda run: run.labels(),
    "held_out.parquet": lambda run: run.held_out(CLASSES),
    "log.csv": lambda run: run.log(),
}


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_named(run: RunFolder, name: str) -> None:
    READERS[name](run)
    path = run.path / name
    whole = path.read_bytes()
    for content in (
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"a": 1}',
        b"a,b\n1\n",
        whole[: len(whole) // 2],
    ):
        if (name, content) == ("log.csv", b"") or (name == "log.csv" and content == whole[: len(whole) // 2]):
            continue  # a log without its last rows is a log
        path.write_bytes(content)
        with pytest.raises(PartlabelError, match=name):
            READERS[name](run)


def test_held_out_cells_of_other_classes_are_not_those_of_the_run(run: RunFolder) -> None:
    with pytest.raises(PartlabelError, match=r"held_out\.parquet does not hold the held-out cells of this run"):
        run.held_out(("blue", "violet"))


@pytest.mark.parametrize("inputs", [{}, {"images": "/"}, {"images": 1, "labels_hash": "0"}, [], None])
def test_a_run_that_does_not_say_what_it_was_trained_on(run: RunFolder, inputs: object) -> None:
    run.update(inputs=inputs)
    with pytest.raises(PartlabelError, match=r"run\.json does not say"):
        _ = run.inputs


def test_the_command_to_go_on_is_for_a_shell(run: RunFolder) -> None:
    assert shlex.split(run.resume_command) == ["partlabel", "train", "--resume", str(run.path)]
    shutil.rmtree(run.path / "assets", ignore_errors=True)
    (run.path / "held_out.parquet").unlink()
    with pytest.raises(PartlabelError) as caught:
        run.held_out(CLASSES)
    assert str(caught.value).endswith(run.resume_command)


@pytest.mark.parametrize("inside", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PartlabelError, match="choose another --out"):
        RunFolder(tmp_path / inside).check_new()
    with pytest.raises(StorageError, match="is not a folder; choose another --out"):
        RunFolder("/dev/null/run").check_new()
