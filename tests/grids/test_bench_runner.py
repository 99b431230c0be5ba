import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from partlabel.api.bench import bench
from partlabel.api.evaluate import evaluate
from partlabel.api.hide import hide
from partlabel.api.train import resume, train
from partlabel.cli.app import app
from partlabel.errors import Interrupted, LabelError, StorageError, UsageError
from partlabel.grids.cell import Cell
from partlabel.grids.data import Loaded
from partlabel.grids.grid import read_grid
from partlabel.grids.one_cell import Verbs
from partlabel.grids.plan import Plan, Settled, Waiting, make_plan
from partlabel.grids.runner import Worker, opened
from partlabel.labels import LabelTable, Source
from partlabel.progress import Tick
from partlabel.runs.folder import RunFolder

pytestmark = pytest.mark.slow

Write = Callable[..., Path]
CODES = "1=present,0=absent"
SALIENCY_0, SALIENCY_1 = "squares--half--saliency-no-cr--seed0", "squares--half--saliency-no-cr--seed1"
BCE_0, BCE_1 = "squares--half--bce--seed0", "squares--half--bce--seed1"


class Lines:
    """A reporter that keeps what is said, and presses Ctrl-C where it is told to."""

    def __init__(self, interrupt_at: str = "") -> None:
        self.said: list[str] = []
        self.interrupt_at = interrupt_at

    def say(self, text: str) -> None:
        self.said.append(text)
        if self.interrupt_at and self.interrupt_at in text:
            signal.raise_signal(signal.SIGINT)

    @contextmanager
    def track(self, what: str) -> Iterator[Tick]:
        yield lambda done, total: None

    def cells(self) -> int:
        return sum(line.startswith("cell ") for line in self.said)


