"""Plots: what they say in words, and that they leave no trace."""

import base64
from xml.etree import ElementTree

import matplotlib
import numpy as np

from partlabel.evaluation import reliability
from partlabel.report.plots import Bins, Plot, loss_plot, map_plot, reliability_plot

LOG = [
    {"phase": "selection", "epoch": "1", "loss": "0.9", "loss_known": "0.5", "loss_pseudo": "0.4", "held_out_mAP": ""},
    {
        "phase": "selection",
        "epoch": "2",
        "loss": "0.7",
        "loss_known": "0.4",
        "loss_pseudo": "0.3",
        "held_out_mAP": "0.61",
    },
    {
        "phase": "selection",
        "epoch": "3",
        "loss": "0.8",
        "loss_known": "0.6",
        "loss_pseudo": "0.2",
        "held_out_mAP": "0.58",
    },
    {
        "phase": "selection",
        "epoch": "4",
        "loss": "0.75",
        "loss_known": "nan",
        "loss_pseudo": "0.1",
        "held_out_mAP": "nan",
    },
    {"phase": "refit", "epoch": "1", "loss": "1.5"},
]


def shapes(plot: Plot) -> ElementTree.Element:
    head, _, body = plot.uri.partition(",")
    assert head == "data:image/svg+xml;base64"
    return ElementTree.fromstring(base64.b64decode(body))


def test_losses_of_both_phases_in_words() -> None:
    plot = loss_plot(LOG)
    assert plot is not None
    assert "total (selection): 0.9 in epoch 1, 0.75 in epoch 4, lowest 0.7" in plot.alt
    assert "known (selection): 0.5 in epoch 1, 0.6 in epoch 3, lowest 0.4" in plot.alt
    assert "total (refit): 1.5 in epoch 1" in plot.alt
    assert len([group for group in shapes(plot).iter() if group.get("id", "").startswith("line2d")]) >= 4


def test_a_loss_of_one_part_is_drawn_once() -> None:
    plot = loss_plot([{"phase": "selection", "epoch": "1", "loss": "2", "loss_known": "2"}])
    assert plot is not None
    assert plot.alt == "Loss by epoch. 2 in epoch 1, 2 in epoch 1, lowest 2."


def test_map_leaves_out_epochs_without_a_look() -> None:
    plot = map_plot(LOG)
    assert plot is not None
    assert plot.alt == "Held-out mAP, % by epoch. 61 in epoch 2, 58 in epoch 3, highest 61."
    assert map_plot(LOG[-1:]) is None
    assert map_plot(LOG[1:2]) is None  # one point is no curve
    assert loss_plot([{"phase": "selection", "epoch": "1"}]) is None


def test_reliability_in_words() -> None:
    probabilities, states = np.array([[0.1], [0.15], [0.95], [0.5]]), np.array([[-1], [1], [1], [0]])
    plot = reliability_plot([Bins("before", reliability(probabilities, states, 10))])
    assert (
        "before: 0.50 of 2 cells present at mean probability 0.12, 1.00 of 1 cells present at mean probability 0.95"
        in plot.alt
    )
    shapes(plot)


def test_settings_of_the_user_neither_change_nor_matter() -> None:
    plain = loss_plot(LOG)
    with matplotlib.rc_context(
        {"axes.facecolor": "black", "text.color": "white", "lines.linewidth": 9, "svg.hashsalt": "mine"}
    ):
        before = dict(matplotlib.rcParams)
        assert loss_plot(LOG) == plain
        assert dict(matplotlib.rcParams) == before
    assert plain is not None
    assert b"date" not in base64.b64decode(plain.uri.partition(",")[2])
