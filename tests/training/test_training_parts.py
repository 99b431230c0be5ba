"""Order, held-out cells, moving average: each against what it promises."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partlabel.errors import NotFiniteError, UsageError
from partlabel.labels import LabelTable, Source
from partlabel.methods.build import method_class
from partlabel.methods.catalogue import CATALOGUE
from partlabel.runs.holdout import hold_out
from partlabel.runs.settings import TrainSettings, make_settings
from partlabel.training.ema import MovingAverage
from partlabel.training.order import TrainingOrder


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.data())
def test_order_starts_anywhere_and_covers_each_epoch(
    images: int, batch: int, epochs: int, world: int, data: Any
) -> None:
    orders = [TrainingOrder(images, batch, epochs, 5, rank=rank, world=world) for rank in range(world)]
    if any(order.steps_per_epoch == 0 for order in orders):
        return
    whole = [list(order) for order in orders]
    assert all(len(batches) == len(order) for batches, order in zip(whole, orders, strict=True))
    seen = Counter(item for batches in whole for one in batches for item in one)
    assert set(seen.values()) <= {1}
    if world == 1:
        assert len(seen) == images * epochs
        assert images == 1 or all(len(one) > 1 for one in whole[0]) or batch == 1
    start = data.draw(st.integers(0, len(orders[0])))
    later = TrainingOrder(images, batch, epochs, 5, rank=0, world=world, start=start)
    assert list(later) == whole[0][start:]


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 3))
def test_borders_by_explicit_loop(images: int, batch: int, world: int) -> None:
    """Fill batch after batch; then join a last one of a single image, or leave an incomplete one out."""
    sizes: list[int] = []
    for _ in range(images):
        if not sizes or sizes[-1] == batch * world:
            sizes.append(0)
        sizes[-1] += 1
    if len(sizes) > 1 and world == 1 and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    elif len(sizes) > 1 and world > 1 and sizes[-1] < batch * world:
        sizes.pop()
    parts = [list(TrainingOrder(images, batch, 1, 5, rank=rank, world=world)) for rank in range(world)]
    assert [sum(map(len, step)) for step in zip(*parts, strict=True)] == sizes


def test_two_processes_share_the_batch_of_one() -> None:
    one = list(TrainingOrder(20, 8, 1, 3))
    parts = [list(TrainingOrder(20, 4, 1, 3, rank=rank, world=2)) for rank in range(2)]
    for step, (left, right) in enumerate(zip(*parts, strict=True)):
        assert sorted(left + right) == sorted(one[step])


@pytest.mark.parametrize("background", [[0, 0, 0], [0, -1, 0]])
def test_recovered_cells_are_never_held_out(background: list[int]) -> None:
    """A model chose them by its own scores, so that by them it would look better than it is."""
    random = np.random.default_rng(0)
    rows, columns = (part.ravel() for part in np.indices((200, 3)))
    sources = np.where(random.random(rows.size) < 0.5, Source.RECOVERED, Source.IMPORT)
    states = np.where(random.random(rows.size) < 0.5, 1, -1)
    table = LabelTable.from_cells([f"{i}" for i in range(200)], "abc", rows, columns, states, sources, background)
    split = hold_out(table, 0.2, 0)
    assert (split.held_out.sources == Source.IMPORT).all()
    given = int((sources == Source.IMPORT).sum())
    assert abs(split.held_out.states.size - 0.2 * given) <= 6
    assert (split.training.dense() != 0).sum() == rows.size - split.held_out.states.size


@pytest.mark.parametrize("background", [0, -1])
def test_held_out_cells_are_hidden_and_only_they(background: int) -> None:
    random = np.random.default_rng(0)
    states = random.integers(-1, 2, (300, 6))
    rows, columns = np.nonzero(states)
    table = LabelTable.from_cells(
        [f"{i}" for i in range(300)], "abcdef", rows, columns, states[rows, columns], background=background
    )
    split = hold_out(table, 0.1, 0)
    before, after = table.dense(), split.training.dense()
    held = split.held_out
    np.testing.assert_array_equal(before[held.image_index, held.class_index], held.states)
    assert (held.states != 0).all()
    expected = before.copy()
    expected[held.image_index, held.class_index] = 0
    np.testing.assert_array_equal(after, expected)
    for column in range(6):
        for sign in (1, -1):
            known = int((before[:, column] == sign).sum())
            chosen = int(((held.class_index == column) & (held.states == sign)).sum())
            assert chosen in {int(0.1 * known), int(0.1 * known) + 1}


def test_held_out_cells_do_not_depend_on_row_order_and_spare_the_only_one() -> None:
    states = np.asarray([[1, 1], [-1, -1], [-1, 1], [-1, 1], [-1, -1]])
    names = list("vwxyz")
    table = LabelTable.from_dense(names, "ab", states)
    mirrored = LabelTable.from_dense(names[::-1], "ab", states[::-1])
    for seed in range(20):
        one, two = hold_out(table, 0.5, seed), hold_out(mirrored, 0.5, seed)
        assert one.training.dense()[0, 0] == 1
        np.testing.assert_array_equal(one.training.dense(), two.training.dense()[::-1])
    assert not hold_out(table, 0, 0).held_out.states.size


@pytest.mark.parametrize("warmup", [True, False])
def test_moving_average_by_explicit_loop(warmup: bool) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    network[0].bias.requires_grad_(False)
    average = MovingAverage(network, 0.5, warmup=warmup)
    assert average.network[0].bias is network[0].bias  # type: ignore[index,union-attr]
    expected, mean = network[0].weight.detach().clone(), network[1].running_mean.clone()
    for step in range(1, 12):
        with torch.no_grad():
            network[0].weight += torch.randn(2, 3)
        network(torch.randn(5, 3))
        average.update(network)
        decay = min(0.5, (1 + step) / (10 + step)) if warmup else 0.5
        expected = decay * expected + (1 - decay) * network[0].weight.detach()
        mean = decay * mean + (1 - decay) * network[1].running_mean
    torch.testing.assert_close(average.network[0].weight, expected)  # type: ignore[index,union-attr]
    torch.testing.assert_close(average.network[1].running_mean, mean)  # type: ignore[index,union-attr]
    assert int(average.network[1].num_batches_tracked) == 11  # type: ignore[index,union-attr]


def test_settings_are_routed_and_checked() -> None:
    fields = method_class("saliency").Config.model_fields
    settings = make_settings({"method": "saliency", "alpha": 0.3, "epochs": 2}, fields)
    assert settings.method_settings == {"alpha": 0.3}
    assert settings.epochs == 2
    with pytest.raises(UsageError, match=r"no setting 'epoch'; did you mean epochs\? Settings are accelerator"):
        make_settings({"epoch": 2}, {})
    with pytest.raises(UsageError, match=r"setting lr: input should be greater than 0, got -1"):
        make_settings({"lr": -1}, {})
    for name in CATALOGUE:
        assert not set(method_class(name).Config.model_fields) & set(TrainSettings.model_fields), name


class _Poisoned(torch.utils.data.Dataset[Any]):
    def __init__(self, inner: Any, poisoned: int) -> None:
        self.inner, self.poisoned = inner, poisoned

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, item: Any) -> Any:
        sample = self.inner[item]
        if item[1] == self.poisoned:
            sample["views"] = {name: view * float("nan") for name, view in sample["views"].items()}
        return sample


def test_a_nan_stops_before_the_step_and_names_the_images(
    color_images: tuple[Path, LabelTable], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import partlabel.training.build as build_module
    from partlabel.api.train import train

    root, table = color_images
    original = build_module.image_source
    monkeypatch.setattr(
        build_module,
        "image_source",
        lambda *arguments: original(*arguments)._replace(dataset=_Poisoned(original(*arguments).dataset, 5)),
    )
    with pytest.raises(
        NotFiniteError, match=r"the loss is not finite at step \d+, before the weights were touched; images: 05\.png;"
    ):
        train(
            table,
            images=root,
            out=tmp_path / "run",
            backbone="test_resnet",
            pretrained=False,
            size=32,
            epochs=1,
            batch_size=32,
            accelerator="cpu",
        )
