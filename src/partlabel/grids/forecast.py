"""What a grid costs, told from its file before anything is run: trainings, steps and images."""

import itertools
import re
from math import ceil
from typing import NamedTuple

from partlabel.datasets.catalogue import DATASETS
from partlabel.grids.grid import Grid
from partlabel.grids.schema import DigitScenes, LabelFiles
from partlabel.runs.settings import TrainSettings
from partlabel.wording import amount

_DATA_SET = re.compile(r"(\w+):[^,]*((?:,\w+=[^,]*)*)")


class Cost(NamedTuple):
    """What the trainings on one data set cost.

    Args:
        data: its name in the grid.
        trainings: number of trainings, candidates for a learning rate among them; with `top` as many as there may be.
        images: number of training images; None if nobody says it before the data are read.
        steps: optimiser steps in all.
        passes: images that pass in all of them.
    """

    data: str
    trainings: int
    images: int | None
    steps: int
    passes: int


def training_images(entry: LabelFiles | DigitScenes) -> int | None:
    """The number of training images: as said, or as published for a data set; None if neither tells."""
    if isinstance(entry, DigitScenes):
        return entry.train
    match = _DATA_SET.fullmatch(entry.train)
    if match is None or match[1] not in DATASETS:
        return None
    dataset = DATASETS[match[1]]
    options = {option.name: option.default for option in dataset.options}
    options |= dict(pair.split("=", 1) for pair in match[2].split(",") if pair) | entry.where | entry.where_train
    if any(options[option.name] != option.default for option in dataset.options if not option.meanings):
        return None  # a file that the user names may list other images
    for stated in dataset.published:
        if all(options[name] == value for name, value in stated.options.items()):
            return stated.images
    return None


def costs(grid: Grid) -> list[Cost]:
    """What each data set costs."""
    found = []
    for data, entry in grid.data.items():
        images, trainings, steps, passes = training_images(entry), 0, 0, 0
        for masking, label in itertools.product(grid.maskings, [*grid.starts, *grid.rows]):
            row = grid.row_of(data, masking, label)
            said = {name: row.settings[name] for name in ("epochs", "batch_size") if name in row.settings}
            settings, runs = TrainSettings(**said), len(grid.seeds) - 1 + max(len(row.rates), 1)
            trainings += runs
            steps += runs * settings.epochs * ceil((images or 0) / settings.batch_size)
            passes += runs * settings.epochs * (images or 0)
        found.append(Cost(data, trainings, images, steps, passes))
    return found


def told(grid: Grid, images_per_second: float | None = None) -> str:
    """The costs as sentences.

    Args:
        grid: the grid.
        images_per_second: how many images pass in a second of training, where hours are wanted.
    """
    lines, found = [], costs(grid)
    for one in found:
        if one.images is None:
            lines.append(f"{one.data}: {amount(one.trainings, 'training')}; its images are counted when it is read")
            continue
        lines.append(
            f"{one.data}: {amount(one.trainings, 'training')} on {one.images:,} images, {one.steps:,} steps, "
            f"{one.passes:,} images to pass"
        )
    if images_per_second and (counted := [one for one in found if one.images is not None]):
        hours = sum(one.passes for one in counted) / images_per_second / 3600
        lines.append(f"At {images_per_second:g} images a second, which you say: {hours:,.1f} hours")
    if grid.top is not None:
        lines.append(f"At most: only {grid.top} rows of each data set and masking go on to the other seeds.")
    lines.append(
        "Two networks, two views or mixed images take up to twice the time for an image; test images come on top."
    )
    return "\n".join(lines)
