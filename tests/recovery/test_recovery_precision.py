"""True precision on unknown cells, over draws of held-out cells; `benchmarks/precision_rules.py` compares more
rules.
"""

import numpy as np
import pytest

from partlabel.datasets.simulated_scores import SimulatedScores
from partlabel.recovery.calibrate import fit_calibration
from partlabel.recovery.thresholds import fit_thresholds

DRAWS = 25


@pytest.mark.slow
def test_suggestions_come_near_the_target() -> None:
    precisions = []
    for seed in range(DRAWS):
        world = SimulatedScores(np.random.default_rng(10_000 + seed))
        held_out, unknown = world.draw(3000), world.draw(100_000)
        calibration = fit_calibration(*held_out, world.classes)
        thresholds = fit_thresholds(*held_out, world.classes, target_precision=0.95)
        probability = calibration.of(unknown.logits, unknown.class_index)
        suggested = probability >= thresholds.values[unknown.class_index]
        if suggested.any():
            precisions.append((unknown.states[suggested] == 1).mean())
    assert len(precisions) >= 0.6 * DRAWS
    assert 0.94 < np.mean(precisions) < 0.98
    assert np.mean(np.array(precisions) < 0.9) <= 0.08
