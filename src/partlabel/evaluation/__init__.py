"""Evaluation over known cells only: average precision, F1, calibration, grouped tables. Needs numpy alone."""

from partlabel.evaluation.average_precision import RankingMeasures, average_precision, ranking_measures, roc_auc
from partlabel.evaluation.calibration import Reliability, brier_score, expected_calibration_error, log_loss, reliability
from partlabel.evaluation.f_measures import FMeasures, f_measures
from partlabel.evaluation.grouped import ClassGroup, grouped_map
from partlabel.evaluation.summary import Evaluation, evaluate
from partlabel.evaluation.thresholds import BestThresholds, best_f1_thresholds

__all__ = [
    "BestThresholds",
    "ClassGroup",
    "Evaluation",
    "FMeasures",
    "RankingMeasures",
    "Reliability",
    "average_precision",
    "best_f1_thresholds",
    "brier_score",
    "evaluate",
    "expected_calibration_error",
    "f_measures",
    "grouped_map",
    "log_loss",
    "ranking_measures",
    "reliability",
    "roc_auc",
]
