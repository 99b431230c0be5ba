from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from partlabel.errors import LabelError, NotFiniteError
from partlabel.evaluation.scored_cells import FloatArray, ScoredCells
from partlabel.labels import Source, State
from partlabel.recovery import doubtful, read_suggestions, write_doubtful

CLASSES = ("sky", "sea")


class World:
    """Cells whose true states are known, some of them turned over by stated rates; and the true probabilities."""

    def __init__(self, size: int, missed: float, invented: float, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.logits = random.normal(-3, 3, size)
        self.true = expit(1.3 * self.logits)
        present = random.random(size) < self.true
        self.turned = random.random(size) < np.where(present, missed, invented)
        states = np.where(present ^ self.turned, 1, -1).astype(np.int8)
        images, columns = tuple(f"{number}.jpg" for number in range(size)), random.integers(0, 2, size)
        self.cells = ScoredCells(CLASSES, self.logits, states, columns, images, np.arange(size))
        self.stated = invented + (1 - missed - invented) * self.true
        self.wrong = np.where(
            states > 0, invented * (1 - self.true) / self.stated, missed * self.true / (1 - self.stated)
        )


@pytest.mark.parametrize(("missed", "invented"), [(0.05, 0.05), (0.3, 0.003), (0.01, 0.05)])
def test_rates_and_probabilities_of_a_known_world_are_found(missed: float, invented: float) -> None:
    world = World(60_000, missed, invented)
    found = doubtful(world.cells)
    assert found.missed == pytest.approx(missed, abs=0.25 * missed + 0.005)
    assert found.invented == pytest.approx(invented, abs=0.15 * invented + 0.001)
    first = found.order[: int(world.turned.sum())]
    best = np.argsort(-world.wrong)[: first.size]
    assert world.turned[first].mean() > 0.97 * world.turned[best].mean()
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.7), (0.7, 1.0)):
        inside = (found.probability >= low) & (found.probability <= high)
        if inside.sum() > 200:
            assert world.turned[found.order[inside]].mean() == pytest.approx(found.probability[inside].mean(), abs=0.08)


def test_missed_labels_come_before_improbable_ones_where_labels_are_only_missed() -> None:
    """The probability of the other state would put the improbable presents first, all of which are right."""
    world = World(40_000, 0.3, 0.0, seed=1)
    found = doubtful(world.cells)
    first = found.order[: int(world.turned.sum())]
    other = np.where(world.cells.present, 1 - world.stated, world.stated)
    plain = np.argsort(-other)[: first.size]
    assert world.turned[first].mean() > 1.15 * world.turned[plain].mean()


def test_it_is_the_stated_objective() -> None:
    """Against an optimiser without derivatives."""
    world = World(1500, 0.2, 0.05, seed=2)
    found = doubtful(world.cells)
    score, present = (world.logits - world.logits.mean()) / world.logits.std(), world.cells.present

    def stated(theta: FloatArray) -> tuple[FloatArray, FloatArray, float, float]:
        true = expit(theta[0] + np.exp(theta[1]) * score)
        all_three = 1 + np.exp(theta[2]) + np.exp(theta[3])
        missed, invented = np.exp(theta[2]) / all_three, np.exp(theta[3]) / all_three
        return true * (1 - missed) + (1 - true) * invented, true, missed, invented

    def loss(theta: FloatArray) -> float:
        q = stated(theta)[0]
        prior = ((theta - [0, 0, -4, -5]) / [10, 2, 1.5, 1.5]) ** 2
        return float(-np.log(np.where(present, q, 1 - q)).sum() + prior.sum() / 2)

    options = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 20_000, "maxfev": 20_000, "adaptive": True}
    best = minimize(loss, [0, 0, -4, -5], method="Nelder-Mead", options=options).x
    q, true, missed, invented = stated(best)
    wrong = np.where(present, invented * (1 - true) / q, missed * true / (1 - q))
    np.testing.assert_allclose(found.probability, wrong[found.order], atol=5e-3)
    assert found.missed == pytest.approx(missed, abs=5e-3)


