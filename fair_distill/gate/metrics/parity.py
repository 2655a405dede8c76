"""Demographic parity: differences between groups in how often a class is predicted."""

from fair_distill.gate.metrics import rates
from fair_distill.gate.metrics.largest_gap import LARGEST_RISE, LargestGap

DPD_MAX = LargestGap(
    name="dpd_max",
    title="Largest gap in how often a class is predicted",
    short="largest gap (parity)",
    definition="Demographic parity: largest gap in how often a class is predicted, "
    "max_k [max_g P(k|g) - min_g P(k|g)]. Not 0 for a perfect classifier if groups differ in their mix of classes",
    null_hypothesis="some predicted class and pair of groups differ by more than the limit",
    bound="as `eo_diag_max`",
    rates=rates.selections,
    rise=LARGEST_RISE,
    needs="groups",
    covers_parts=True,
)
