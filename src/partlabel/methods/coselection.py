"""Co-label selection (CLS).

Lyu, Sun, Deng, Feng: Addressing Multi-Label Learning with Partial Labels: From Sample Selection to Label Selection,
AAAI 2025. No public code.

Two networks f and g see the same mini-batch; unknown cells are assumed negative, cell losses are BCE. N: all assumed
negatives of the mini-batch, over images and classes.
    H (by the peer): N_f keeps the share R_h of N with the smallest loss under g; the rest are likely missed positives.
    L (by itself):   N_f' keeps the share R_l of N_f with the largest loss under f; the rest are easy and teach little.
f learns from the known cells and N_f'; g likewise with the parts exchanged. Algorithm 1 updates the rates at the end of
an epoch: R(e) = 1 - tau · min(e / E_k, 1) after e epochs, so the first epoch keeps all.

Assumes of labels: known present cells; an unknown cell is most likely absent. Known absent cells, which the paper has
none of, always count.
Rows of the paper's ablation, as settings: CLS-H, without the removal of high losses, `high_loss="keep"`; CLS-L, without
that of low ones, `low_loss="keep"`; co-label correction (CLC), `high_loss="correct"`: what H would remove is learned as
present.
Equations 7 and 8 divide by the images B, L_f = (1/B) Σ_i L(y_i; p_i), and do not say whether L is a sum or a mean over
the labels of an image: `normalization="images"`, "image" or, ours, "class", where a removed cell counts 0 and the
loss is 1/C of that of "images". With Adam the scale matters only beside a weight decay that adds to the gradient.
Recipe of the paper: ResNet-50 from ImageNet, images "squished and randomly cropped into 224 × 224"; `size=224
random_crop="fixed" optimizer="adam" weight_decay=1e-4 batch_size=120 epochs=100 lr=4e-5 schedule="cosine"` to 0,
`taus_of` the data set and the labels left, `ramp=10`. `holdout=0` leaves the training the share of labels that the
paper gives it. Paper silent on the side from which images are cropped, on flips, and on what weight decay spares
(nothing in torch's Adam: `decay_on="all"`).
Where the paper is silent, ours: shares are rounded down and ties kept (losses.selection); the mean of both logits is
reported, and all three are evaluated; first rates are 1.

The log has for each network the share of the assumed negatives that are of high loss under its peer (H) and of low loss
under itself (L).
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple, Self

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.losses.assume_negative import unknown_as_absent
from partlabel.losses.bce import bce_cells
from partlabel.losses.normalization import Normalization
from partlabel.losses.precision import at_least_float32
from partlabel.losses.selection import largest_share, smallest_share
from partlabel.methods.base import Clock, Context, Index, Labels, Outputs
from partlabel.methods.tools.distributed import gather_batch
from partlabel.methods.tools.two_networks import TwoNetworks, TwoNetworksConfig
from partlabel.models.tagger import Tagger

PUBLISHED_TAUS: dict[str, tuple[float, float]] = {
    "voc07 75": (0.002, 0.02),
    "voc07 50": (0.003, 0.02),
    "voc07 25": (0.005, 0.02),
    "voc07 single": (0.005, 0.02),
    "coco 75": (0.005, 0.06),
    "coco 50": (0.010, 0.06),
    "coco 25": (0.012, 0.06),
    "coco single": (0.012, 0.06),
    "nus 75": (0.006, 0.06),
    "nus 50": (0.012, 0.06),
    "nus 25": (0.020, 0.06),
    "nus single": (0.020, 0.06),
}
"""(tau_h, tau_l) of the paper by data set and percentage of positives left, or single positive."""

Cells = Bool[Tensor, "batch classes"]
Losses = Float[Tensor, "batch classes"]


class SetAside(NamedTuple):
    """Assumed negatives of high loss under the peer (H), and those of the rest of low loss under the network (L)."""

    high_loss: Cells
    low_loss: Cells


class CoSelectionConfig(TwoNetworksConfig):
    """Settings of `coselection`."""

    tau_h: float = Field(default=0.012, ge=0, le=1)
    """Share of assumed negatives that H removes at the end. Paper: 0.002 to 0.02, here COCO with a single positive."""
    tau_l: float = Field(default=0.06, ge=0, le=1)
    """Share of the rest that L removes at the end. Paper: 0.06 (COCO, NUS), 0.02 (VOC07)."""
    taus_of: str | None = None
    """Take both taus from the paper's table, such as "coco 25" or "voc07 single", instead of giving them."""
    ramp: float = Field(default=10, gt=0)
    """E_k: epochs until the rates have reached their end. Paper: 10 of 100."""
    high_loss: Literal["remove", "correct", "keep"] = "remove"
    """What happens to assumed negatives of high loss under the peer (H)."""
    low_loss: Literal["remove", "keep"] = "remove"
    """What happens to those of low loss under the network itself (L)."""
    normalization: Normalization = "class"
    """What the sum over the cells that are left is divided by. Paper: images, "images" or "image"; ours: "class"."""

    @model_validator(mode="after")
    def _one_source_of_taus(self) -> Self:
        beside = sorted({"tau_h", "tau_l"} & self.model_fields_set)
        if self.taus_of is not None and beside:
            raise ValueError(
                f"taus_of takes both taus from the paper, so {' and '.join(beside)} beside it cannot count"
            )
        return self


