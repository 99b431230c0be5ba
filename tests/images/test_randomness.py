import random

import numpy as np
import pytest
import torch

from partlabel.images.randomness import item_randomness


def draw(*key: object) -> list[float]:
    with item_randomness(*key):  # type: ignore[arg-type]
        return torch.rand(4).tolist()


def test_the_same_key_draws_the_same_whatever_came_before():
    first = draw(0, 1, "a.jpg", "weak")
    torch.rand(17)
    assert draw(0, 1, "a.jpg", "weak") == first
    assert draw(np.int64(0), np.int64(1), "a.jpg", "weak") == first


def test_every_part_of_the_key_counts():
    keys = [
        *((0, 0, "a", "weak"), (1, 0, "a", "weak"), (0, 1, "a", "weak"), (0, 0, "b", "weak"), (0, 0, "a", "strong")),
        *((0, 11, "a", "w"), (0, 1, "1a", "w"), (0, 0, "a', 'b", "c"), (0, 0, "a", "b', 'c"), (0, 0, "é", "weak")),
    ]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_reference_draws():
    # Frozen: a change would break the resuming of runs and the caches of fixed views.
    assert draw(0, 0, "a.jpg", "weak") == [
        0.9835721254348755,
        0.40909695625305176,
        0.24755454063415527,
        0.8622417449951172,
    ]


def fail_inside() -> None:
    with item_randomness(0, 0, "a", "weak"):
        torch.rand(100)
        raise ZeroDivisionError


def test_generators_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(5).tolist()
    torch.manual_seed(3)
    python, numpy = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    got = torch.rand(2).tolist()
    draw(0, 0, "a", "weak")
    with pytest.raises(ZeroDivisionError):
        fail_inside()
    got += torch.rand(3).tolist()
    assert got == expected
    assert random.getstate() == python
    assert np.random.get_state()[1].tolist() == numpy  # noqa: NPY002
