"""What of the environment makes several processes: the full set of torchrun or of Lightning, nothing less."""

import os

import pytest

from partlabel.errors import UsageError
from partlabel.runs.processes import check_group, only_what_was_asked, process_group, process_rank

ADDRESS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", **ADDRESS}
LIGHTNING = {"NODE_RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "1", **ADDRESS}
LEFTOVERS = [
    {"RANK": "1"},
    {"LOCAL_RANK": "1"},
    {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1"},
    {"RANK": "2", "WORLD_SIZE": "4"},
    {"RANK": "0", "WORLD_SIZE": "4", **ADDRESS},
    {**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"},
    {**TORCHRUN, "RANK": "5"},
    {**TORCHRUN, "RANK": "x"},
]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in {*TORCHRUN, *LIGHTNING, *(name for leftover in LEFTOVERS for name in leftover)}:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("leftover", LEFTOVERS)
def test_leftovers_decide_nothing(leftover: dict[str, str], environment: pytest.MonkeyPatch) -> None:
    for name, value in leftover.items():
        environment.setenv(name, value)
    before = dict(os.environ)
    assert process_group() == (0, 1, False)
    with only_what_was_asked() as group:
        assert group.size == 1
        assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "SLURM_PROCID"} & os.environ.keys()
        os.environ["LOCAL_RANK"] = "0"  # as Lightning does
    assert dict(os.environ) == before
    check_group("auto", on_cpu=True)


@pytest.mark.parametrize(("asked", "torchrun"), [(TORCHRUN, True), (LIGHTNING, False)])
def test_full_sets_count(asked: dict[str, str], torchrun: bool, environment: pytest.MonkeyPatch) -> None:
    for name, value in {**asked, "SLURM_PROCID": "7"}.items():
        environment.setenv(name, value)
    assert process_group() == (1, 2, torchrun)
    assert process_rank() == 1
    with only_what_was_asked():
        assert {name: os.environ.get(name) for name in asked} == asked
        assert "SLURM_PROCID" not in os.environ


def test_torchrun_with_settings_for_one_process_is_refused(environment: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        environment.setenv(name, value)
    check_group(2, on_cpu=True)
    check_group("auto", on_cpu=False)
    for devices, on_cpu in ((1, False), ("1", False), ("auto", True)):
        with pytest.raises(UsageError, match="torchrun started 2 processes"):
            check_group(devices, on_cpu=on_cpu)
