"""How known cells came to be known: read from their counts."""

import numpy as np
import pytest

from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.recovery.design import BY_CHANCE, Design, design_of


def seen(known: np.ndarray) -> Design:
    rows, columns = np.nonzero(known)
    classes = tuple(f"class {number}" for number in range(known.shape[1]))
    states = np.ones(rows.size, np.int8)
    return design_of(ScoredCells(classes, np.zeros(rows.size), states, columns, (), rows), len(known))


@pytest.mark.parametrize(("images", "classes"), [(1000, 20), (300, 74), (60, 12), (25, 200)])
@pytest.mark.parametrize("rate", [0.005, 0.02, 0.1, 0.5, 0.9])
def test_cells_known_by_chance_are_not_flagged(images: int, classes: int, rate: float) -> None:
    random = np.random.default_rng([images, classes, int(1000 * rate)])
    flagged = [seen(random.random((images, classes)) < rate) != BY_CHANCE for _ in range(200)]
    assert sum(flagged) == 0


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.7])
def test_images_known_whole_are_flagged(rate: float) -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        known = np.broadcast_to(random.random((400, 1)) < rate, (400, 30))
        assert seen(known) == Design(by_image=True)


def test_half_the_cells_of_half_the_images_are_flagged() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        known = (random.random((400, 1)) < 0.5) & (random.random((400, 30)) < 0.5)
        assert seen(known) == Design(by_image=True)


def test_classes_known_at_rates_of_their_own_are_flagged() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        assert seen(random.random((400, 30)) < random.uniform(0.05, 0.6, 30)) == Design(by_class=True)


def test_images_of_rates_from_a_tenth_to_a_half_are_flagged() -> None:
    """Few images, and no more variation than about twelve standard errors."""
    random = np.random.default_rng(0)
    for _ in range(50):
        assert seen(random.random((200, 20)) < random.uniform(0.1, 0.5, (200, 1))) == Design(by_image=True)


def test_images_of_high_rates_are_flagged() -> None:
    """Counts near all cells vary little by chance, so that less variation shows the rates."""
    random = np.random.default_rng(0)
    for _ in range(50):
        rates = np.where(random.random((400, 1)) < 0.5, 0.75, 0.99)
        assert seen(random.random((400, 30)) < rates) == Design(by_image=True)


def test_both_are_flagged_together() -> None:
    random = np.random.default_rng(0)
    rates = np.linspace(0.05, 0.6, 30) * np.where(random.random((400, 1)) < 0.5, 1, 0.1)
    assert seen(random.random((400, 30)) < rates) == Design(by_image=True, by_class=True)


def test_images_without_any_known_cell_count() -> None:
    """All cells of half the images: the known ones alone look as if all were known."""
    assert seen(np.arange(200)[:, None] % 2 * np.ones((200, 10))) == Design(by_image=True)


def test_rates_that_differ_by_less_than_a_tenth_are_not_flagged() -> None:
    """However many cells show the difference."""
    random = np.random.default_rng(0)
    rates = 0.4 * (1 + np.tile([-0.05, 0.05], 10))
    assert seen(random.random((50_000, 20)) < rates) == BY_CHANCE
    assert seen(random.random((50_000, 20)) < 0.4 * (1 + np.tile([-0.2, 0.2], 10))) == Design(by_class=True)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (1, 1), (5, 1)])
def test_a_single_image_or_class_varies_from_no_other(shape: tuple[int, int]) -> None:
    assert seen(np.ones(shape)) == BY_CHANCE
    assert seen(np.zeros(shape)) == BY_CHANCE
