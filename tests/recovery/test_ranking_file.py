"""Unknown cells in an order, as a file that review and the readers of labels take for what it is."""

from pathlib import Path

import numpy as np

import partlabel
from partlabel.labels import LabelTable, Source
from partlabel.recovery.ranking_file import ranking, write_rankings

TABLE = LabelTable.from_cells(
    ["a.jpg", "b,c.jpg", "=d.jpg", "e.jpg", "f.jpg"],
    ["cat", "dog"],
    [0, 3, 4],
    [1, 1, 1],
    [1, 0, -1],
    [Source.HUMAN, Source.UNSURE, Source.HUMAN],
)
SCORES = np.array([9.0, -1.5, 2.0, 8.0, 7.0])


def test_known_and_unsure_cells_are_not_asked_and_equal_ones_keep_their_order() -> None:
    assert ranking(TABLE, "dog", SCORES, 10).images == ("=d.jpg", "b,c.jpg")
    found = ranking(TABLE, "cat", np.array([1.0, 2, 1, 2, 0]), 3)
    assert found.images == ("b,c.jpg", "e.jpg", "a.jpg")
    assert found.scores.tolist() == [2, 2, 1]


def test_of_many_equal_scores_none_changes_its_place() -> None:
    names = [f"{number:03d}.jpg" for number in range(100)]
    table = LabelTable.from_cells(names, ["cat"], [], [], [])
    assert ranking(table, "cat", np.arange(100.0) // 50, 60).images == (*names[50:], *names[:10])


def test_a_file_says_no_probability_and_changes_no_table(tmp_path: Path) -> None:
    path = tmp_path / "queue.csv"
    write_rankings(path, [ranking(TABLE, name, SCORES, 2) for name in ("dog", "cat")])
    assert path.read_text().splitlines() == [
        "image,class,state,probability,score",
        "'=d.jpg,dog,unknown,,2",
        '"b,c.jpg",dog,unknown,,-1.5',
        "a.jpg,cat,unknown,,9",
        "e.jpg,cat,unknown,,8",
    ]
    assert partlabel.merge(TABLE, path).hash == TABLE.hash
