"""In which orders the cells of a file are asked."""

from pathlib import Path

from partlabel.progress import SILENT
from partlabel.reviewing.queues import Asked, Wanted, asked_of, queue_list
from partlabel.reviewing.source import open_subject

LINES = ["b.jpg,sea,unknown,,", "a.jpg,sky,unknown,,", "a.jpg,sea,unknown,,", "b.jpg,sky,unknown,,"]
IN_LINE = [("b.jpg", "sea"), ("a.jpg", "sky"), ("a.jpg", "sea"), ("b.jpg", "sky")]


def _asked(folder: Path, lines: list[str], learns: bool = False, table: Path | None = None) -> Asked:
    path = folder / "queue.csv"
    path.write_text("\n".join(["image,class,state,probability,rule", *lines]) + "\n")
    return asked_of(open_subject(path, table, folder, SILENT, {})[0], learns)


def _names(asked: Asked, queue: str) -> list[tuple[str, str]]:
    rows, columns = divmod(asked.page(Wanted(queue), 0, 100).cells, asked.classes)
    subject = asked.subject
    return [(subject.images[row], subject.classes[column]) for row, column in zip(rows, columns, strict=True)]


def test_a_list_without_probabilities_is_asked_in_its_order(tmp_path: Path) -> None:
    asked = _asked(tmp_path, LINES)
    assert queue_list(asked) == [{"id": "file", "name": "in the order of the file"}]
    assert _names(asked, "file") == IN_LINE


def test_one_probability_is_enough_for_the_orders_by_it(tmp_path: Path) -> None:
    asked = _asked(tmp_path, [*LINES[:2], "a.jpg,sea,present,0.7,", LINES[3]])
    assert asked.queues == ("probability", "unsure_first")
    assert _names(asked, "probability") == [IN_LINE[2], *IN_LINE[:2], IN_LINE[3]]


def test_the_probability_of_another_kind_of_line_counts_for_nothing(tmp_path: Path) -> None:
    asked = _asked(tmp_path, [*LINES[:3], "b.jpg,sky,present,0.7,doubtful"])
    assert asked.queues == ("file", "doubtful")
    assert _names(asked, "file") == IN_LINE[:3]


def test_a_model_that_learns_brings_the_orders_by_probability(tmp_path: Path) -> None:
    asked = _asked(tmp_path, LINES, learns=True)
    assert asked.queues == ("file", "probability", "unsure_first", "value")
    assert _names(asked, "value") == IN_LINE


def test_a_list_with_nothing_left_to_ask_has_one_queue(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("image,class,state\nb.jpg,sea,absent\na.jpg,sky,present\n")
    assert _asked(tmp_path, LINES[:2], table=table).queues == ("file",)
