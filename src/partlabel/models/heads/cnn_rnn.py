"""Labels of an image one after the other, by a recurrent network."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from partlabel.models.encoders.base import Pool
from partlabel.models.heads.base import Head, HeadOutput, ImageVector, Logits, check_pool

State = tuple[Tensor, Tensor]


class CNNRNNHead(Head):
    """Head of CNN-RNN (Wang et al., CVPR 2016): an LSTM reads the vector of the last label, its output and the image's
    pooled features are added in the space of label vectors, and the scores of the next label are inner products of
    label vectors with the rectified sum.

    Beside the labels there are a vector to begin with and one whose choice ends the sequence (ours).

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        label_features: length of a label vector.
        hidden: width of the LSTM.
        steps: most labels that an image is tagged with.
        pool: "avg" or "max".
    """

    has_class_maps = False

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        label_features: int = 64,
        hidden: int = 512,
        steps: int = 10,
        pool: Pool = "avg",
    ) -> None:
        super().__init__()
        check_pool(pool)
        self.pool, self.steps = pool, steps
        self.labels = nn.Parameter(torch.randn(classes, label_features) / label_features**0.5)
        self.begin = nn.Parameter(torch.zeros(label_features))
        self.end = nn.Parameter(torch.randn(label_features) / label_features**0.5)
        self.image = nn.Linear(features, label_features)
        self.memory = nn.LSTMCell(label_features, hidden)
        self.project = nn.Linear(hidden, label_features, bias=False)

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """The label vectors by row."""
        return {"labels": (0,)}

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits (see `tags`), and `image`, the images in the space of label vectors."""
        pooled = maps.mean((2, 3)) if self.pool == "avg" else maps.amax((2, 3))
        embedded = self.image(pooled)
        return HeadOutput(self.tags(embedded), {"image": embedded})

    def next_label(
        self, image: Float[Tensor, "batch width"], last: Float[Tensor, "batch width"], state: State | None
    ) -> tuple[Float[Tensor, "batch choices"], State]:
        """Scores of the classes and, last, of the end; `last` is the vector of the label before."""
        output, cell = self.memory(last, state)
        joined = functional.relu(self.project(output) + image)
        return joined @ torch.cat([self.labels, self.end[None]]).T, (output, cell)

    def sequence(
        self, image: Float[Tensor, "batch width"], order: Int64[Tensor, "batch steps"]
    ) -> Float[Tensor, "batch steps_and_end choices"]:
        """Scores at each step where the labels so far are those of `order`, and after all of them."""
        last, state, scores = self.begin.expand(image.shape[0], -1), None, []
        for step in range(order.shape[1] + 1):
            found, state = self.next_label(image, last, state)
            scores.append(found)
            if step < order.shape[1]:
                last = self.labels[order[:, step]]
        return torch.stack(scores, 1)

    def tags(self, image: Float[Tensor, "batch width"]) -> Logits:
        """Logit of the highest probability that a class has at any step, where the likeliest new label is taken at each
        until the end is likelier (ours; the paper's beam search gives no score to the classes that it leaves out).
        """
        last, state = self.begin.expand(image.shape[0], -1), None
        highest: Tensor | None = None
        taken = torch.zeros(image.shape[0], len(self.labels), dtype=torch.bool, device=image.device)
        ended = torch.zeros(image.shape[0], 1, dtype=torch.bool, device=image.device)
        for _ in range(min(self.steps, len(self.labels))):
            scores, state = self.next_label(image, last, state)
            scores = torch.cat([scores[:, :-1].masked_fill(taken, -torch.inf), scores[:, -1:]], 1)
            logs = functional.log_softmax(scores, 1)
            here = logs[:, :-1].masked_fill(ended, -torch.inf)
            highest = here if highest is None else torch.maximum(highest, here)
            ended = ended | (logs.argmax(1, keepdim=True) == logs.shape[1] - 1)
            label = logs[:, :-1].argmax(1)
            taken = taken.scatter(1, label[:, None], True)
            last = self.labels[label]
        assert highest is not None
        highest = highest.clamp(max=-torch.finfo(highest.dtype).eps)
        return highest - torch.log(-torch.expm1(highest))
