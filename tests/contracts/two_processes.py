"""Run by test_two_processes.py as one of two: gradients of part of a batch averaged over processes, and buffers."""

import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context
from partlabel.methods.build import build_method
from partlabel.methods.catalogue import CATALOGUE
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.small_towers import write_towers

OFFICIAL = {"normalization": "official", "pseudo": "scaled"}
PRIOR = {"prior": str(Path(__file__).parents[1] / "methods" / "prior.csv")}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, PRIOR if method.needs_prior else {}) for name, method in CATALOGUE.items() if not method.fitted},
    "positive_unlabeled": ("positive_unlabeled", {"mixup_weight": 0}),  # each process mixes its own part
    **{
        f"{name} from the start": (name, {"from_epoch": 0, "margin": 0.5, "lowest_margin": 0.5, "pair_width": 16})
        for name in ("sst", "hst")
    },
    "large_loss LL-Cp": ("large_loss", {"scheme": "correct_permanently", "delta_rel": 20}),
    "class_selective K": ("class_selective", {"prior_share": 0, "top_k": 1}),
    "co_teaching_plus from the start": ("co_teaching_plus", {"agree_epochs": 0}),
    "co_teaching_plus by cell": ("co_teaching_plus", {"agree_epochs": 0, "unit": "cell", "tau": 0.5}),
    "co_teaching_plus, one cell differs": ("co_teaching_plus", {"agree_epochs": 0, "tau": 0}),
    **{
        f"{name}, divided by {by}": (name, {"normalization": by})
        for name, by in [
            *product(("bce",), ("sum", "image", "image_sum", "images", "class", "partial_bce")),
            *product(("asl", "saliency", "class_selective", "curriculum", "ssgrl"), ("sum",)),
        ]
    },
    "asl, unknown absent": ("asl", {"unknown": "absent"}),
    **{f"interactive, {scale}": ("interactive", {"scale": scale}) for scale in ("image_mean", "mean")},
    "colearning official": ("colearning", OFFICIAL),
    "colearning official, one unknown cell": ("colearning", OFFICIAL),
    "colearning official, no unknown cell": ("colearning", OFFICIAL),
}
FIRST, LATER = Clock(0, 0, 1, 1), Clock(2, 5, 4, 8)


def gradients(rank: int, world: int) -> dict[str, dict[str, torch.Tensor]]:
    found: dict[str, dict[str, torch.Tensor]] = {}
    states = np.random.default_rng(0).integers(-1, 2, (40, 3)).astype(np.int8)
    towers = write_towers(Path(tempfile.mkdtemp()))
    context = Context(
        LabelTable.from_dense([f"{row:02d}.png" for row in range(40)], ("a", "b", "c"), states), backbone=towers
    )
    for case, clock in product(CASES, (FIRST, LATER)):
        name, settings = CASES[case]
        torch.manual_seed(0)
        joint = CATALOGUE[name].joint_space
        backbone = (
            create_backbone(towers, joint_space=joint)  # type: ignore[arg-type]
            if joint
            else create_backbone("test_resnet", pretrained=False, size=32)
        )
        method: Any = build_method(name, settings, backbone, context).double()
        method.eval()  # batch norms frozen, as the promise says
        views = {view: torch.randn(8, 3, 32, 32, dtype=torch.float64) for view in method.views}
        labels = torch.randint(-1, 2, (8, 3), dtype=torch.int8)
        if name == "self_training":  # as after its look at the images
            method.soft.copy_(torch.rand(40, 3, generator=torch.Generator().manual_seed(2)))
        if settings.get("agree_epochs") == 0:
            _center(method, views)
        if case.endswith("one cell differs"):
            _differ_in_one_cell(method, views)
        if "unknown cell" in case:
            labels[labels == 0] = -1
            labels[0, 0] = 0 if "one" in case else 1  # which only one process has
        part = slice(rank, None, world)
        outputs = method({view: tensor[part] for view, tensor in views.items()})
        method.objective(outputs, labels[part], torch.arange(8)[part], clock)["total"].backward()
        key = f"{case}, epoch {clock.epoch}"
        found[key] = {parameter: p.grad for parameter, p in method.named_parameters() if p.grad is not None}
        if world > 1:
            for gradient in found[key].values():
                distributed.all_reduce(gradient)
                gradient.div_(world)
        # training copies the buffers of the first process to the others before each step
        found[key].update({buffer: b for buffer, b in method.named_buffers() if not buffer.startswith("tagger.")})
    return found


@torch.no_grad()
def _center(method: Any, views: dict[str, torch.Tensor]) -> None:
    """Let each of two networks find some images positive and some not, so that they disagree here and there."""
    outputs = method(views)
    for which in ("first", "second"):
        getattr(method.tagger.head, which).linear.bias -= outputs[which].mean(0)


@torch.no_grad()
def _differ_in_one_cell(method: Any, views: dict[str, torch.Tensor]) -> None:
    """Make the two networks disagree on the sign of a single cell of the whole batch, which only one process has."""
    head = method.tagger.head
    head.second.load_state_dict(head.first.state_dict())
    logits = method(views)["first"][:, 0]
    head.second.linear.bias[0] -= logits[logits > 0].sort().values[:2].mean()
    outputs = method(views)
    assert int(((outputs["first"] > 0) != (outputs["second"] > 0)).sum()) == 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, store, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    result = gradients(rank, 2)
    if rank == 0:
        torch.save(result, out)
    distributed.destroy_process_group()
