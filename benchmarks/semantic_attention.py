"""Time and memory of a training step of the bilinear attention: folded and in blocks, against the form of the papers.

    python benchmarks/semantic_attention.py
    python benchmarks/semantic_attention.py --part head --device cuda

Three forms of w · (P tanh(U f ∘ V s) + b) + b', softmax over the labels: `unfolded` applies P to every pair of place
and label, as written; `folded` applies Pᵀw, and autograd keeps the products; `blocks` is what the library does. `--part
attention` is this attention alone, from places and labels to attention and back; `--part head` is the whole head of
co-learning around it.

Each form runs in a process of its own; memory is what its peak grows by from just before its first step (resident
memory on a CPU, under Linux; allocated memory on a GPU). The time is the shortest of `--repeats` steps, forward and
backward; processor seconds say more where others use the machine. The gradients of all parameters and of the places are
compared with those of `unfolded`: the largest difference over the largest value, tensor by tensor, in float64 at a
small shape and in float32 at the full one. Biases that a softmax or a batch norm cancels are left out: their gradients
are zero but for rounding.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from partlabel.models.heads.colearning import CoLearningHead, SemanticGuidance

FORMS = ("unfolded", "folded", "blocks")
SMALL = {"batch": 2, "places": 9, "labels": 5, "hidden": 16, "features": 32}


class Unfolded(SemanticGuidance):
    """As the papers write it."""

    def forward(self, places: Tensor, labels: Tensor) -> Tensor:  # noqa: D102
        joined = torch.tanh(self.image_part(places)[:, :, None] * self.label_part(labels)[:, None])
        return self.output(self.mixing(joined)).squeeze(3).softmax(2)


class Folded(SemanticGuidance):
    """P and w as one vector, the products kept."""

    def forward(self, places: Tensor, labels: Tensor) -> Tensor:  # noqa: D102
        joined = torch.tanh(self.image_part(places)[:, :, None] * self.label_part(labels)[:, None])
        weight = (self.output.weight @ self.mixing.weight)[0]
        return (joined @ weight + self.output.weight @ self.mixing.bias + self.output.bias).softmax(2)


def build(form: str, part: str, shape: dict[str, int]) -> nn.Module:
    """The attention or the head, with weights from a seed, in one of the forms."""
    torch.manual_seed(0)
    module: nn.Module
    if part == "attention":
        module = guidance = SemanticGuidance(shape["features"], shape["features"], shape["hidden"])
    else:
        module = CoLearningHead(shape["features"], shape["labels"], hidden=shape["hidden"], label_features=768)
        guidance = module.get_submodule("guidance")
    guidance.__class__ = {"unfolded": Unfolded, "folded": Folded, "blocks": SemanticGuidance}[form]
    return module


def inputs(part: str, shape: dict[str, int]) -> list[Tensor]:
    """Places and labels, or maps one place wide; of the size that normalised features have."""
    torch.manual_seed(1)
    batch, places, labels, features = shape["batch"], shape["places"], shape["labels"], shape["features"]
    if part == "attention":
        return [torch.randn(batch, places, features), torch.randn(batch, labels, features)]
    return [torch.randn(batch, features, places, 1)]


def step(part: str, module: nn.Module, given: list[Tensor]) -> None:
    """Forward and backward; dropout is drawn alike in all forms."""
    torch.manual_seed(2)
    module.zero_grad()
    given[0].grad = None
    if part == "attention":
        found = module(*given)
    else:
        logits, extra = module(*given)
        found = torch.stack([logits, extra["coarse"]])
    (found * torch.randn(found.shape, dtype=found.dtype).to(found.device)).sum().backward()


def gradients(module: nn.Module, given: list[Tensor]) -> dict[str, Tensor]:
    """Gradients of the parameters, but for the biases that cancel, and of the places."""
    found = {"places": given[0].grad, **{name: p.grad for name, p in module.named_parameters()}}
    cancels = ("mixing.bias", "output.bias", "semantics.inner.bias")
    return {name: g.cpu() for name, g in found.items() if g is not None and not name.endswith(cancels)}


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Over all tensors: largest difference / largest value."""
    return max(((one[name] - g).abs().max() / g.abs().max()).item() for name, g in other.items())


def small_difference(form: str, part: str) -> float:
    """The difference of gradients in float64 at a small shape."""
    found = []
    for kind in (form, "unfolded"):
        module = build(kind, part, SMALL).double()
        given = [tensor.double().requires_grad_() for tensor in inputs(part, SMALL)]
        step(part, module, given)
        found.append(gradients(module, given))
    return largest_difference(*found)


def measure(form: str, part: str, shape: dict[str, int], device: str, repeats: int, out: Path) -> None:
    """Time a form in this process; write its gradients and print its numbers."""
    module = build(form, part, shape).to(device)
    given = [tensor.to(device).requires_grad_() for tensor in inputs(part, shape)]
    cuda, seconds, processor = device.startswith("cuda"), [], []
    before = torch.cuda.memory_allocated() if cuda else resident_peak(afresh=True)
    for _ in range(repeats):
        start, started = time.perf_counter(), time.process_time()
        step(part, module, given)
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - started)
    peak = torch.cuda.max_memory_allocated() if cuda else resident_peak()
    torch.save(gradients(module, given), out)
    print(json.dumps({"seconds": min(seconds), "processor": min(processor), "bytes": peak - before}))


def resident_peak(*, afresh: bool = False) -> int:
    """Largest resident memory so far, or from now on."""
    if afresh:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def compare(arguments: argparse.Namespace) -> None:
    """Run the forms one after the other and print the table."""
    columns = (
        "form",
        "seconds a step",
        "processor seconds",
        "peak memory, MB",
        "gradients, float64 small",
        "float32 full",
    )
    table = Table(*columns)
    with tempfile.TemporaryDirectory() as folder:
        reference: dict[str, Tensor] | None = None
        for form in FORMS:
            out = Path(folder) / f"{form}.pt"
            command = [sys.executable, __file__, *sys.argv[1:], "--form", form, "--out", str(out)]
            numbers = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            found = torch.load(out, weights_only=True)
            reference = found if reference is None else reference
            table.add_row(
                form,
                f"{numbers['seconds']:.2f}",
                f"{numbers['processor']:.2f}",
                f"{numbers['bytes'] / 1e6:.0f}",
                f"{small_difference(form, arguments.part):.1e}",
                f"{largest_difference(found, reference):.1e}",
            )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=("attention", "head"), default="attention")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--places", type=int, default=196)
    parser.add_argument("--labels", type=int, default=80)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.form is None:
        compare(arguments)
        return
    shape = {name: getattr(arguments, name) for name in SMALL}
    measure(arguments.form, arguments.part, shape, arguments.device, arguments.repeats, arguments.out)


if __name__ == "__main__":
    main()
