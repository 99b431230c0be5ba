from pathlib import Path

import numpy as np

from partlabel.labels import LabelTable
from partlabel.runs.folder import RunFolder
from partlabel.runs.holdout import hold_out
from partlabel.runs.settings import TrainSettings
from partlabel.training.init_weights import seen_before


def test_runs_that_name_each_other_as_their_start_are_asked_once(tmp_path: Path) -> None:
    states = np.where(np.arange(20).reshape(10, 2) % 3 == 0, 1, -1).astype(np.int8)
    table = LabelTable.from_dense([f"{number}.png" for number in range(10)], ("a", "b"), states)
    for name, other in (("one", "two"), ("two", "one")):
        inputs = {"images": "/", "labels_hash": table.hash, "init": str(tmp_path / other)}
        RunFolder.create(tmp_path / name, TrainSettings(holdout=0.5, seed=len(other) % 2), inputs, table)
    cells = hold_out(table, 0.5, 1).held_out
    trained_on = hold_out(table, 0.5, 1).training  # both runs have this seed, so neither saw the cells
    assert seen_before(tmp_path / "one", cells, table) == 0
    known = trained_on.cells()
    assert seen_before(tmp_path / "one", known, table) == known.states.size
