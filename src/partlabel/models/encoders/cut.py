"""Cutting a timm network before its last stages, so that what lies before can be computed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor, nn

from partlabel.errors import UsageError

_POOLING = "global_pool"
_AFTER_THE_MAPS = {
    "aggregate",
    "attn_pool",
    "pool",
    "flatten",
    "fc_norm",
    "head_drop",
    "head",
    "fc",
    "classifier",
    "pre_logits",
    "head_dist",
}


class _Reached(Exception):
    def __init__(self, value: Tensor) -> None:
        self.value = value


@dataclass(frozen=True)
class Cut:
    """A network seen as `after(before(images))`; `modules` are the ones after the cut, in order."""

    network: nn.Module
    modules: Sequence[nn.Module]

    def before(self, images: Tensor) -> Tensor:
        """Run the network up to the cut and return what the first module after it would receive."""

        def stop(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            raise _Reached(arguments[0])

        hook = self.modules[0].register_forward_pre_hook(stop)
        try:
            self.network.forward_features(images)  # type: ignore[operator]
        except _Reached as reached:
            return reached.value
        finally:
            hook.remove()
        raise AssertionError("the cut was not reached")

    def after(self, value: Tensor) -> Tensor:
        """Run the modules after the cut."""
        for module in self.modules:
            value = module(value)
        return value


def cut_before_last_stages(network: nn.Module, stages: int, size: int) -> Cut:
    """Cut a network so that its last `stages` stages, and what follows them, lie after the cut.

    The cut is found by structure (the last stage containers, then the modules up to the pooling) and proved on a random
    image: the two halves must give what the whole gives.

    Raises:
        UsageError: this network cannot be cut that way.
    """
    modules = modules_after_cut(network, stages)
    refusal = UsageError(
        f"{type(network).__name__} cannot be cut before its last {stages} stage(s); freeze it wholly (train_last=0) or "
        "train it wholly"
    )
    if not modules:
        raise refusal
    cut = Cut(network, modules)
    was_training = network.training
    network.eval()
    image = torch.linspace(-1, 1, 3 * size * size).reshape(1, 3, size, size).sin()
    with torch.no_grad():
        try:
            whole = network.forward_features(image)  # type: ignore[operator]
            agrees = torch.allclose(cut.after(cut.before(image)), whole, rtol=1e-4, atol=1e-5)
        except (RuntimeError, TypeError, AttributeError, AssertionError, IndexError) as error:
            raise refusal from error
    network.train(was_training)
    if not agrees:
        raise refusal
    return cut


def modules_after_cut(network: nn.Module, stages: int) -> list[nn.Module]:
    """The last `stages` stages and what follows them up to the pooling, in order; empty if there are not so many."""
    stages_named = stage_modules(network)
    flat: list[nn.Module] = []
    for child in children_before_pooling(network).values():
        holds_stages = isinstance(child, (nn.Sequential, nn.ModuleList)) and any(part in stages_named for part in child)
        flat.extend(child.children() if holds_stages else [child])
    starts = [position for position, module in enumerate(flat) if module in stages_named]
    return flat[starts[-stages] :] if len(starts) >= stages else []


def children_before_pooling(network: nn.Module) -> dict[str, nn.Module]:
    """The parts of a network that lead to its maps, by name."""
    children = list(network.named_children())
    # SelecSLS calls its last convolutions before the pooling "head"
    ends = {_POOLING} if _POOLING in dict(children) else _AFTER_THE_MAPS
    return dict(takewhile(lambda child: child[0] not in ends, children))


def stage_modules(network: nn.Module) -> set[nn.Module]:
    """The modules that begin the stages: those that timm names, and a last stage that it does not name.

    What holds next to nothing (an activation, a last norm) is no stage. Where the last maps come out of something
    behind the last stage (`final_conv` beside `stages`, `norm5` after the dense blocks), timm names that in place of
    the stage, which is then what follows the last named one in their container.
    """
    info = getattr(network, "feature_info", None)
    entries = info if isinstance(info, list) else getattr(info, "info", [])
    modules = dict(network.named_modules())
    whole = sum(parameter.numel() for parameter in network.parameters())

    def holds_much(module: nn.Module) -> bool:
        return sum(parameter.numel() for parameter in module.parameters()) > 0.005 * whole

    named = [entry["module"] for entry in entries if entry.get("module") in modules]
    stages = [name for name in named if holds_much(modules[name])]
    while len(stages) > 1 and "." not in stages[-1] and "." in stages[-2]:
        stages.pop()
    found = {modules[name] for name in stages}
    if stages and stages[-1] != named[-1] and "." in stages[-1]:
        container, _, last = stages[-1].rpartition(".")
        children = dict(modules[container].named_children())
        following = list(children.values())[list(children).index(last) + 1 :]
        found.update([child for child in following if holds_much(child)][:1])
    return found
