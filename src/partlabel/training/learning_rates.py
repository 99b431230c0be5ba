"""The learning rates that a search tries."""

from collections.abc import Sequence

import numpy as np

from partlabel.errors import UsageError
from partlabel.runs.settings import TrainSettings

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""What `find_lr` tries on frozen maps; a tenth of each otherwise."""


def candidate_rates(find_lr: bool | Sequence[float], settings: TrainSettings) -> list[float]:
    """Learning rates to try; none without a search.

    Args:
        find_lr: True for the built-in candidates, False for none, or numbers.
        settings: of the training.

    Raises:
        UsageError: they cannot be compared, or one is no rate.
    """
    if not find_lr:
        return []
    if not settings.holdout:
        raise UsageError("the learning rate is searched on held-out cells; set holdout above 0")
    if settings.lr is not None:
        raise UsageError(f"the learning rate is given ({settings.lr:g}) and to be searched; leave one of them out")
    if find_lr is True:
        return [rate if settings.freeze or not settings.pretrained else rate / 10 for rate in LEARNING_RATES]
    wrong = [
        rate for rate in find_lr if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < np.inf
    ]
    if wrong:
        raise UsageError(f"learning rate {wrong[0]!r} to try is not a number above 0")
    return [float(rate) for rate in find_lr]
