"""The grids of the papers: each can be read, names data sets that exist, runs in small, and is in docs/papers.md."""

import re
import tomllib
from pathlib import Path

import pytest

from partlabel.api.bench import bench
from partlabel.datasets.spec import parse
from partlabel.grids.beside import pairs
from partlabel.grids.forecast import costs
from partlabel.grids.grid import Grid, read_grid
from partlabel.grids.schema import LabelFiles
from partlabel.grids.summary import Results

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "benchmarks" / "papers").glob("*.toml"))
DOCS = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
ASSUMED_SPEED = {448: 200, 224: 800}
"""Images a second by their size, as docs/papers.md states."""
UNSOURCED = {"holdout", "workers"}
"""Settings whose reason docs/papers.md gives for all grids."""
FIRST = {file.stem.partition("_")[0]: file for file in reversed(FILES)}
"""One grid of each paper; the others are run in small by `make long`."""
SOME_IN_SMALL = [pytest.param(one, marks=[] if one in FIRST.values() else pytest.mark.long) for one in FILES]
each_file = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable of the grids names a folder that is there, or a file of vectors that is not."""
    for name in {name for file in FILES for name in re.findall(r"\$\{(\w+)\}", file.read_text(encoding="utf-8"))}:
        monkeypatch.setenv(name, str(tmp_path / "glove.txt" if name == "PARTLABEL_GLOVE" else tmp_path))


@each_file
def test_settings_hold_for_every_cell_and_data_sets_exist(file: Path) -> None:
    grid = read_grid(file)
    for entry in grid.data.values():
        assert isinstance(entry, LabelFiles)
        for text in (entry.train, entry.test):
            assert parse(text) is not None, text
    assert all(row.holdout == 0 for row in (*grid.rows.values(), *grid.starts.values()))


@each_file
def test_the_head_names_the_file_and_the_variables(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    command = f"partlabel bench benchmarks/papers/{file.stem}.toml --out runs/{file.stem}"
    said = " ".join(line for line in text.splitlines() if line.startswith("#"))
    assert command in said
    for name in set(re.findall(r"\$\{(\w+)\}", text)):
        assert f"{name}=" in said


@each_file
def test_every_setting_of_all_trainings_has_a_source(file: Path) -> None:
    section = file.read_text(encoding="utf-8").split("\n[settings]\n")[1].split("\n[")[0]
    for line in section.strip().splitlines():
        if line.split(" = ")[0] not in UNSOURCED:
            assert re.search(r"\[(paper|code|ours)\]|published|fixed features", line), line


@each_file
def test_printed_rows_are_compared(file: Path) -> None:
    grid = read_grid(file)
    if grid.published is None:
        assert re.search(r"figure|ablations", file.stem)
        return
    names = tomllib.loads(file.read_text(encoding="utf-8"))["published"].get("rows", {})
    found = pairs(Results(grid, {}), grid.published)
    matched = {pair.label for pair in found if pair.label is not None}
    assert matched >= set(names)
    assert matched >= set(grid.rows) & {pair.number.row for pair in found}
    assert {pair.number.data for pair in found if pair.label} == set(grid.published.data.values())
    compared = {pair.number.masking for pair in found if pair.label} - {"average"}
    assert compared <= set(grid.maskings)
    if compared:
        assert compared == set(grid.maskings)


def table_of_docs() -> list[str]:
    lines = ["| grid | what | trainings | steps | hours |", "|---|---|---:|---:|---:|"]
    for file in FILES:
        grid = read_grid(file, fill=False)
        lines.append(f"| `{file.name}` | {grid.title} | {_trainings(grid)} | {' | '.join(_estimate(grid))} |")
    return lines


def _trainings(grid: Grid) -> int:
    return sum(one.trainings for one in costs(grid))


def _estimate(grid: Grid) -> tuple[str, str]:
    found = costs(grid)
    if any(one.images is None for one in found):
        return "-", "-"
    hours = 0.0
    for one in found:
        row = grid.row_of(one.data, next(iter(grid.maskings)), next(iter(grid.rows)))
        hours += one.passes / ASSUMED_SPEED[row.settings["size"]] / 3600
    return f"{sum(one.steps for one in found):,}", f"{hours:,.0f}" if hours >= 1 else f"{hours:.1f}"


def test_the_page_lists_every_grid_with_its_cost() -> None:
    assert "\n".join(table_of_docs()) in DOCS


def test_the_page_names_every_variable() -> None:
    for file in FILES:
        for name in re.findall(r"\$\{(\w+)\}", file.read_text(encoding="utf-8")):
            assert f"`{name}`" in DOCS


@pytest.mark.slow
@pytest.mark.parametrize("file", SOME_IN_SMALL, ids=lambda file: file.stem)
def test_every_row_runs_in_small(file: Path, tmp_path: Path) -> None:
    outcome = bench(file, out=tmp_path / "out", small=True)
    grid = read_grid(file, tiny=True)
    assert (outcome.failed, outcome.misfits) == ({}, {})
    assert outcome.done == len(grid.rows) + len(grid.starts)
    text = outcome.table.read_text(encoding="utf-8")
    assert text.startswith("# SMALL TRIAL, its numbers mean nothing: ")
    if grid.published is not None:
        assert "## Beside the paper" in text
    assert (tmp_path / "out" / "recognised.png").is_file() == (grid.recognised is not None)
