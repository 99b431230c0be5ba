"""Features of training images as they were when last looked at."""

import torch
from torch import Tensor, nn

from partlabel.labels import LabelTable
from partlabel.methods.base import Look


class FeatureCache(nn.Module):
    """A dictionary of training images: their numbers, known labels and cached features; zeros before the first `fill`.

    The images are drawn once, from torch's generator.

    Args:
        table: the training labels.
        size: how many images; all of them if there are no more.
        features: channels d.
    """

    index: Tensor
    labels: Tensor
    features: Tensor

    def __init__(self, table: LabelTable, size: int, features: int) -> None:
        super().__init__()
        index = torch.randperm(len(table))[:size].sort().values if size < len(table) else torch.arange(len(table))
        self.register_buffer("index", index)
        self.register_buffer("labels", torch.from_numpy(table.rows(index.numpy())))
        self.register_buffer("features", torch.zeros(len(index), features))

    def fill(self, images: Look) -> None:
        """Take the features of the cache's images as the network sees them now; no other image is looked at."""
        done = 0
        for seen in images(self.index):
            self.features[done : done + len(seen.features)] = seen.features.to(self.features.dtype)
            done += len(seen.features)
