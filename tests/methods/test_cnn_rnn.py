"""CNN-RNN: the order of labels, the loss a step at a time, and how images are tagged."""

import math

import pytest
import torch
from torch import Tensor

from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context
from partlabel.methods.build import build_method
from partlabel.methods.cnn_rnn import CNNRNN
from partlabel.models.encoders.build import create_backbone
from partlabel.models.heads.cnn_rnn import CNNRNNHead

CLASSES = ("d", "a", "c", "b")
LABELS = torch.tensor([[1, 0, -1, 1], [0, 0, 1, 1], [0, -1, 0, 0], [1, 0, 1, 1]], dtype=torch.int8)
ORDER = ["b", "c", "d", "a"]  # 3, 2, 2 and 0 known present cells; c before d by name


def _method(**settings: int) -> CNNRNN:
    torch.manual_seed(0)
    table = LabelTable.from_dense(list("pqrs"), CLASSES, LABELS.numpy())
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    method = build_method("cnn_rnn", {"label_features": 6, "hidden": 5, **settings}, backbone, Context(table))
    assert isinstance(method, CNNRNN)
    return method.double().eval()


class _ByHand:
    """The recurrent network of one image, gate by gate."""

    def __init__(self, head: CNNRNNHead, image: Tensor) -> None:
        self.head, self.image = head, image
        self.h = self.c = torch.zeros(5, dtype=torch.float64)

    def step(self, last: Tensor) -> list[float]:
        """Probabilities of the classes and of the end."""
        cell = self.head.memory
        gates = cell.weight_ih @ last + cell.bias_ih + cell.weight_hh @ self.h + cell.bias_hh
        enter, forget, new, leave = gates.split(5)
        self.c = torch.sigmoid(forget) * self.c + torch.sigmoid(enter) * torch.tanh(new)
        self.h = torch.sigmoid(leave) * torch.tanh(self.c)
        joined = torch.relu(self.head.project.weight @ self.h + self.image)
        scores = [float(vector @ joined) for vector in (*self.head.labels, self.head.end)]
        return [math.exp(score) / sum(map(math.exp, scores)) for score in scores]


@torch.no_grad()
def test_loss_is_the_cross_entropy_of_the_frequent_label_first() -> None:
    method = _method()
    head = method.tagger.head
    assert isinstance(head, CNNRNNHead)
    image = torch.randn(4, 6, dtype=torch.float64)
    losses = []
    for i in range(4):
        network, last = _ByHand(head, image[i]), head.begin
        for name in [name for name in ORDER if LABELS[i, CLASSES.index(name)] == 1]:
            losses.append(-math.log(network.step(last)[CLASSES.index(name)]))
            last = head.labels[CLASSES.index(name)]
        losses.append(-math.log(network.step(last)[4]))
    assert len(losses) == 2 + 2 + 0 + 3 + 4
    found = method.objective({"image": image}, LABELS, torch.arange(4), Clock(0, 0, 1, 1))["total"]
    assert found.item() == pytest.approx(sum(losses) / len(losses), abs=1e-9)


@torch.no_grad()
def test_images_are_tagged_by_the_highest_probability_on_a_greedy_walk() -> None:
    lengths = set()
    for steps in (1, 3, 10):
        method = _method(steps=steps)
        head = method.tagger.head
        assert isinstance(head, CNNRNNHead)
        image = 4 * torch.randn(12, 6, dtype=torch.float64)
        found = torch.sigmoid(head.tags(image))
        for i in range(12):
            network, last, taken, best = _ByHand(head, image[i]), head.begin, set(), [0.0] * 4
            for _ in range(min(steps, 4)):
                probabilities = network.step(last)
                left = sum(p for n, p in enumerate(probabilities) if n not in taken)
                now = {n: p / left for n, p in enumerate(probabilities) if n not in taken}
                best = [max(best[n], now.get(n, 0.0)) for n in range(4)]
                label = max(now, key=lambda n: now[n])
                if label == 4:
                    break
                taken.add(label)
                last = head.labels[label]
            lengths.add(len(taken))
            assert found[i].tolist() == pytest.approx(best, abs=1e-9)
    assert len(lengths) > 2


@pytest.mark.slow
def test_unknown_classes_are_learned_as_absent_from_present_ones_alone() -> None:
    method = _method(hidden=16)
    image, labels = torch.randn(4, 6, dtype=torch.float64), torch.where(LABELS == -1, 0, LABELS).to(torch.int8)
    optimizer = torch.optim.Adam(method.tagger.head.parameters(), lr=0.03)
    for _ in range(300):
        optimizer.zero_grad()
        method.objective({"image": image}, labels, torch.arange(4), Clock(0, 0, 1, 1))["total"].backward()
        optimizer.step()
    tagged = method.tagger.head.tags(image).detach() > 0  # type: ignore[operator]
    assert tagged.tolist() == (labels == 1).tolist()
