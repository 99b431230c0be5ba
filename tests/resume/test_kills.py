"""Real commands killed at random moments: a handful here, 200 with `make kill` (or PARTLABEL_KILLS=200)."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill.py"


@pytest.mark.slow
def test_nothing_is_torn_and_the_end_is_the_same(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("kill", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules["kill"] = script  # its dataclass looks itself up
    spec.loader.exec_module(script)
    kills = int(os.environ.get("PARTLABEL_KILLS", "4"))
    only = ("",) if kills > 10 else ("hide", "train with workers")
    assert script.kill_all(tmp_path, kills, 0, only) == []
