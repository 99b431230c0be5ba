"""Which labels of a few test images each method recognises: ranks in the records of cells, and the figure of them."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import partlabel
from partlabel.errors import UsageError
from partlabel.grids.cell import Cell, Record
from partlabel.grids.grid import Grid, read_grid
from partlabel.grids.recognised import ranks_of, shown_images
from partlabel.grids.recognised_plot import blocks_of, recognised_plot
from partlabel.grids.summary import Results

ASKED = "seeds = [0]\nrecognised = { images = 2, top = 1 }"


def among_the_highest(logits: list[float], column: int, k: int) -> bool:
    """By hand: take the highest k times, of equal ones the first."""
    left = dict(enumerate(logits))
    for _ in range(k):
        best = None
        for place in sorted(left):
            if best is None or left[place] > left[best]:
                best = place
        if best == column:
            return True
        if best is not None:
            del left[best]
    return False


def test_among_the_highest_with_ties() -> None:
    logits = np.random.default_rng(0).integers(-2, 3, (30, 7)).astype(np.float32)  # many are equal
    ranks = ranks_of(logits)
    for k in (1, 3, 6, 7):
        for row, mine in zip(logits, ranks, strict=True):
            expected = [among_the_highest(row.tolist(), column, k) for column in range(7)]
            assert (mine <= k).tolist() == expected
            assert sum(expected) == k


def test_the_first_images_with_a_present_label_are_shown() -> None:
    states = [[0, -1], [1, 0], [-1, -1], [-1, 1], [1, 1]]
    table = partlabel.LabelTable.from_dense([f"{number}.png" for number in range(5)], ["a", "b"], states)
    assert shown_images(table, 2).tolist() == [1, 3]
    assert shown_images(table, 9).tolist() == [1, 3, 4]


def test_labels_that_fewest_recognise_come_first() -> None:
    ranks = {
        "a": {"x": {"cat": 1, "dog": 3, "arm": 4, "cup": 2}, "y": {"dog": 2}, "z": {"cat": 1}},
        "b": {"x": {"cat": 2, "dog": 3, "arm": 1, "cup": 5}, "z": {"cat": 9}},
    }
    first, second = blocks_of(ranks, 5, 2)
    assert (first.image, second.image) == ("x", "z")
    assert first.labels == [("dog", set()), ("arm", {"b"}), ("cup", {"a"}), ("cat", {"a", "b"})]
    assert second.labels == [("cat", {"a"})]
    assert [block.image for block in blocks_of(ranks, 1, 2)] == ["x"]
    assert blocks_of({}, 5, 2) == []


def test_drawn_for_the_methods_with_ranks(
    bare_grid: Callable[..., Grid], record: Callable[..., Record], tmp_path: Path
) -> None:
    Image.new("RGB", (30, 20), (250, 0, 250)).save(tmp_path / "x.png")
    ranks = {"a": {"x.png": {"cat": 1, "dog": 5}}, "b": {"x.png": {"cat": 1, "dog": 1}}}
    grid = bare_grid(["a", "b", "c"], top="seeds = [0, 1]\nrecognised = { images = 3, top = 2 }")

    def drawn(grid: Grid, **ranks: dict[str, dict[str, int]]) -> np.ndarray | None:
        records = {
            Cell("squares", "half", method, 0): record(0.5, present_ranks=mine) for method, mine in ranks.items()
        }
        records[Cell("squares", "half", "c", 0)] = record(0.5)  # run before the grid asked
        records[Cell("squares", "half", "a", 1)] = record(0.5, present_ranks={"x.png": {"cat": 9, "dog": 9}})
        content = recognised_plot(Results(grid, records), {"squares": tmp_path})
        return None if content is None else np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), int)

    def marks(pixels: np.ndarray | None, colour: tuple[int, int, int]) -> int:
        """Number of pixels of a colour above the legend."""
        assert pixels is not None
        return int((np.abs(pixels[: len(pixels) * 2 // 3] - colour).sum(-1) < 12).sum())

    blue, orange, pink = (0, 0x72, 0xB2), (0xD5, 0x5E, 0), (250, 0, 250)
    both = drawn(grid, **ranks)
    assert marks(both, pink) > 10_000  # the image, 180 × 120 dots
    one, two = marks(both, blue), marks(both, orange)  # a circle for a label of a, a square for both of b
    assert one > 20
    assert two > 1.5 * one
    assert marks(drawn(grid, a=ranks["a"], b={"x.png": {"cat": 3, "dog": 9}}), orange) == 0
    assert marks(drawn(grid, a=ranks["a"]), blue) == one
    assert drawn(grid) is None
    assert drawn(bare_grid(["a", "b", "c"]), **ranks) is None


@pytest.mark.parametrize("entry", ["{ images = 0, top = 5 }", "{ images = 3 }", "{ images = 3, top = 5, seed = 1 }"])
def test_settings_are_checked(write_grid: Callable[..., Path], entry: str) -> None:
    with pytest.raises(UsageError, match="recognised"):
        read_grid(write_grid(("seeds = [0, 1]", f"seeds = [0]\nrecognised = {entry}")))


@pytest.mark.slow
def test_a_grid_draws_shares_gains_and_labels_from_what_it_ran(
    write_grid: Callable[..., Path], squares: Path, tmp_path: Path
) -> None:
    maskings = "".join(f'[masking."{share}"]\nname = "known_ratio"\nratio = {share}\n\n' for share in (0.3, 0.6, 1))
    path = write_grid(
        ("seeds = [0, 1]", f'baseline = "bce"\nkeep_runs = true\n{ASKED}'),
        ('[masking.half]\nname = "known_ratio"\nratio = 0.5\n', maskings),
        ("lr = [0.001, 0.01]", "lr = 0.01"),
        ("checkpoint_every = 1\n", ""),
        ('method = "saliency"\npseudo = "none"', 'method = "asl"'),
    )
    outcome = partlabel.bench(path, out=tmp_path / "out")
    assert (outcome.failed, outcome.done) == ({}, 6)
    text = outcome.table.read_text()
    for name in ("share-mAP.png", "recognised.png"):
        assert name in text
        with Image.open(tmp_path / "out" / name) as opened:
            assert opened.format == "PNG"
            assert len(set(opened.convert("RGB").get_flattened_data())) > 20
    with (tmp_path / "test.csv").open() as stream:
        truth = {row.pop("image"): row for row in csv.DictReader(stream)}
    expected = [image for image, row in truth.items() if "1" in row.values()][:2]
    for cell in sorted((tmp_path / "out" / "cells").glob("*--0.6--*/cell.json")):
        found = json.loads(cell.read_text())["present_ranks"]
        assert [*found] == expected
        run = tmp_path / "out" / "runs" / cell.parent.name
        table = partlabel.predict(run, [squares / "images" / image for image in expected]).to_pylist()
        for image in expected:
            logits = {row["class"]: row["logit"] for row in table if Path(row["image"]).name == image}
            assert found[image].keys() == {name for name, state in truth[image].items() if state == "1"}
            for name, rank in found[image].items():
                assert rank == 1 + sum(other > logits[name] for other in logits.values())
