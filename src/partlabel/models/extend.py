"""A finished bundle with further classes, in which nothing changes for the others."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.models.bundle import BundleInfo
from partlabel.models.heads import HeadSpec
from partlabel.models.heads.pooled import PooledHead
from partlabel.models.tagger import Tagger
from partlabel.recovery.calibrate import Calibration

NEVER = 3.5e38
"""A threshold above every logit: no float32 is so large."""
_FLAT = 1e-9
"""Slope of a probability that is the same for every image, as far as one prints it."""


class AddedRow(NamedTuple):
    """The row of a class that is added.

    Args:
        name: of the class.
        weight: float `[d]`, of pooled features as the head transforms them.
        bias: constant of the logit.
        prior: the probability that is said of every image, where the logit only ranks and no image is tagged; None
            where the logit is the log odds, and an image is tagged from 0 on.
    """

    name: str
    weight: Float[Tensor, " d"]
    bias: float
    prior: float | None


def linear_head(tagger: Tagger, whose: object) -> PooledHead:
    """The head of a tagger, if a class is one row of it.

    Raises:
        UsageError: it is of another kind; says what to do.
    """
    if tagger.head_spec.kind == "pooled" and isinstance(tagger.head, PooledHead):
        return tagger.head
    raise UsageError(
        f"{whose} cannot be given a class, because its head {tagger.head_spec.kind!r} is more than one linear layer on "
        "pooled features; train again on the table with the new class"
    )


def extended(tagger: Tagger, info: BundleInfo, rows: Sequence[AddedRow]) -> tuple[Tagger, BundleInfo]:
    """A tagger with further classes, last, and what its bundle says. Logits of the others have the same bits.

    Args:
        tagger: of a bundle, with a head as `linear_head` wants it; it shares its backbone with the new one.
        info: of the same bundle.
        rows: of the new classes.
    """
    head = linear_head(tagger, "the model")
    names = (*tagger.classes, *(row.name for row in rows))
    spec = HeadSpec(kind="extended", settings={**tagger.head_spec.settings, "added": len(rows)})
    wider = Tagger(tagger.backbone, spec, names)
    wider.head.load_state_dict(
        {
            **head.state_dict(),
            "added.weight": torch.stack([row.weight for row in rows]).float(),
            "added.bias": torch.tensor([row.bias for row in rows], dtype=torch.float32),
        }
    )
    thresholds = info.thresholds or (0.0,) * len(info.classes)
    changes = {
        "head": spec,
        "classes": names,
        "thresholds": (*thresholds, *(0.0 if row.prior is None else NEVER for row in rows)),
        "calibration": _calibration(info, rows),
    }
    return wider.eval(), info.model_copy(update=changes)


def _calibration(info: BundleInfo, rows: Sequence[AddedRow]) -> dict[str, object] | None:
    """The calibration with a line for each new class; none where none is needed."""
    if info.calibration is None and all(row.prior is None for row in rows):
        return None
    old = Calibration.none(info.classes) if info.calibration is None else Calibration.from_json(info.calibration)
    lines = [(0.0, 1.0) if row.prior is None else (math.log(row.prior / (1 - row.prior)), _FLAT) for row in rows]
    return Calibration(
        (*old.classes, *(row.name for row in rows)),
        np.concatenate([old.intercept, [intercept for intercept, _ in lines]]),
        np.concatenate([old.slope, [slope for _, slope in lines]]),
        old.ceiling,
        old.bend,
        old.plain + len(rows),
    ).to_json()
