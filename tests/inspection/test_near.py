import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from partlabel.inspection import near
from partlabel.inspection.near import Nearest, near_groups, nearest

# Few bits set around few centres, so that many pairs are near, some exactly, and zero is among them.
HASHES = st.lists(
    st.builds(
        lambda centre, flips: centre ^ sum(1 << bit for bit in flips),
        st.sampled_from([0, 2**64 - 1, 0x0F0F0F0F33335555]),
        st.sets(st.integers(0, 63), max_size=5),
    ),
    max_size=14,
)


def by_every_pair(first: list[int], second: list[int], most: int) -> list[Nearest]:
    expected = []
    for column, other in enumerate(second):
        found = [
            (bin(one ^ other).count("1"), row)
            for row, one in enumerate(first)
            if one and other and bin(one ^ other).count("1") <= most
        ]
        if found:
            distance, row = min(found)
            expected.append(Nearest(column, row, distance, len(found)))
    return expected


@given(HASHES, HASHES, st.integers(0, 16))
def test_nearest_by_loops(first: list[int], second: list[int], most: int):
    assert nearest(np.array(first, np.uint64), np.array(second, np.uint64), most) == by_every_pair(first, second, most)


def test_in_chunks_as_the_search_of_every_pair(monkeypatch):
    rng = np.random.default_rng(0)
    first = rng.integers(1, 2**63, 3000, dtype=np.uint64)
    second = rng.choice(first, 2000)
    for _ in range(4):
        second = second ^ (np.uint64(1) << rng.integers(0, 64, second.size).astype(np.uint64))
    differing = np.bitwise_count(first[:, None] ^ second[None])
    rows, columns = np.nonzero(differing <= 4)
    expected = set(zip(rows.tolist(), columns.tolist(), differing[rows, columns].tolist(), strict=True))
    for size in (1, 1000, 1 << 20):
        monkeypatch.setattr(near, "_CANDIDATES_AT_A_TIME", size)
        found = nearest(first, second, 4)
        assert {(entry.first, entry.second, entry.distance) for entry in found} <= expected
        assert sum(entry.alike for entry in found) == len(expected)
        assert {entry.second for entry in found} == {column for _, column, _ in expected}


def test_a_crowd_of_equal_images_is_one_entry_each():
    crowd = np.full(20_000, 0x0F0F0F0F33335555, np.uint64)
    found = nearest(crowd, crowd ^ np.uint64(1), 4)
    assert found == [Nearest(position, 0, 1, 20_000) for position in range(20_000)]


@given(st.integers(0, 5), st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_groups_are_chains_of_near_pairs(distance: int, seed: int, count: int) -> None:
    """By comparing every pair, and joining what is near until nothing changes."""
    generator = np.random.default_rng(seed)
    hashes = generator.integers(0, 2**63, count).astype(np.uint64)
    for place in range(1, count):
        if generator.random() < 0.5:  # a near copy of an earlier one, or a flat image
            flips = np.bitwise_xor.reduce([np.uint64(1) << np.uint64(bit) for bit in generator.integers(0, 64, 3)])
            hashes[place] = hashes[generator.integers(0, place)] ^ flips if generator.random() < 0.9 else 0
    group = list(range(count))
    for _ in range(count):
        for one in range(count):
            for other in range(count):
                near = (int(hashes[one]) ^ int(hashes[other])).bit_count() <= distance
                if near and hashes[one] and hashes[other]:
                    group[one] = group[other] = min(group[one], group[other])
    found = near_groups(hashes, distance).tolist()
    for one in range(count):
        alone = hashes[one] == 0 or group.count(group[one]) == 1
        assert (found[one] == -1) == alone
        for other in range(count):
            if not alone and hashes[other]:
                assert (found[one] == found[other]) == (group[one] == group[other])
