import time
from collections.abc import Callable
from mmap import mmap

from partlabel.grids.cell import Cell, Record
from partlabel.grids.cost import measured
from partlabel.grids.cost_table import cost_table
from partlabel.grids.grid import Grid


def test_memory_and_time_are_those_of_the_block() -> None:
    with measured() as small:
        time.sleep(0.06)
    with measured() as large:
        held = mmap(-1, 200_000_000)  # pages of its own: the heap may have as much left of earlier tests
        held.write(bytes(200_000_000))
        held.close()
    with measured() as after:
        pass
    assert small["seconds"] >= 0.1 > after["seconds"]
    assert large["memory_mb"] > small["memory_mb"] + 150
    assert after["memory_mb"] < large["memory_mb"] - 150  # the peak of an earlier cell does not stick


def test_a_row_has_the_sum_of_its_seconds_and_the_largest_memory(
    bare_grid: Callable[..., Grid], record: Callable[..., Record]
) -> None:
    def cost(seconds: float, memory: int, resumed: bool = False, gpu: int | None = None) -> dict[str, object]:
        return {"seconds": seconds, "memory_mb": memory, "gpu_memory_mb": gpu, "device": "CPU", "resumed": resumed}

    grid = bare_grid(["a", "b", "c"])
    records = {
        Cell("squares", "half", "a", 0): record(0.5, cost=cost(10.0, 900)),
        Cell("squares", "half", "a", 1): record(0.5, cost=cost(5.0, 1200)),
        Cell("squares", "half", "b", 0): record(0.5, cost=cost(7.0, 100, resumed=True, gpu=2000)),
        Cell("squares", "half", "c", 0): record(0.5),
    }
    text = cost_table(grid, records)
    assert "| a | 2 | 7.5 | 15.0 | 1,200 | - | CPU |" in text
    assert "| b | 1 | 7.0* | 7.0* | 100 | 2,000 | CPU |" in text
    assert "| c |" not in text
    assert "## squares / half" in text
