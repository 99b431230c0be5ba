"""Numbers of a paper beside ours."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from partlabel.errors import UsageError
from partlabel.grids.beside import beside_csv, beside_section
from partlabel.grids.cell import Cell, Record
from partlabel.grids.grid import Grid, read_grid
from partlabel.grids.summary import Results

HEAD = "table,row,data,masking,measure,value,convention,selection,note\n"
NUMBERS = HEAD + (
    "7,Partial BCE,Squares 07,10 % known,mAP,50.0,raw,unknown,\n"
    "7,Partial BCE,Squares 07,90 % known,mAP,60.0,raw,unknown,\n"
    "7,Partial BCE,Squares 07,average,mAP,55.0,raw,unknown,\n"
    "7,ours,Squares 07,10 % known,mAP,52.0,voc12,best epoch on test,\n"
    "7,ours,Squares 07,10 % known,OF1,44.25,,unknown,\n"
    "7,A | rival,Squares 07,10 % known,mAP,70.0,unknown,unknown,\n"
    "8,Partial BCE,Squares 07,10 % known,mAP,1.0,raw,unknown,\n"
)
GRID = """
seeds = [0, 1]
measures = ["mAP voc12"]

[published]
file = "paper.csv"
table = "7"
rows = { bce = "Partial BCE" }
data = { squares = "Squares 07" }

[data.squares]
train = "train.csv"
test = "test.csv"
images = "images"

[masking."10 % known"]
name = "known_ratio"
ratio = 0.1

[masking."90 % known"]
name = "known_ratio"
ratio = 0.9

[method.bce]
lr = 0.01

[method.ours]
method = "saliency"
lr = 0.01
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Grid]:
    def write(*replacements: tuple[str, str], numbers: str = NUMBERS) -> Grid:
        text = GRID
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "paper.csv").write_text(numbers)
        (tmp_path / "grid.toml").write_text(text)
        return read_grid(tmp_path / "grid.toml")

    return write


def results(grid: Grid, record: Callable[..., Record]) -> Results:
    """Raw mAP .5 and .6 at 10 %, .7 and .8 at 90 % for bce; .4 for ours at 10 %, where voc12 is another number."""
    cells = {
        Cell("squares", masking, "bce", seed): record(value + 0.1 * seed)
        for masking, value in (("10 % known", 0.5), ("90 % known", 0.7))
        for seed in (0, 1)
    }
    other = record(0.4)
    other["test"]["mAP"]["voc12"] = 0.45
    return Results(grid, {**cells, Cell("squares", "10 % known", "ours", 0): other})


def test_ours_stand_beside_the_numbers_of_the_paper(read: Callable[..., Grid], record: Callable[..., Record]) -> None:
    text = "\n".join(beside_section(results(read(), record)))
    assert "table 7 of paper.csv" in text
    start = "| bce (Partial BCE) | Squares 07"
    assert f"{start} | 10 % known | mAP | 55.0 ± 7.1 (n = 2) | 50.0 | +5.0 | raw | unknown |" in text
    assert f"{start} | 90 % known | mAP | 75.0 ± 7.1 (n = 2) | 60.0 | +15.0 | raw | unknown |" in text
    assert f"{start} | average | mAP | 65.0 ± 7.1 (n = 2) | 55.0 | +10.0 | raw | unknown |" in text
    assert "| ours | Squares 07 | 10 % known | mAP voc12 | 45.0 (n = 1) | 52.0 | -7.0 | voc12 | best epoch" in text
    assert "| ours | Squares 07 | 10 % known | OF1 | 20.0 (n = 1) | 44.25 | -24.2 | - | unknown |" in text
    assert "| A \\| rival | Squares 07 | mAP | unknown | — | 70.0 |" in text.split("### Rows of the paper without")[1]
    assert "1.0 |" not in text.split("\n| bce")[0]  # nothing of table 8


def test_two_rows_may_stand_for_one_of_the_paper(read: Callable[..., Grid], record: Callable[..., Record]) -> None:
    grid = read(('rows = { bce = "Partial BCE" }', 'rows = { bce = "Partial BCE", ours = "Partial BCE" }'))
    text = "\n".join(beside_section(results(grid, record)))
    assert "| bce (Partial BCE) | Squares 07 | 10 % known | mAP | 55.0 ± 7.1 (n = 2) | 50.0 | +5.0 |" in text
    assert "| ours (Partial BCE) | Squares 07 | 10 % known | mAP | 40.0 (n = 1) | 50.0 | -10.0 |" in text
    assert "| ours | Squares 07 | mAP | voc12 | — | 52.0 |" in text  # the paper's own row of that name has none now


def test_a_row_that_is_not_run_yet_has_no_difference(read: Callable[..., Grid]) -> None:
    text = "\n".join(beside_section(Results(read(), {})))
    assert "| bce (Partial BCE) | Squares 07 | 10 % known | mAP | - | 50.0 | - | raw | unknown |" in text