def test_every_cell_is_ranked_once_and_nothing_is_changed() -> None:
    world = World(500, 0.1, 0.1, seed=3)
    states = world.cells.states.copy()
    found = doubtful(world.cells)
    np.testing.assert_array_equal(np.sort(found.order), np.arange(500))
    assert (np.diff(found.probability) <= 0).all()
    assert ((found.probability >= 0) & (found.probability <= 1)).all()
    np.testing.assert_array_equal(world.cells.states, states)


def test_within_a_state_the_order_is_that_of_the_probability() -> None:
    world = World(3000, 0.1, 0.05, seed=4)
    found = doubtful(world.cells)
    ranked = world.logits[found.order]
    present = world.cells.present[found.order]
    assert (np.diff(ranked[present]) >= 0).all()
    assert (np.diff(ranked[~present]) <= 0).all()


def test_the_unit_of_the_logits_does_not_matter() -> None:
    world = World(3000, 0.1, 0.05, seed=5)
    other = replace(world.cells, logits=world.logits * 0.01 + 5)
    np.testing.assert_allclose(doubtful(other).probability, doubtful(world.cells).probability, atol=1e-4)


@pytest.mark.parametrize("states", [[1, 1, 1], [-1, -1, -1], [1, -1, 1], [1]])
def test_few_cells_of_equal_logits_have_an_answer(states: list[int]) -> None:
    size = len(states)
    cells = ScoredCells(("sky",), np.zeros(size), np.array(states, np.int8), np.zeros(size, np.int64))
    found = doubtful(cells)
    assert ((found.probability >= 0) & (found.probability <= 1)).all()
    if states == [1, 1, 1]:
        np.testing.assert_array_equal(found.order, [0, 1, 2])


def test_what_makes_no_sense_is_refused() -> None:
    for states in ([1, 0], []):
        size = len(states)
        unknown = ScoredCells(("sky",), np.zeros(size), np.array(states, np.int8), np.zeros(size, np.int64))
        with pytest.raises(LabelError, match="give known cells only"):
            doubtful(unknown)
    for wrong in (np.nan, np.inf):
        cells = ScoredCells(("sky",), np.array([0.0, wrong]), np.array([1, -1], np.int8), np.zeros(2, np.int64))
        with pytest.raises(NotFiniteError, match="train it again"):
            doubtful(cells)


def test_no_file_is_written_of_cells_without_images(tmp_path: Path) -> None:
    cells = ScoredCells(("sky",), np.zeros(2), np.array([1, -1], np.int8), np.zeros(2, np.int64))
    with pytest.raises(LabelError, match="without their images"):
        write_doubtful(tmp_path / "never.csv", cells, doubtful(cells))
    assert not list(tmp_path.iterdir())


def test_the_file_reads_as_suggestions_do(tmp_path: Path) -> None:
    names = ("a,b.jpg", '"c".jpg', "d.jpg")
    states, columns = np.array([1, -1, 1], np.int8), np.array([0, 1, 1])
    cells = ScoredCells(CLASSES, np.array([-2.5, 3.25, 4.0]), states, columns, names, np.array([0, 1, 2]))
    found = doubtful(cells)
    write_doubtful(tmp_path / "all.csv", cells, found)
    read = read_suggestions(tmp_path / "all.csv")
    for line, index, wrong in zip(read, found.order, found.probability, strict=True):
        assert (line.image, line.class_name) == (names[index], CLASSES[columns[index]])
        assert line.state == State(int(states[index]))
        assert line.probability == pytest.approx(wrong, abs=1e-6)
        assert (line.logit, line.rule) == (cells.logits[index], "doubtful")
    write_doubtful(tmp_path / "two.csv", cells, found, most=2, sources=np.full(3, Source.HUMAN))
    assert read_suggestions(tmp_path / "two.csv") == read[:2]
    lines = (tmp_path / "two.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "image,class,state,source,probability,logit,rule"
    assert [line.split(",")[-4] for line in lines[1:]] == ["human", "human"]
    assert (tmp_path / "all.csv").read_text(encoding="utf-8").splitlines()[1].split(",")[-4] == "import"
