"""Every metric that a clause of the policy can limit.

To add a metric, define it in the file of its family and add one line to METRICS. The metric object carries its value,
its rates, its bounds, its plan, its rise over a reference and its words. No other file names a metric; the contract
tests in `tests/gate/test_metric_contract.py` run over METRICS.
"""

from fair_distill.gate.metrics.accuracy import ACCURACY, WORST_CELL_ACCURACY, WORST_GROUP_ACCURACY
from fair_distill.gate.metrics.balanced_accuracy import BALANCED_ACCURACY, WORST_GROUP_BALANCED_ACCURACY
from fair_distill.gate.metrics.base import CardMetric, Measured, Metric, PredictionMetric
from fair_distill.gate.metrics.broken_relations import BROKEN_RELATIONS
from fair_distill.gate.metrics.calibration import CALIBRATION_GAP
from fair_distill.gate.metrics.calibration_error import CALIBRATION_ERROR
from fair_distill.gate.metrics.equalized_odds import EO_DIAG_MAX, EO_DIAG_MEAN, EO_FULL_MAX, EO_OVR_MAX
from fair_distill.gate.metrics.error_rates import FALSE_NEGATIVE_GAP, FALSE_POSITIVE_GAP
from fair_distill.gate.metrics.majority import ACCURACY_OVER_MAJORITY
from fair_distill.gate.metrics.near_copies import NEAR_COPIES
from fair_distill.gate.metrics.parity import DPD_MAX
from fair_distill.gate.metrics.selection_ratio import SELECTION_RATE_RATIO

METRICS: dict[str, Metric] = {
    "accuracy": ACCURACY,
    "worst_group_accuracy": WORST_GROUP_ACCURACY,
    "worst_cell_accuracy": WORST_CELL_ACCURACY,
    "balanced_accuracy": BALANCED_ACCURACY,
    "worst_group_balanced_accuracy": WORST_GROUP_BALANCED_ACCURACY,
    "accuracy_over_majority": ACCURACY_OVER_MAJORITY,
    "eo_diag_max": EO_DIAG_MAX,
    "eo_diag_mean": EO_DIAG_MEAN,
    "eo_full_max": EO_FULL_MAX,
    "eo_ovr_max": EO_OVR_MAX,
    "false_positive_gap": FALSE_POSITIVE_GAP,
    "false_negative_gap": FALSE_NEGATIVE_GAP,
    "dpd_max": DPD_MAX,
    "selection_rate_ratio": SELECTION_RATE_RATIO,
    "calibration_gap": CALIBRATION_GAP,
    "calibration_error": CALIBRATION_ERROR,
    "near_copies": NEAR_COPIES,
    "broken_relations": BROKEN_RELATIONS,
}
PREDICTION_METRICS = {name: metric for name, metric in METRICS.items() if isinstance(metric, PredictionMetric)}
CARD_METRICS = {name: metric for name, metric in METRICS.items() if isinstance(metric, CardMetric)}
# The metrics that tables of sets show, with the headings of their columns.
TABLE_COLUMNS = {name: metric.column for name, metric in METRICS.items() if metric.column}

__all__ = [
    "ACCURACY",
    "ACCURACY_OVER_MAJORITY",
    "BALANCED_ACCURACY",
    "CARD_METRICS",
    "EO_DIAG_MAX",
    "EO_DIAG_MEAN",
    "METRICS",
    "PREDICTION_METRICS",
    "TABLE_COLUMNS",
    "WORST_GROUP_ACCURACY",
    "Measured",
    "Metric",
    "PredictionMetric",
]
