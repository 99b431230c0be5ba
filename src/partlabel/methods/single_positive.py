"""Baselines for images of which one present class is known: AN-LS, WAN and EPR (ROLE, of the same paper, is `role`).

Cole, Mac Aodha, Lorieul, Perona, Morris, Jojic: Multi-Label Learning from Single Positive Labels, CVPR 2021.

With p = σ(z), nl(u) = -log(u + 1e-5), and everything divided by B·C:
    label_smoothing       (1 - e)·right side + e·opposite side, unknown taken as absent
    weak_assume_negative  Σ present nl(p) + Σ unknown nl(1 - p) / (C - 1)
    expected_positive     Σ present nl(p), and beside it ((mean over the batch of Σ_c p_c - K) / C)²
`label_smoothing` with smoothing=0 is the paper's AN.

Assumes of labels: known present cells. K is the mean number of present classes in an image; the paper knows it: VOC
1.5, COCO 2.9 (2.5 in the official code), NUS 1.9, CUB 31.4. Where it is not given, K is C · present / known over the
table, which is right only if being known does not depend on the sign; a table without known absent cells cannot tell K
and is refused. Known deviations: the paper has no known absent cells. Here these cost nl(1 - p) in full; label
smoothing smooths them like all.
"""

from pydantic import Field
from torch import Tensor

from partlabel.errors import AssumptionError
from partlabel.labels import LabelTable
from partlabel.losses.assume_negative import (
    expected_positive_penalty,
    label_smoothing_cells,
    observed_cells,
    weak_assume_negative_cells,
)
from partlabel.losses.precision import at_least_float32
from partlabel.methods.base import Clock, Context, Index, Labels, Method, Outputs, PooledConfig
from partlabel.methods.tools.distributed import gather_batch
from partlabel.models.tagger import Tagger


class WeakAssumeNegative(Method[PooledConfig]):
    """Assume negative, each unknown cell weighted 1 / (C - 1)."""

    Config = PooledConfig
    learns_from_unknown = True

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Mean over all cells."""
        return {"total": self.reduce(weak_assume_negative_cells(outputs["logits"], labels))}


class LabelSmoothingConfig(PooledConfig):
    """Settings of `label_smoothing`."""

    smoothing: float = Field(default=0.1, ge=0, lt=0.5)
    """e, the weight of the opposite side. Paper and official code: 0.1."""


class LabelSmoothing(Method[LabelSmoothingConfig]):
    """Assume negative with label smoothing."""

    Config = LabelSmoothingConfig
    learns_from_unknown = True

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Mean over all cells."""
        return {"total": self.reduce(label_smoothing_cells(outputs["logits"], labels, self.config.smoothing))}


class ExpectedPositiveConfig(PooledConfig):
    """Settings of `expected_positive`."""

    expected_positives: float | None = Field(default=None, gt=0)
    """K, mean number of present classes in an image; None: estimated where both signs are known. Paper: given."""


class ExpectedPositive(Method[ExpectedPositiveConfig]):
    """Known cells, and as many present classes as expected on average."""

    Config = ExpectedPositiveConfig
    learns_from_unknown = True
    batch_global = ("mean number of present classes",)

    def __init__(self, tagger: Tagger, config: ExpectedPositiveConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.expected = expected_positives(config.expected_positives, context.labels)

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`observed` on known cells, and the `penalty` on the number of present classes."""
        observed = self.reduce(observed_cells(outputs["logits"], labels))
        penalty = batch_penalty(outputs["logits"], self.expected)
        return {"total": observed + penalty, "observed": observed, "penalty": penalty}


def batch_penalty(logits: Tensor, expected: float) -> Tensor:
    """((mean over the batch of all processes of Σ_c p_c - K) / C)², for logits `[B, C]` of this process."""
    counts = gather_batch(at_least_float32(logits).sigmoid().sum(1))
    return expected_positive_penalty(counts, expected, logits.shape[1])


def expected_positives(given: float | None, labels: LabelTable) -> float:
    """K as given, or else C · present / known of the table.

    Raises:
        AssumptionError: it is not given, and the table has not both signs.
    """
    if given is not None:
        return given
    counts = labels.counts_by_class()
    present, absent = int(counts.present.sum()), int(counts.absent.sum())
    if present == 0 or absent == 0:
        raise AssumptionError(
            f"a table with {present} known present and {absent} known absent cells does not tell how many classes an "
            f"image has; set expected_positives= to the mean number of present classes in an image, or let --method "
            f"auto take a "
            "method that needs no such number"
        )
    return len(labels.classes) * present / (present + absent)
