"""The contract of a method that is fitted by passes over frozen features, in place of steps of an optimizer."""

from typing import NamedTuple, TypeVar

from torch import Tensor

from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Index, Labels, Look, Method, MethodConfig, Outputs
from partlabel.methods.catalogue import entry
from partlabel.progress import Reporter
from partlabel.runs.settings import TrainSettings, given_for_steps

Chosen = dict[str, float | str]
"""What a fit chose by itself, by name; a number that nothing could be said of is NaN."""

_Config = TypeVar("_Config", bound=MethodConfig)


class Fit(NamedTuple):
    """What a fit reads.

    Args:
        labels: the training table, without the held-out cells. Anything that is chosen is chosen by parts of it.
        images: starts a pass over the features of training images; each is in the order of the table, so that two fits
            of the same labels and features have the same bits.
        seed: of any draw.
        reporter: where progress goes.
        chosen: what an earlier fit chose, whose thresholds and calibration will be those of this one (a refit), so that
            nothing is chosen anew. Empty: all is to be chosen.
    """

    labels: LabelTable
    images: Look
    seed: int
    reporter: Reporter
    chosen: Chosen


class FittedMethod(Method[_Config]):
    """Base of methods that need no gradient: a linear head in closed form, class means, a kernel machine.

    The backbone is frozen and its features are cached, so a fit that was killed is made again from its beginning, with
    the same result, and needs no checkpoint. Subclasses implement `fit`.
    """

    @property
    def views(self) -> tuple[str, ...]:
        """The plain view: a fit sees every image once, as it is tagged."""
        return ("plain",)

    def fit(self, data: Fit) -> Chosen:
        """Set the weights of the head.

        Returns:
            What was chosen on the way, for log and report.
        """
        raise NotImplementedError

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """There is none: a fitted method takes no steps."""
        raise TypeError(f"{type(self).__name__} is fitted and has no objective")


def check_fitted(settings: TrainSettings, searches: bool) -> None:
    """Refuse what a method that is fitted cannot have, and settings that only steps follow.

    Args:
        settings: of a training.
        searches: whether a learning rate is to be searched.

    Raises:
        UsageError: says what has no effect, or is missing.
    """
    if not entry(settings.method).fitted:
        return
    if not settings.freeze:
        raise UsageError(f"method {settings.method} is fitted to the features of a frozen backbone; add --freeze")
    idle = ["find_lr", *given_for_steps(settings)] if searches else given_for_steps(settings)
    if idle:
        raise UsageError(
            f"method {settings.method} is fitted at once and takes no steps, so that {', '.join(idle)} would have no "
            "effect; leave it out"
        )
