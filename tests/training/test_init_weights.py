from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from partlabel.api.train import train
from partlabel.labels import LabelTable
from partlabel.models.graphs.smoothing_graph import smoothing_graph
from partlabel.runs.folder import RunFolder
from partlabel.runs.holdout import hold_out
from partlabel.runs.learned_graph import learned_graph_path, read_learned_graph
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


def test_interactive_takes_the_head_of_a_logistic_model_and_begins_with_a_graph_of_its_own(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    how = {"backbone": "test_resnet", "pretrained": False, "size": 32, "freeze": True, "epochs": 1, "report": False}
    images = color_images[0]
    first = train(partial_labels, images=images, out=tmp_path / "first", method="bce", lr=0.1, **how)
    second = train(
        partial_labels, images=images, out=tmp_path / "second", method="interactive", init=first.path, lr=1e-12, **how
    )
    one, two = (load_file(run.model / "model.safetensors") for run in (first, second))
    np.testing.assert_allclose(two["head.linear.weight"], one["head.linear.weight"], atol=1e-9)
    training = hold_out(second.labels(), 0.1, 0).training
    start = smoothing_graph("co_occurrence", training, 50).numpy()
    names = training.classes
    edges = read_learned_graph(learned_graph_path(second.path))
    for edge in edges:
        assert abs(edge.start - start[names.index(edge.source), names.index(edge.target)]) < 1e-5
        assert edge.weight != edge.start
    assert edges
