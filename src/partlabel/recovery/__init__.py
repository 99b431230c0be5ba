"""Recovery of missing labels: calibrated probabilities, thresholds for a stated precision, suggestions. No torch."""

from partlabel.recovery.audited import Audited
from partlabel.recovery.calibrate import Calibrated, Calibration, calibrate, fit_calibration
from partlabel.recovery.doubtful import Doubtful, doubtful, write_doubtful
from partlabel.recovery.judge import SuggestionScore, score_suggestions
from partlabel.recovery.promise import GroupPromise, Promise, promise_precision
from partlabel.recovery.suggest import Candidates, Suggestion, Suggestions, find_candidates, suggest
from partlabel.recovery.suggestions_file import ReadSuggestion, read_suggestions
from partlabel.recovery.thresholds import (
    ClassThreshold,
    PrecisionThresholds,
    fit_thresholds,
    precision_thresholds,
)

__all__ = [
    "Audited",
    "Calibrated",
    "Calibration",
    "Candidates",
    "ClassThreshold",
    "Doubtful",
    "GroupPromise",
    "PrecisionThresholds",
    "Promise",
    "ReadSuggestion",
    "Suggestion",
    "SuggestionScore",
    "Suggestions",
    "calibrate",
    "doubtful",
    "find_candidates",
    "fit_calibration",
    "fit_thresholds",
    "precision_thresholds",
    "promise_precision",
    "read_suggestions",
    "score_suggestions",
    "suggest",
    "write_doubtful",
]
