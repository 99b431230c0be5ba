"""Which images at which step: a pure function of (seed, epoch, step), so that training can go on from any step."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

Item = tuple[int, int]


class TrainingOrder(Sampler[list[Item]]):
    """All batches of all epochs as one sequence of (epoch, index) lists, from `start` on.

    A batch is shared out over processes: process r takes every world-th image from position r on. A last batch of a
    single image joins the one before it (batch statistics need two); with several processes an incomplete last batch is
    left out.

    Args:
        images: number of images.
        batch_size: images per process and step.
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
        self.whole = batch_size * world
        steps = -(-images // self.whole)
        last = images - (steps - 1) * self.whole
        joined = world == 1 and last == 1
        left_out = world > 1 and last < self.whole
        self.steps_per_epoch = steps - 1 if steps > 1 and (joined or left_out) else steps
        self.end = self.steps_per_epoch * self.whole if steps > 1 and left_out else images

    def __len__(self) -> int:
        """Batches of all epochs, those before `start` included: the loop counts from the beginning."""
        return self.steps_per_epoch * self.epochs

    def __iter__(self) -> Iterator[list[Item]]:
        first_epoch, first_batch = divmod(self.start, self.steps_per_epoch)
        for epoch in range(first_epoch, self.epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(self.images)
            for batch in range(first_batch if epoch == first_epoch else 0, self.steps_per_epoch):
                is_last = batch == self.steps_per_epoch - 1
                chosen = order[batch * self.whole : self.end if is_last else (batch + 1) * self.whole]
                yield [(epoch, int(index)) for index in chosen[self.rank :: self.world]]
