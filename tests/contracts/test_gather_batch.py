"""A loss of whole-batch statistics in two real processes: its averaged gradient is that of one process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed

from partlabel.methods.tools.distributed import gather_batch

SIZES = {"even": (4, 4), "uneven": (5, 3)}


def loss(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Neither a sum nor a mean over images."""
    logits = gather_batch(features @ weight)
    return (logits.std(0, correction=0) * torch.log1p(logits.square().mean(0))).sum()


def features_and_weight() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    features = torch.randn(8, 5, dtype=torch.float64, generator=random)
    return features, torch.randn(5, 3, dtype=torch.float64, generator=random).requires_grad_()


def one_of_two(rank: int) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name, sizes in SIZES.items():
        features, weight = features_and_weight()
        value = loss(features.split(sizes)[rank], weight)
        value.backward()
        assert weight.grad is not None
        distributed.all_reduce(weight.grad)
        found |= {f"{name} gradient": weight.grad / 2, f"{name} loss": value.detach()}
        for dtype in (torch.int8, torch.bfloat16):
            rows = torch.arange(8).to(dtype).split(sizes)[rank]
            found[f"{name} {dtype}"] = gather_batch(rows)
    return found


@pytest.mark.slow
def test_averaged_gradient_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path / "store"), str(tmp_path / f"{rank}.pt")])
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    features, weight = features_and_weight()
    value = loss(features, weight)
    value.backward()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name in SIZES:
            torch.testing.assert_close(found[f"{name} gradient"], weight.grad)
            torch.testing.assert_close(found[f"{name} loss"], value.detach())
            for dtype in (torch.int8, torch.bfloat16):
                torch.testing.assert_close(found[f"{name} {dtype}"], torch.arange(8).to(dtype))


@pytest.mark.parametrize("dtype", [torch.int8, torch.float32])
def test_single_process_gets_its_own_tensor_back(dtype: torch.dtype) -> None:
    tensor = torch.ones(3, 2, dtype=dtype)
    assert gather_batch(tensor) is tensor


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=int(sys.argv[1]), world_size=2)
    torch.save(one_of_two(int(sys.argv[1])), sys.argv[3])
    distributed.destroy_process_group()
