"""The interface of a metric. A metric carries everything in the gate that depends on which metric it is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from fair_distill.card import DatasetCard
from fair_distill.config import Limit
from fair_distill.gate.comparisons import Comparison, Comparisons, Sides, select
from fair_distill.gate.confusion import Confusion, Floats, RatesOfClasses
from fair_distill.gate.evidence import Evidence
from fair_distill.gate.fair_sets import FairSets
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.sentences import rates_sentence, too_few
from fair_distill.gate.verdict import Finding

# From simulated sets, a clause's comparisons and a level to each set's bound that is compared with the limit, (R,).
Planner = Callable[[FairSets, Comparisons, float], Floats]


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """A metric that a clause of the policy can limit.

    Attributes
    ----------
    name : the metric's name in params.yaml; equal to its key in METRICS
    title : the metric in words, as it begins a sentence
    short : the metric in at most 25 characters, for tables
    column : the heading of the metric in tables of sets; empty if these tables omit the metric
    definition, null_hypothesis, bound : cells of the table in docs/gate.md
    direction : the key of the limit: gaps are limited by `at_most`, scores by `at_least`
    computed_from : `predictions` of networks, or the `card` of the set
    is_gap : whether the metric compares groups, so that `against` applies and `groups` needs two
    pools_groups : whether the metric pools all groups, so that `by` has no effect without `groups`
    selects_classes : whether `classes` applies
    covers_parts : whether a limit on all classes and groups implies the same limit on some of them
    lowest : the smallest possible value
    """

    name: str
    title: str
    short: str
    column: str = ""
    definition: str
    null_hypothesis: str
    bound: str

    direction: ClassVar[Literal["at_most", "at_least"]]
    computed_from: ClassVar[Literal["predictions", "card"]]
    is_gap: ClassVar[bool] = False
    pools_groups: bool = False
    selects_classes: bool = True
    covers_parts: bool = False
    lowest: float = 0.0


@dataclass(frozen=True)
class Measured:
    """A metric's value, at most 1, or None with the reason why it is undefined."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Measurement:
    """One comparison as a culprit of a finding shows it; rates and examples have one entry per side."""

    classes: tuple[str, ...]
    rates: tuple[float, ...]
    examples: tuple[int, ...]
    sentence: str


@dataclass(frozen=True)
class Rise:
    """The rise of a metric over the same network trained on a reference set, for clauses with `over`.

    Attributes
    ----------
    evidence : from the predictions, the predictions of the reference and the comparisons to the evidence
    planned : as `PredictionMetric.planner` returns it
    """

    evidence: Callable[[NetworkPredictions, NetworkPredictions, Comparisons], Evidence]
    planned: Planner


@dataclass(frozen=True, kw_only=True)
class PredictionMetric(Metric):
    """A metric of the predictions of networks that were trained on the set.

    Attributes
    ----------
    rates : the rates that the metric reads
    rise : how a clause limits the rise `over` another set; None if the metric cannot be limited so
    perfect_is_best : whether no predictions have better bounds than those of perfect networks
    needs : what must have examples for the metric to be defined: anything, every group, or every class-group cell
    """

    rates: RatesOfClasses
    rise: Rise | None = None
    perfect_is_best: bool = True
    needs: Literal["examples", "groups", "cells"] = "cells"

    computed_from = "predictions"

    @abstractmethod
    def sides(self, groups: Sequence[int], *, against_rest: bool = False) -> Sides:
        """Return the groups, or pairs of groups, in which the rates are measured."""

    @abstractmethod
    def value(self, table: Confusion, comparisons: Comparisons | None = None) -> float:
        """Return the metric of a table of counts, for some comparisons or for all classes and groups."""

    @abstractmethod
    def evidence(self, predictions: NetworkPredictions, comparisons: Comparisons) -> Evidence:
        """Return the metric of one network with its bounds."""

    def comparisons(
        self,
        limit: Limit | None,
        classes: Sequence[str],
        groups: Sequence[str],
        *,
        location: str = "params.yaml: gate",
    ) -> Comparisons:
        """Return the comparisons that a clause selects; all of them without a clause.

        Raises ConfigError, with `location`, if the clause selects a class or group that does not exist.
        """
        if limit is None:
            rates = self.rates(range(len(classes)), len(classes))
            return Comparisons(tuple(rates), self.sides(range(len(groups))))
        location = f"{location}.limits: {limit.name}"
        selected_classes = select(limit.classes, classes, "class", location)
        selected_groups = select(limit.groups, groups, "group", location)
        rates = self.rates(selected_classes, len(classes))
        return Comparisons(tuple(rates), self.sides(selected_groups, against_rest=limit.against == "rest"))

    def gather(self, limit: Limit, predictions: NetworkPredictions, reference: NetworkPredictions | None) -> Evidence:
        """Return the evidence for a clause; `reference` is the same network trained on the set that `over` names."""
        comparisons = self.comparisons(limit, predictions.classes, predictions.groups)
        if limit.over is None:
            return self.evidence(predictions, comparisons)
        assert reference is not None
        assert self.rise is not None  # `policy.check` refuses the clause
        return self.rise.evidence(predictions, reference, comparisons)

    def planner(self, limit: Limit) -> Planner | None:
        """Return the function that bounds simulated fair sets, or None if `gate plan` does not cover the metric."""
        return None

    def measure(self, table: Confusion) -> Measured:
        """Return the value for all classes and groups, or the reason why it is undefined."""
        reason = self.undefined(table)
        return Measured(None, reason) if reason else Measured(self.value(table))

    def undefined(self, table: Confusion) -> str | None:
        """Return the reason why the metric is undefined on a table, or None."""
        if table.counts.sum() == 0:
            return table.empty_cell() or "there is nothing to measure on"
        if self.needs == "examples":
            return None
        return table.empty_group() if self.needs == "groups" else table.empty_cell()

    def lack_of_examples(self, predictions: NetworkPredictions, comparisons: Comparisons, minimum: int) -> str | None:
        """Return which rate has fewer independent examples than the minimum, the smallest first; or None."""
        lacking = []
        for rate in comparisons.rates:
            for side in comparisons.distinct_sides:
                count = predictions.rows(rate.true_classes, side).independent
                if count < minimum:
                    lacking.append((count, too_few(predictions, Comparison(rate, side, None), count, minimum)))
        return min(lacking)[1] if lacking else None

    def describe(self, comparison: Comparison, predictions: NetworkPredictions) -> Measurement:
        """Return the rate and the examples of each side, and the sentence that states them."""
        matching, support = (counts[0] for counts in predictions.table().counts_of([comparison.rate]))
        sides = [list(side) for side in comparison.sides]
        rates = tuple(float(matching[side].sum() / support[side].sum()) for side in sides)
        examples = tuple(round(float(support[side].sum())) for side in sides)
        return Measurement(
            classes=tuple(predictions.classes[c] for c in comparison.rate.true_classes),
            rates=rates,
            examples=examples,
            sentence=rates_sentence(comparison, rates, examples, predictions),
        )


@dataclass(frozen=True, kw_only=True)
class CardMetric(Metric):
    """A metric of the card of the set. It does not depend on predictions."""

    computed_from = "card"

    @abstractmethod
    def finding(self, limit: Limit, card: DatasetCard, *, bounds: bool) -> Finding:
        """Return the finding of a clause. `bounds` states whether the policy decides by bounds."""
