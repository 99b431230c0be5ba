"""Everything that `look` found, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from partlabel.formats import ReadingReport
from partlabel.inspection.image_files import ImageFiles
from partlabel.inspection.states import KnownStates
from partlabel.methods.auto import Choice, Network


class MethodFit(NamedTuple):
    """Whether a method can learn from the labels.

    Args:
        method: its name.
        unknown: what it does with unknown cells.
        misfit: why it cannot learn from these labels; None if it can.
    """

    method: str
    unknown: str
    misfit: str | None


@dataclass(frozen=True, kw_only=True)
class Against:
    """A second table that should share no image with the first.

    Args:
        images: how many images it has.
        shared_names: images that are in both tables.
        report: how its file was read; None if it came as a table.
    """

    images: int
    shared_names: tuple[str, ...]
    report: ReadingReport | None


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is known of a table, and what is wrong with it.

    Args:
        known: states by class and by image.
        methods: every method of the catalogue, and whether it fits.
        auto: what `--method auto` takes for each way to train the network; empty if no present cell is known.
        report: how the label file was read; None if it came as a table.
        image_files: what the image folder holds; None if no folder was given.
        against: the second table; None if there is none.
        problems: what would stop a training, or make an evaluation say too much, one sentence each.
    """

    known: KnownStates
    methods: tuple[MethodFit, ...]
    auto: Mapping[Network, Choice]
    report: ReadingReport | None
    image_files: ImageFiles | None
    against: Against | None
    problems: tuple[str, ...]
