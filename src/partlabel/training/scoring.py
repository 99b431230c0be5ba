"""Logits of many pictures."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from partlabel.models.tagger import Tagger
from partlabel.progress import Tick
from partlabel.training.data import Source


@torch.no_grad()
def score(
    tagger: Tagger,
    source: Source,
    pictures: int,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    workers: int = 0,
    tick: Tick = lambda done, total: None,
) -> NDArray[np.float32]:
    """Logits, float32 `[pictures, C]`, of the plain view of each picture, in order. The tagger's mode is restored."""
    batches = [[(0, i) for i in range(start, min(start + batch_size, pictures))] for start in range(0, pictures, batch_size)]
    loader = DataLoader(source.dataset, batch_sampler=batches, num_workers=workers, collate_fn=source.collate)
    logits = np.empty((pictures, len(tagger.classes)), np.float32)
    was_training, done = tagger.training, 0
    tagger.eval()
    for batch in loader:
        part = tagger(batch["views"]["plain"].to(device)).logits.float().cpu().numpy()
        logits[done : done + len(part)] = part
        done += len(part)
        tick(done, pictures)
    tagger.train(was_training)
    return logits
