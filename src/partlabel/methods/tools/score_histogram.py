"""How the scores of a class are spread over images, kept in little memory, to bring them to a prevalence."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

_REACH = 12.0
"""Scores have deviation 1; those beyond this count as this."""
_BINS = 2048
_HALVINGS = 60


class ScoreHistogram:
    """Numbers of cells by score, for each class.

    Args:
        classes: number of classes C.
    """

    counts: Int64[Tensor, "classes bins"]

    def __init__(self, classes: int) -> None:
        self.counts = torch.zeros(classes, _BINS, dtype=torch.int64)
        width = 2 * _REACH / _BINS
        self.centres = -_REACH + width * (torch.arange(_BINS, dtype=torch.float64) + 0.5)

    def add(self, scores: Float[Tensor, "n classes"], counted: Bool[Tensor, "n classes"]) -> None:
        """Count the cells of some images where `counted`."""
        bins = ((scores + _REACH) * (_BINS / (2 * _REACH))).long().clamp(0, _BINS - 1)
        numbers = (bins + _BINS * torch.arange(scores.shape[1]))[counted]
        self.counts += torch.bincount(numbers, minlength=self.counts.numel()).view_as(self.counts)

    def offsets(self, slope: float, prevalence: Float[Tensor, " classes"]) -> Float[Tensor, " classes"]:
        """The b for which the mean of sigmoid(slope · score + b) over the counted cells is the prevalence of the class.

        Where nothing is counted, the log odds of the prevalence.

        Args:
            slope: above 0.
            prevalence: float64 `[C]`, between 0 and 1, both excluded.
        """
        total = self.counts.sum(1).clamp(min=1)
        low = torch.full_like(prevalence, -slope * _REACH - 40)
        high = -low
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            mean = (self.counts * torch.sigmoid(slope * self.centres + middle[:, None])).sum(1) / total
            low, high = torch.where(mean < prevalence, middle, low), torch.where(mean < prevalence, high, middle)
        return torch.where(self.counts.sum(1) > 0, (low + high) / 2, torch.logit(prevalence))
