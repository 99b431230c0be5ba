"""The section of predicted probabilities: counts as they are, and files that do not hold them."""

import base64
from xml.etree import ElementTree

import numpy as np
import pytest

from partlabel.evaluation.histogram import Histogram
from partlabel.report.histograms import histogram_json, histogram_of_test, histogram_parts
from partlabel.report.plots import Plot

GROUPS = ("present", "absent", "unknown", "unknown, truly present", "unknown, truly absent")


def shapes(plot: Plot) -> ElementTree.Element:
    return ElementTree.fromstring(base64.b64decode(plot.uri.partition(",")[2]))


def _histogram(groups: int) -> Histogram:
    return {name: 1000 * place + np.arange(10) for place, name in enumerate(GROUPS[:groups])}  # type: ignore[misc]


@pytest.mark.parametrize("groups", [3, 5])
def test_every_count_is_printed_and_said(groups: int) -> None:
    counts = _histogram(groups)
    (part,) = histogram_parts(counts, None)
    assert part.columns == list(GROUPS[:groups])
    assert len(part.rows) == 11
    assert part.rows[3] == ["0.3 to 0.4", *("3", "1,003", "2,003", "3,003", "4,003")[:groups]]
    assert part.rows[10] == ["all", *("45", "10,045", "20,045", "30,045", "40,045")[:groups]]
    assert "unknown: 2,000, 2,001" in part.plot.alt
    bars = [element for element in shapes(part.plot).iter() if str(element.get("id")).startswith("patch_")]
    assert len(bars) > 10 * groups


def test_a_test_without_unknown_cells_has_one_panel() -> None:
    counts = {**_histogram(3), "unknown": np.zeros(10, np.int64)}
    one, two = histogram_parts(None, counts)[0], histogram_parts(None, _histogram(3))[0]
    heights = [float(str(shapes(part.plot).get("height")).removesuffix("pt")) for part in (one, two)]
    assert heights[1] == pytest.approx(2 * heights[0])


def test_what_a_test_counted_is_read_back_and_anything_else_is_not() -> None:
    written = histogram_json(_histogram(3))
    found = histogram_of_test({"probabilities": written})
    assert found is not None
    assert histogram_json(found) == written
    few, short = {"present": [1] * 10}, {**written, "absent": [1]}
    for bad in (None, {}, {"probabilities": few}, {"probabilities": short}, {"probabilities": {**written, "x": [1]}}):
        assert histogram_of_test(bad) is None
