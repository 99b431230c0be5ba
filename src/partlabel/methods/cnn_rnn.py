"""Labels in sequence, by a recurrent network on a CNN (CNN-RNN).

Wang, Yang, Mao, Huang, Huang, Xu: CNN-RNN: A Unified Framework for Multi-label Image Classification, CVPR 2016.

An LSTM predicts the present classes of an image one after the other, the frequent ones first, each from the image and
from those before it (`models.heads.cnn_rnn`). L = mean of the cross-entropy over all steps of the batch, the end of
each sequence among them; in training the labels before are the known ones.

Unknown cells
Taken as absent: at each step all that is not the next known present class is wrong. IMCL, which compares itself with
CNN-RNN, says the same of it. Known absent cells are not used. Only known present cells are needed.

Known deviations
- A sequence ends with a sign of its own, and a class has for its score the highest probability of any step of a greedy
  walk; the paper searches the likeliest sequences with a beam, which scores no single class.
- Classes of equal frequency come in the order of their names. Frequency is counted from known present cells.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from partlabel.losses.precision import at_least_float32
from partlabel.methods.base import Clock, Context, Index, Labels, Method, Outputs, PoolConfig
from partlabel.methods.tools.distributed import per_process_total
from partlabel.models.heads import HeadSpec
from partlabel.models.heads.cnn_rnn import CNNRNNHead
from partlabel.models.tagger import Tagger


class CNNRNNConfig(PoolConfig):
    """Settings of `cnn_rnn`."""

    label_features: int = Field(default=64, gt=0)
    """Length of a label vector. The paper, as it is cited (not checked against it): 64."""
    hidden: int = Field(default=512, gt=0)
    """Width of the LSTM. The paper, as it is cited (not checked against it): 512."""
    steps: int = Field(default=10, ge=1)
    """Most labels that an image is tagged with. Ours."""


class CNNRNN(Method[CNNRNNConfig]):
    """Labels one after the other."""

    Config = CNNRNNConfig
    learns_from_unknown = True
    batch_global = ("number of steps",)

    place: Tensor

    def __init__(self, tagger: Tagger, config: CNNRNNConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        counts, classes = context.labels.counts_by_class().present, context.labels.classes
        order = sorted(range(len(classes)), key=lambda c: (-int(counts[c]), classes[c]))
        self.register_buffer("place", torch.tensor(order).argsort())

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of the tagger, and the place of each class in the order of frequency."""
        return {**super().class_axes, "place": (0,)}

    @classmethod
    def head(cls, config: CNNRNNConfig, context: Context) -> HeadSpec:
        """A recurrent network over label vectors."""
        return HeadSpec(kind="cnn_rnn", settings=config.model_dump())

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """Logits, and the images in the space of label vectors."""
        output = self.tagger(views["weak"])
        return {"logits": output.logits, "image": output.extra["image"]}

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Mean cross-entropy of the next label."""
        head = self.tagger.head
        assert isinstance(head, CNNRNNHead)
        present = labels == 1
        lengths, classes = present.sum(1), labels.shape[1]
        places = self.place.masked_fill(~present, classes)
        order = places.argsort(1)[:, : int(lengths.max())]
        targets = torch.cat([order, order.new_zeros(len(order), 1)], 1)
        steps = torch.arange(targets.shape[1], device=labels.device)
        targets = targets.masked_fill(steps == lengths[:, None], classes).masked_fill(steps > lengths[:, None], -1)
        with torch.autocast(labels.device.type, enabled=False):
            image = at_least_float32(outputs["image"])
            scores = head.sequence(image.to(head.labels.dtype), order)
            losses = functional.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum")
        count = per_process_total((targets >= 0).sum())
        return {"total": losses / count.to(losses.dtype)}
