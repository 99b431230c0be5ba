"""Recovery of missing labels: calibrated probabilities, thresholds for a stated precision, suggestions. No torch."""

from partlabel.recovery.calibrate import Calibrated, Calibration, calibrate, fit_calibration
from partlabel.recovery.judge import SuggestionScore, score_suggestions
from partlabel.recovery.suggest import Suggestion, Suggestions, suggest
from partlabel.recovery.suggestions_file import ReadSuggestion, read_suggestions
from partlabel.recovery.thresholds import (
    ClassThreshold,
    PrecisionThresholds,
    fit_thresholds,
    precision_thresholds,
)

__all__ = [
    "Calibrated",
    "Calibration",
    "ClassThreshold",
    "PrecisionThresholds",
    "ReadSuggestion",
    "Suggestion",
    "SuggestionScore",
    "Suggestions",
    "calibrate",
    "fit_calibration",
    "fit_thresholds",
    "precision_thresholds",
    "read_suggestions",
    "score_suggestions",
    "suggest",
]
