"""Error rates of a class against the rest: gaps between groups in false positives and in false negatives.

With `classes: [x]` a clause limits the errors of one class, such as the class that carries a benefit or a harm. Without
it, every class is compared with the rest, and the largest gap counts. Equal opportunity (Hardt, Price and Srebro, 2016)
is a false negative gap of the favourable class.
"""

from dataclasses import dataclass, replace

from fair_distill.gate.comparisons import Comparison
from fair_distill.gate.metrics import rates
from fair_distill.gate.metrics.base import Measurement
from fair_distill.gate.metrics.largest_gap import LARGEST_RISE, LargestGap
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.sentences import event_sentence


@dataclass(frozen=True, kw_only=True)
class _FalseNegativeGap(LargestGap):
    """A gap in the false negative rate of a class is the gap in its recall, because the two rates add up to 1."""

    def describe(self, comparison: Comparison, predictions: NetworkPredictions) -> Measurement:
        recalled = super().describe(comparison, predictions)
        missed = tuple(1 - rate for rate in recalled.rates)
        event = f"class {recalled.classes[0]!r} is missed"
        sentence = event_sentence(event, comparison, missed, recalled.examples, predictions)
        return replace(recalled, rates=missed, sentence=sentence)


FALSE_POSITIVE_GAP = LargestGap(
    name="false_positive_gap",
    title="Largest gap in false positives",
    short="false positive gap",
    definition="Largest gap in the false positive rate of a class against the rest: "
    "max_k [max_g P(k|not k, g) - min_g P(k|not k, g)]. Name the class with `classes`. With more than two classes, "
    "the rate of a group depends on its mix of the other classes",
    null_hypothesis="some class and pair of groups differ by more than the limit",
    bound="as `eo_diag_max`",
    rates=rates.false_positives,
    rise=LARGEST_RISE,
    covers_parts=True,
)

FALSE_NEGATIVE_GAP = _FalseNegativeGap(
    name="false_negative_gap",
    title="Largest gap in false negatives",
    short="false negative gap",
    definition="Largest gap in the false negative rate of a class: "
    "max_k [max_g P(not k|k, g) - min_g P(not k|k, g)]. Name the class with `classes`: for the favourable class this "
    "is equal opportunity. Without `classes` it equals `eo_diag_max`",
    null_hypothesis="some class and pair of groups differ by more than the limit",
    bound="as `eo_diag_max`",
    rates=rates.recalls,
    rise=LARGEST_RISE,
    covers_parts=True,
)
