"""Which images at which step: a pure function of (seed, epoch, step), so that training can go on from any step."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

Item = tuple[int, int]


class TrainingOrder(Sampler[list[Item]]):
    """All batches of all epochs as one sequence of (epoch, index) lists, from `start` on.

    A batch is shared out over processes: process r takes every world-th image from place r on. A last batch of a
    single image joins the one before it (batch statistics need two); with several processes an incomplete last batch is
    left out.

    Args:
        images: number of images.
        batch_size: images a process and step.
        epochs: number of epochs.
        seed: seed of the run.
        rank: number of this process.
        world: number of processes.
        start: first step to yield.
    """

    def __init__(
        self, images: int, batch_size: int, epochs: int, seed: int, *, rank: int = 0, world: int = 1, start: int = 0
    ) -> None:
        self.images, self.seed, self.epochs = images, seed, epochs
        self.rank, self.world, self.start = rank, world, start
        whole = batch_size * world
        bounds = [*range(0, images, whole), images]
        last = bounds[-1] - bounds[-2]
        if len(bounds) > 2 and (last == 1 or (world > 1 and last < whole)):
            bounds = bounds[:-2] + ([images] if world == 1 else [bounds[-2]])
        self.bounds = bounds

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return len(self.bounds) - 1

    def __len__(self) -> int:
        """Batches of all epochs, those before `start` included: the loop counts from the beginning."""
        return self.steps_per_epoch * self.epochs

    def __iter__(self) -> Iterator[list[Item]]:
        first_epoch, first_batch = divmod(self.start, self.steps_per_epoch)
        for epoch in range(first_epoch, self.epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(self.images)
            for batch in range(first_batch if epoch == first_epoch else 0, self.steps_per_epoch):
                chosen = order[self.bounds[batch] : self.bounds[batch + 1]]
                yield [(epoch, int(index)) for index in chosen[self.rank :: self.world]]
