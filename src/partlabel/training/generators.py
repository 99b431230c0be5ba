"""Torch's global generators, which a training seeds at each step and gives back as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_generators() -> Iterator[None]:
    """Restore the state of torch's generators afterwards, so that a caller's stream of draws is not changed."""
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
