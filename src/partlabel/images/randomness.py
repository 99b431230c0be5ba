"""Random draws that belong to one view of one image in one epoch, whoever computes it and in which order."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def item_randomness(seed: int, epoch: int, item: str, view: str) -> Iterator[None]:
    """Inside the block, torch's global CPU generator is seeded from (seed, epoch, item, view); afterwards it is as
    before.

    The transforms used here draw from that generator and no other, so the same four values give the same view in any
    worker process. The generators of accelerators, of numpy and of Python are not touched. There is one generator a
    process: not for use in several threads at once.

    Args:
        seed: seed of the run.
        epoch: epoch, or the number k of a fixed view.
        item: name of the image.
        view: name of the view, so that two views of an image draw apart.
    """
    # ascii() is the same on every Python; repr() follows the Unicode version.
    key = ascii((int(seed), int(epoch), item, view)).encode()
    digest = hashlib.blake2b(key, digest_size=8, key=b"partlabel item randomness").digest()
    generator = torch.default_generator  # torch.manual_seed would reseed the accelerators as well
    state = generator.get_state()
    generator.manual_seed(int.from_bytes(digest, "little"))
    try:
        yield
    finally:
        generator.set_state(state)