def test_an_average_needs_every_masking_that_the_paper_averages(
    read: Callable[..., Grid], record: Callable[..., Record]
) -> None:
    numbers = NUMBERS.replace("7,ours", "7,Partial BCE,Squares 07,50 % known,mAP,57.0,raw,unknown,\n7,ours", 1)
    text = "\n".join(beside_section(results(read(numbers=numbers), record)))
    assert "| average | mAP | - | 55.0 | - |" in text
    alone = HEAD + "7,Partial BCE,Squares 07,average,mAP,55.0,raw,unknown,\n"
    assert "| average | mAP | 65.0 ± 7.1 (n = 2) | 55.0 |" in "\n".join(
        beside_section(results(read(numbers=alone), record))
    )


def test_the_csv_holds_every_printed_number(read: Callable[..., Grid], record: Callable[..., Record]) -> None:
    lines = list(csv.DictReader(io.StringIO(beside_csv(results(read(), record)))))
    assert [line["row"] for line in lines] == ["Partial BCE"] * 3 + ["ours"] * 2 + ["A | rival"]
    assert float(lines[0]["ours"]) == pytest.approx(0.55)
    assert float(lines[0]["difference"]) == pytest.approx(5.0)
    assert (lines[0]["our_row"], lines[0]["our_measure"], lines[0]["n"]) == ("bce", "mAP", "2")
    assert (lines[5]["our_row"], lines[5]["ours"], lines[5]["difference"]) == ("", "", "")
    # a convention that nobody knows is compared with the first mAP of the grid
    assert lines[5]["our_measure"] == "mAP voc12"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('table = "7"', 'table = "9"', "has no table '9'; it has 7, 8"),
        ('bce = "Partial BCE"', 'bec = "Partial BCE"', "published.rows: the grid has no 'bec'; it has bce, ours"),
        ('bce = "Partial BCE"', 'bce = "BCE"', "has no 'BCE'; it has Partial BCE, ours, A | rival"),
        ('data = { squares = "Squares 07" }', "", 'such as "squares" = "Squares 07"'),
        ("paper.csv", "papers.csv", "cannot be read"),
    ],
)
def test_names_that_are_in_neither(read: Callable[..., Grid], old: str, new: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=r"grid.toml: published") as caught:
        read((old, new))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ("table,row\n", "does not have the columns table,row"),
        (HEAD + "7,a\n", "line 2: 2 fields instead of 9"),
        (NUMBERS.replace("50.0", "fifty"), "line 2: value 'fifty' is no number from 0 to 100"),
        (NUMBERS.replace("60.0", "6000"), "line 3: value '6000' is no number from 0 to 100"),
        (NUMBERS.replace("60.0", "nan"), "line 3: value 'nan' is no number from 0 to 100"),
        (NUMBERS.replace("44.25,,", "44.25,coco,"), "line 6: convention 'coco' is not one of raw, voc12, unknown"),
        (NUMBERS.replace(",OF1,", ",of1,"), "line 6: no measure 'of1'; did you mean 'OF1'?"),
        (NUMBERS + NUMBERS.splitlines()[1], "line 9: the same number stands on a line before"),
        ("\0".join(HEAD), "does not have the columns"),
    ],
)
def test_a_file_that_is_no_list_of_numbers(read: Callable[..., Grid], numbers: str, said: str) -> None:
    with pytest.raises(UsageError, match=rf"grid\.toml: published: .*paper\.csv.*{said}"):
        read(numbers=numbers)


def test_a_byte_order_mark_and_a_count_are_read(read: Callable[..., Grid]) -> None:
    found = read(numbers="\ufeff" + NUMBERS + "7,ours,Squares 07,10 % known,known absent cells,1234567,,unknown,\n")
    assert found.published is not None
    assert found.published.numbers[-1].value == 1_234_567
    with pytest.raises(UsageError, match=r"value 'inf' is no number$"):
        read(numbers=NUMBERS + "7,ours,Squares 07,10 % known,known absent cells,inf,,unknown,\n")


def test_a_file_in_another_encoding(read: Callable[..., Grid], tmp_path: Path) -> None:
    read()
    (tmp_path / "paper.csv").write_bytes((HEAD + "7,B\xe4r,Squares 07,10 % known,mAP,1,raw,,\n").encode("latin-1"))
    with pytest.raises(UsageError, match=r"paper\.csv is no CSV in UTF-8"):
        read_grid(tmp_path / "grid.toml")


def test_a_grid_without_a_paper_has_no_such_part(read: Callable[..., Grid]) -> None:
    text = GRID[GRID.index("[published]") : GRID.index("[data.")]
    assert beside_section(Results(read((text, "")), {})) == []
