"""The keyed hash against a plain-integer implementation, frozen numbers, and its statistics."""

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partlabel.errors import UsageError
from partlabel.masking.keyed import CellHash, below, name_words, ranks_within

NAME = st.text(st.characters(codec="utf-8"), min_size=1)
IMAGES, CLASSES = ["a.jpg", "été/ü.png"], ["cat", "traffic light", "狗"]


def _finalise(word: int) -> int:
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return word ^ (word >> 31)


def _cell(image: str, class_name: str, seed: int, purpose: str) -> int:
    def word(kind: str, name: str) -> int:
        message = f"{purpose}/{kind}".encode() + b"\0" + name.encode()
        return int.from_bytes(
            hashlib.blake2b(message, digest_size=8, key=seed.to_bytes(8, "little")).digest(), "little"
        )

    first, second = word("image", image), word("class", class_name)
    return _finalise((_finalise(first ^ second) + second) % 2**64)


def _all(seed: int, purpose: str, images: list[str] = IMAGES, classes: list[str] = CLASSES) -> np.ndarray:
    hashes = CellHash.of(images, classes, seed=seed, purpose=purpose)
    return hashes.at(np.arange(len(images))[:, None], np.arange(len(classes))[None, :])


def test_golden_numbers_never_change():
    assert [hex(value) for value in _all(7, "masking/known_ratio").ravel()] == [
        "0x4dcc17d0108ff4d6",
        "0x64aa404cc6caebe8",
        "0x4ab378adc6545ae1",
        "0x4ed9735408ecdf1f",
        "0x5bedbb52afb0fe62",
        "0x3a4f7040f441e2e8",
    ]


@given(NAME, NAME, st.integers(0, 2**64 - 1))
def test_matches_plain_integers(image: str, class_name: str, seed: int):
    assert int(_all(seed, "p", [image], [class_name])[0, 0]) == _cell(image, class_name, seed, "p")


def test_seed_and_purpose_each_give_other_numbers():
    base = _all(0, "p")
    assert not (base == _all(1, "p")).any()
    assert not (base == _all(0, "q")).any()


def test_an_image_named_like_a_class_shares_no_word():
    assert name_words(["cat"], "image", 0) != name_words(["cat"], "class", 0)


@given(st.floats(0, 1), st.integers(0, 2**64 - 1))
def test_below_is_exact(ratio: float, value: int):
    assert below(np.array([value], np.uint64), ratio)[0] == (value < Fraction(ratio) * 2**64 // 1)


@pytest.mark.parametrize(
    ("ratio", "value", "expected"),
    [
        (1.0, 2**64 - 1, True),
        (0.0, 0, False),
        (0.5, 2**63 - 1, True),
        (0.5, 2**63, False),
        (2.0**-64, 0, True),
        (2.0**-65, 0, False),
    ],
)
def test_below_at_the_edges(ratio: float, value: int, expected: bool):
    assert below(np.array([value], np.uint64), ratio)[0] == expected


def test_numbers_are_uniform_and_independent_over_cells():
    images, classes = [f"{i:06d}.jpg" for i in range(2000)], [f"class {i}" for i in range(60)]
    hashes = _all(3, "p", images, classes)
    known = below(hashes, 0.2).astype(float)
    n = known.size
    assert abs(known.mean() - 0.2) < 4 * np.sqrt(0.16 / n)
    counts = np.bincount((hashes >> np.uint64(58)).astype(int).ravel(), minlength=64)
    chi_square = ((counts - n / 64) ** 2 / (n / 64)).sum()
    assert chi_square < 63 + 5 * np.sqrt(2 * 63)
    # Rows share class words and columns share image words: neither may correlate.
    for matrix in (known, known.T):
        correlation = np.corrcoef(matrix.T)
        np.fill_diagonal(correlation, 0)
        assert np.abs(correlation).max() < 6 / np.sqrt(matrix.shape[0])


def test_bits_are_balanced():
    hashes = _all(11, "p", [str(i) for i in range(1000)], [str(i) for i in range(50)]).ravel()
    for bit in range(64):
        share = ((hashes >> np.uint64(bit)) & np.uint64(1)).mean()
        assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(hashes.size)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2**64 - 1)), unique=True, max_size=40))
def test_ranks_match_a_loop(pairs: list[tuple[int, int]]):
    groups = np.array([group for group, _ in pairs], np.int64)
    hashes = np.array([value for _, value in pairs], np.uint64)
    expected = [sum(other < value for g, other in pairs if g == group) for group, value in pairs]
    assert ranks_within(groups, hashes).tolist() == expected


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", None])
def test_wrong_seeds_are_refused(seed: object):
    with pytest.raises(UsageError, match="seed"):
        name_words(["a"], "image", seed)  # type: ignore[arg-type]