class CoSelection(TwoNetworks[CoSelectionConfig]):
    """Co-label selection."""

    Config = CoSelectionConfig
    batch_global = ("ranking of the assumed negatives",)

    def __init__(self, tagger: Tagger, config: CoSelectionConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        if config.taus_of is not None and config.taus_of not in PUBLISHED_TAUS:
            raise UsageError(f"no published taus of {config.taus_of!r}; there are {', '.join(PUBLISHED_TAUS)}")

    def keep_shares(self, clock: Clock) -> tuple[float, float]:
        """(R_h, R_l) with which an epoch trains."""
        config = self.config
        tau_h, tau_l = PUBLISHED_TAUS[config.taus_of] if config.taus_of else (config.tau_h, config.tau_l)
        done = min(clock.epoch / config.ramp, 1)
        return 1 - tau_h * done, 1 - tau_l * done

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`first` and `second`, each network on what its peer left it; `high_loss` and `low_loss` are shares of the
        assumed negatives.
        """
        unknown = labels == 0
        parts, total = {}, torch.zeros((), device=labels.device)
        for name, logits, losses, chosen in self._networks(outputs, labels, clock):
            kept, cells = ~(chosen.high_loss | chosen.low_loss), losses
            if self.config.high_loss == "correct":
                cells = torch.where(chosen.high_loss, bce_cells(logits, torch.ones_like(labels)), cells)
                kept = kept | chosen.high_loss
            parts[name] = self.reduce(cells, kept, self.config.normalization)
            total = total + parts[name]
            assumed = unknown.sum().clamp(min=1)
            parts |= {f"{name}_{side}_share": set_aside.sum() / assumed for side, set_aside in chosen._asdict().items()}
        return {"total": total, **parts}

    def set_aside(self, outputs: Outputs, labels: Labels, clock: Clock) -> dict[str, Cells]:
        """What H and L take from each network."""
        return {
            f"{name}_{side}": cells
            for name, _, _, chosen in self._networks(outputs, labels, clock)
            for side, cells in chosen._asdict().items()
        }

    def _networks(
        self, outputs: Outputs, labels: Labels, clock: Clock
    ) -> Iterator[tuple[str, Tensor, Losses, SetAside]]:
        """Name, logits, cell losses and cells set aside, of each network."""
        completed, unknown = unknown_as_absent(labels), labels == 0
        logits = at_least_float32(outputs["first"]), at_least_float32(outputs["second"])
        losses = [bce_cells(each, completed) for each in logits]
        for name, own, peer in (("first", 0, 1), ("second", 1, 0)):
            yield name, logits[own], losses[own], self._choose(losses[own], losses[peer], unknown, clock)

    def _choose(self, own: Losses, peer: Losses, unknown: Cells, clock: Clock) -> SetAside:
        """The assumed negatives that a network does not learn as such."""
        share_h, share_l = self.keep_shares(clock)
        every = gather_batch(unknown)
        high = low = torch.zeros_like(unknown)
        if self.config.high_loss != "keep":
            all_peer = gather_batch(peer.detach())
            border = smallest_share(all_peer, every, share_h)
            high, every = unknown & (peer > border), every & (all_peer <= border)
        if self.config.low_loss == "remove":
            low = unknown & ~high & (own < largest_share(gather_batch(own.detach()), every, share_l))
        return SetAside(high, low)