@pytest.fixture(scope="module")
def finished(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The output folder of the whole grid; filled by the first test that needs it."""
    return {"out": tmp_path_factory.mktemp("finished") / "out"}


@pytest.fixture
def out(finished: dict[str, Path], write_grid: Write, tmp_path: Path) -> Path:
    """A copy of what an uninterrupted run of the grid leaves."""
    grid = write_grid()
    if not finished["out"].exists():
        outcome = bench(grid, out=finished["out"])
        assert (outcome.table, outcome.done, outcome.failed) == (finished["out"] / "table.md", 4, {})
        assert outcome.misfits == {}
    return Path(shutil.copytree(finished["out"], tmp_path / "out"))


def record(out: Path, cell: str) -> dict[str, Any]:
    return json.loads((out / "cells" / cell / "cell.json").read_text())


def tables(out: Path) -> tuple[bytes, bytes]:
    return (out / "table.md").read_bytes(), (out / "table.csv").read_bytes()


def test_a_cell_is_what_the_verbs_give_one_by_one(out: Path, squares: Path, tmp_path: Path) -> None:
    masked = hide(squares / "train.csv", masking="known_ratio", seed=1, ratio=0.5, read={"codes": CODES})
    lr = record(out, BCE_0)["lr"]
    run = train(
        masked,
        images=squares / "images",
        out=tmp_path / "run",
        method="bce",
        lr=lr,
        seed=1,
        backbone="test_resnet",
        pretrained=False,
        size=32,
        epochs=1,
        batch_size=16,
        holdout=0.3,
    )
    judged = evaluate(run, squares / "test.csv", images=squares / "images", read={"codes": CODES})
    cell = record(out, BCE_1)
    assert cell["test"] == judged.to_json()
    assert cell["labels"]["masked"] == masked.hash
    assert cell["held_out"] == run.info["held_out"]
    assert (cell["status"], cell["lr"], cell["seed"], cell["thresholds"]) == ("done", lr, 1, "held_out")


def test_learning_rate_is_the_best_of_the_first_seed_and_serves_all(out: Path) -> None:
    first, second = record(out, BCE_0), record(out, BCE_1)
    found = first["found_lr"]
    assert list(found) == ["0.001", "0.01"]
    assert first["lr"] == second["lr"] == float(max(found, key=lambda rate: found[rate]))
    assert second["found_lr"] is None
    assert first["settings"]["lr"] == first["lr"]
    assert first["held_out"]["mAP"] == max(found.values())


def test_weights_are_shed_and_small_files_stay(out: Path) -> None:
    kept = {path.name for path in (out / "runs").rglob("*") if path.is_file()}
    assert kept == {"config.json", "run.json", "log.csv", "held_out.parquet", "evaluation.json"}


def test_costs_are_measured_and_stand_apart(out: Path) -> None:
    for cell in (BCE_0, SALIENCY_1):
        cost = record(out, cell)["cost"]
        assert 0 < cost["seconds"] < 600
        assert 50 < cost["memory_mb"] < 20_000
        assert cost["resumed"] is False
        assert (cost["gpu_memory_mb"] is None) is not torch.cuda.is_available()
    assert re.search(r"\| bce \| 2 \| [\d.]+ \| [\d.]+ \| [\d,]+ \| ", (out / "costs.md").read_text())
    assert "seconds" not in (out / "table.md").read_text()


def test_table_averages_the_cells(out: Path) -> None:
    values = [100 * record(out, cell)["test"]["mAP"]["raw"] for cell in (BCE_0, BCE_1)]
    expected = f"| bce | {np.mean(values):.1f} ± {np.std(values, ddof=1):.1f} |"
    assert expected in (out / "table.md").read_text()


def test_nothing_is_run_twice(out: Path, write_grid: Write) -> None:
    before, lines = tables(out), Lines()
    written = (out / "cells" / BCE_0 / "cell.json").stat().st_mtime_ns
    outcome = bench(write_grid(), out=out, reporter=lines)
    assert (outcome.done, lines.said) == (4, [])
    assert tables(out) == before
    assert (out / "cells" / BCE_0 / "cell.json").stat().st_mtime_ns == written


def test_a_changed_entry_is_run_anew_and_no_other(out: Path, write_grid: Write) -> None:
    other = {cell: record(out, cell) for cell in (BCE_0, BCE_1)}
    lines = Lines()
    bench(write_grid(("lr = 0.003", "lr = 0.03")), out=out, reporter=lines)
    assert lines.cells() == 2
    said = [line for line in lines.said if "the grid or the labels have changed since it was run" in line]
    assert [line.split(":")[0] for line in said] == [
        f"squares / half / saliency, no CR / seed {seed}" for seed in (0, 1)
    ]
    assert record(out, SALIENCY_1)["lr"] == 0.03
    assert {cell: record(out, cell) for cell in (BCE_0, BCE_1)} == other


def test_another_candidate_runs_later_seeds_only_if_it_wins(out: Path, write_grid: Write) -> None:
    chosen, second = record(out, BCE_0)["lr"], record(out, BCE_1)
    lines = Lines()
    bench(write_grid(("lr = [0.001, 0.01]", "lr = [0.001, 0.01, 1e-8]")), out=out, reporter=lines)
    assert list(record(out, BCE_0)["found_lr"]) == ["0.001", "0.01", "1e-08"]
    assert record(out, BCE_0)["lr"] == chosen
    assert record(out, BCE_1) == second
    assert "0.01 [0.001, 0.01, 1e-08], at the edge" in (out / "table.md").read_text()


def test_test_labels_choose_nothing(out: Path, write_grid: Write, tmp_path: Path) -> None:
    before = {cell: record(out, cell) for cell in (BCE_0, BCE_1)}
    grid = write_grid()
    flipped = [
        row.replace(",1", ",x").replace(",0", ",1").replace(",x", ",0")
        for row in (tmp_path / "test.csv").read_text().split()
    ]
    (tmp_path / "test.csv").write_text("\n".join(flipped) + "\n")
    bench(grid, out=out)
    for cell, earlier in before.items():
        now = record(out, cell)
        assert now["test"]["mAP"] != earlier["test"]["mAP"]
        for fact in ("lr", "found_lr", "held_out", "settings"):
            assert now[fact] == earlier[fact]
        assert now["test"]["thresholds"] == earlier["test"]["thresholds"]


def test_ctrl_c_leaves_what_the_same_call_goes_on_from(out: Path, write_grid: Write, tmp_path: Path) -> None:
    grid, again = write_grid(), tmp_path / "again"
    for where in ("cell 1 of 4", "learning rate 0.01", "is best on the held-out cells", "cell 2 of 4", "epoch 1/1"):
        lines = Lines(where)
        with pytest.raises(Interrupted, match=r"stopped; go on with: partlabel bench .*grid.toml --out .*again"):
            bench(grid, out=again, reporter=lines)
    bench(grid, out=again)
    assert tables(again) == tables(out)


def test_a_method_that_does_not_fit_the_labels_is_no_failure(write_grid: Write, tmp_path: Path) -> None:
    grid = write_grid(("[masking.half]", '[masking.present]\nname = "positives_only"\n[masking.half]'))
    text = grid.read_text().replace(
        '[method."saliency, no CR"]\nmethod = "saliency"\npseudo = "none"', "[method.assume_negative]"
    )
    grid.write_text(text)
    out = tmp_path / "out"
    outcome = bench(grid, out=out)
    assert (outcome.done, outcome.failed) == (6, {})
    assert list(outcome.misfits) == ["squares / present / bce / seed 0", "squares / present / bce / seed 1"]
    assert all("bce needs known present and known absent cells" in why for why in outcome.misfits.values())
    table = (out / "table.md").read_text()
    assert "| bce | —, needs known absent cells | " in table
    assert not [words for words in ("Failed", "still to be run") if words in table]
    assert "probability 0.5" in record(out, "squares--present--assume_negative--seed0")["thresholds"]
    assert "†" in next(line for line in table.split("### OF1")[1].splitlines() if line.startswith("| assume_negative"))
    again, before = Lines(), tables(out)
    assert bench(grid, out=out, reporter=again).misfits == outcome.misfits
    assert (again.said, tables(out)) == ([], before)
    result = CliRunner().invoke(app, ["bench", str(grid), "--out", str(out), "--quiet"])
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_failing_cell_does_not_stop_the_others(write_grid: Write, tmp_path: Path) -> None:
    grid, out = (
        write_grid(("lr = [0.001, 0.01]", "lr = [1e30, 1e31]"), ("seeds = [0, 1]", "seeds = [0, 1]\ntop = 2")),
        tmp_path / "out",
    )
    outcome = bench(grid, out=out)
    assert (outcome.done, list(outcome.failed)) == (2, ["squares / half / bce / seed 0"])
    [why] = outcome.failed.values()
    table = (out / "table.md").read_text()
    assert f"- squares / half / bce / seed 0: {why}" in table
    assert "still to be run" not in table
    again = Lines()
    assert bench(write_grid(("lr = [0.001, 0.01]", "lr = [1e30, 1e31]")), out=out, reporter=again).failed == {
        "squares / half / bce / seed 0": why,
        "squares / half / bce / seed 1": "the search of its learning rate, on seed 0, failed",
    }
    assert again.cells() == 1  # the other one is settled by it


def test_only_the_best_rows_of_the_first_seed_go_on(out: Path, write_grid: Write, tmp_path: Path) -> None:
    held_out = {cell: record(out, cell)["held_out"]["mAP"] for cell in (BCE_0, SALIENCY_0)}
    goes_on, stays = (BCE_1, SALIENCY_1) if held_out[BCE_0] >= held_out[SALIENCY_0] else (SALIENCY_1, BCE_1)
    grid, fresh, lines = write_grid(("seeds = [0, 1]", "top = 1\nseeds = [0, 1]")), tmp_path / "fresh", Lines()
    outcome = bench(grid, out=fresh, reporter=lines)
    assert (outcome.done, lines.cells()) == (3, 3)
    assert [line.split(":")[0].split(",")[0] for line in lines.said if line.startswith("cell ")] == [
        "cell 1 of 3",
        "cell 2 of 3",
        "cell 3 of 3",
    ]
    assert record(fresh, goes_on) == {**record(out, goes_on), "cost": record(fresh, goes_on)["cost"]}
    assert not (fresh / "cells" / stays).exists()
    row = next(
        line
        for line in (fresh / "table.md").read_text().splitlines()
        if line.startswith(f"| {record(out, stays)['method']}")
    )
    assert row.endswith(" (n = 1) |")
    # What an earlier grid ran besides is left where it is, and has no part in the tables.
    assert bench(grid, out=out).done == 3
    assert tables(out) == tables(fresh)
    assert (out / "cells" / stays).exists()


def test_images_are_linked_and_the_same_when_drawn_again(out: Path, write_grid: Write) -> None:
    assert not (out / "curves.png").exists()
    bench(write_grid(("seeds = [0, 1]", "curves = ['bce', 'saliency, no CR']\nseeds = [0, 1]")), out=out)
    names = {"plot-mAP.png", "plot-OF1.png", "plot-CF1.png", "curves.png"}
    images = {path.name: path.read_bytes() for path in out.glob("*.png")}
    table = (out / "table.md").read_text()
    assert set(images) == names
    assert all(f"]({name})" in table for name in names)
    assert "held out, never on test cells" in table
    bench(write_grid(("seeds = [0, 1]", "curves = ['bce', 'saliency, no CR']\nseeds = [0, 1]")), out=out)
    assert {path.name: path.read_bytes() for path in out.glob("*.png")} == images
    bench(write_grid(), out=out)
    assert not (out / "curves.png").exists()


def test_a_trained_cell_that_could_not_be_judged_is_not_trained_again(
    write_grid: Write, squares: Path, tmp_path: Path
) -> None:
    shutil.copytree(squares / "images", tmp_path / "images")
    (tmp_path / "images" / "test03.png").unlink()
    one = (
        ("seeds = [0, 1]", "seeds = [0]"),
        ("${SQUARES}/", ""),
        ("lr = [0.001, 0.01]", "lr = 0.01"),
        ('"saliency"\n', '"bce"\n'),
    )
    grid = write_grid(*one, ('pseudo = "none"', ""))
    outcome = bench(grid, out=tmp_path / "out")
    assert outcome.done == 0
    assert all("test03.png" in sentence for sentence in outcome.failed.values())
    shutil.copyfile(squares / "images" / "test03.png", tmp_path / "images" / "test03.png")
    lines = Lines()
    assert bench(grid, out=tmp_path / "out", reporter=lines).done == 2
    assert not [line for line in lines.said if line.startswith("epoch")]


def test_a_grid_without_held_out_cells(write_grid: Write, tmp_path: Path) -> None:
    grid = write_grid(
        ("holdout = 0.3", "holdout = 0"), ("lr = [0.001, 0.01]", "lr = 0.01"), ("seeds = [0, 1]", "seeds = [0]")
    )
    out = tmp_path / "results"
    assert not bench(grid, out=out).failed
    assert record(out, BCE_0)["status"] == "done"


def test_weights_are_kept_on_request(write_grid: Write, tmp_path: Path) -> None:
    grid = write_grid(("seeds = [0, 1]", "seeds = [0]\nkeep_runs = true"), ("lr = [0.001, 0.01]", "lr = 0.01"))
    bench(grid, out=tmp_path / "out")
    run = RunFolder.open(tmp_path / "out" / "runs" / BCE_0)
    assert (run.model / "model.safetensors").is_file()
    assert run.labels().hash == record(tmp_path / "out", BCE_0)["labels"]["masked"]


def test_a_masking_that_cannot_be_used_stops_before_any_training(write_grid: Write, tmp_path: Path) -> None:
    lines = Lines()
    with pytest.raises(UsageError, match=r"masking.half: ratio is 5.5; it must be a number from 0 to 1"):
        bench(write_grid(("ratio = 0.5", "ratio = 5.5")), out=tmp_path / "out", reporter=lines)
    assert lines.cells() == 0


def test_unreadable_labels_are_named_with_their_entry(write_grid: Write, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"grid.toml: data.squares: .*nowhere.csv does not exist"):
        bench(write_grid(('"test.csv"', '"nowhere.csv"')), out=tmp_path / "out")


def test_a_full_disk_stops_everything_and_can_be_resumed(out: Path, write_grid: Write, tmp_path: Path) -> None:
    def no_room(*arguments: Any, **settings: Any) -> RunFolder:
        train(*arguments, **settings)
        raise StorageError("no space left on the disk")

    again = tmp_path / "again"
    with opened(write_grid(), again, Lines()) as board, pytest.raises(StorageError):
        Worker(board, Verbs(hide, no_room, resume, evaluate), Lines()).run()
    assert record(again, BCE_0)["status"] == "started"
    bench(write_grid(), out=again)
    assert tables(again) == tables(out)


def test_two_benches_share_the_cells_of_a_folder(write_grid: Write, out: Path, tmp_path: Path) -> None:
    code = "import sys; from partlabel.cli import main; main()"
    command = [sys.executable, "-c", code, "bench", str(write_grid()), "--out", str(tmp_path / "both")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    started = [line.rpartition(": ")[2] for text in said for line in text.splitlines() if line.startswith("cell ")]
    cells = {path.parent.name for path in (out / "cells").glob("*/cell.json")}
    assert len(started) == len(set(started)) == len(cells)
    assert {path.parent.name for path in (tmp_path / "both" / "cells").glob("*/cell.json")} == cells
    assert tables(tmp_path / "both") == tables(out)


def test_a_cell_that_another_process_runs_is_waited_for(
    write_grid: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = write_grid(("lr = [0.001, 0.01]", "lr = 0.01"), ("seeds = [0, 1]", "seeds = [0]"))
    folder = tmp_path / "out" / "cells" / BCE_0
    hold = (
        "import sys; from pathlib import Path; from partlabel.runs.ownership import owned\n"
        "with owned(Path(sys.argv[1])): print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    monkeypatch.setattr("partlabel.grids.claims.LOOK", 0.1)
    lines = Lines()
    told: list[str] = []

    def say(text: str) -> None:
        told.append(text)
        if text.startswith("waiting for 1 cell of other processes"):
            holder.communicate("\n")

    monkeypatch.setattr(lines, "say", say)
    outcome = bench(grid, out=tmp_path / "out", reporter=lines)
    assert outcome.done == 2
    assert f"process {holder.pid} on " in next(text for text in told if text.startswith("waiting"))


def test_a_fault_of_a_library_does_not_stop_the_others(
    write_grid: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def objective(*_: Any) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr("partlabel.methods.bce.KnownBCE.objective", objective)
    grid = write_grid(("lr = [0.001, 0.01]", "lr = 0.01"), ("seeds = [0, 1]", "seeds = [0]"))
    outcome = bench(grid, out=tmp_path / "out")
    assert (outcome.done, outcome.failed) == (1, {"squares / half / bce / seed 0": "MemoryError: no more"})
    assert "in objective" in record(tmp_path / "out", BCE_0)["traceback"]


def test_a_failure_is_tried_again_by_another_call_and_by_no_other_worker_of_this_one(
    write_grid: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def objective(*_: Any) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr("partlabel.methods.bce.KnownBCE.objective", objective)
    grid = write_grid(("lr = [0.001, 0.01]", "lr = 0.01"), ("seeds = [0, 1]", "seeds = [0]"))
    attempts, cells = [], []
    for call in ("first", "first", "second"):
        monkeypatch.setenv("PARTLABEL_BENCH_CALL", call)
        lines = Lines()
        assert bench(grid, out=tmp_path / "out", reporter=lines).failed == {
            "squares / half / bce / seed 0": "MemoryError: no more"
        }
        attempts.append(record(tmp_path / "out", BCE_0)["attempt"])
        cells.append(lines.cells())
    assert attempts[0] == attempts[1] != attempts[2]
    assert cells == [2, 0, 1]


def test_recovered_cells_make_another_cell(write_grid: Write, squares: Path, tmp_path: Path) -> None:
    grid = read_grid(write_grid())
    keys = []
    for source in (Source.IMPORT, Source.RECOVERED):
        train = LabelTable.from_cells(["a", "b"], ["x"], [0, 1], [0, 0], [1, -1], [source, Source.IMPORT])
        data = Loaded(squares, train, train, 1, 1)
        plan = make_plan(grid, data, {}, Cell("squares", "half", "bce", 0))
        assert isinstance(plan, Plan)
        keys.append(plan.key)
    assert keys[0] != keys[1]


def test_a_cell_waits_for_the_search_of_its_learning_rate(write_grid: Write, squares: Path) -> None:
    grid = read_grid(write_grid())
    train = LabelTable.from_cells(["a", "b"], ["x"], [0, 1], [0, 0], [1, -1])
    data = Loaded(squares, train, train, 1, 1)
    first, second = Cell("squares", "half", "bce", 0), Cell("squares", "half", "bce", 1)
    assert make_plan(grid, data, {}, second) == Waiting(first)
    failed = make_plan(grid, data, {first: {"status": "failed", "error": ""}}, second)
    assert isinstance(failed, Settled)
    assert failed.record == {"status": "failed", "error": "the search of its learning rate, on seed 0, failed"}
    found = make_plan(grid, data, {first: {"status": "done", "lr": 0.5}}, second)
    assert isinstance(found, Plan)
    assert found.settings["lr"] == 0.5
    assert found.rates == ()
