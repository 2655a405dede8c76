"""Broken relations: the share of a table's rows with a combination of values that real rows do not have.

If one column determines another in the training data, such as a code its name, a row with another value contradicts
itself. The figure comes from the card of the set, which the set's digest covers, so nothing is estimated.

A card without the figure makes the clause undecided; it never passes.
"""

from dataclasses import dataclass

from fair_distill.card import DatasetCard
from fair_distill.config import Limit
from fair_distill.errors import MeasurementError
from fair_distill.gate.findings import ROUNDING, undecided
from fair_distill.gate.metrics.base import CardMetric
from fair_distill.gate.metrics.near_copies import THE_SET
from fair_distill.gate.verdict import Finding


@dataclass(frozen=True, kw_only=True)
class _BrokenRelations(CardMetric):
    direction = "at_most"

    def finding(self, limit: Limit, card: DatasetCard, *, bounds: bool) -> Finding:
        """Compare the card's share of rows that break a relation with the limit.

        Raises
        ------
        MeasurementError
            If the card counts another number of rows than the set has.
        """
        assert limit.at_most is not None
        if card.relations is None:
            return undecided(limit, THE_SET, f"not measured, the card of {card.name!r} does not count such rows")
        if card.relations.rows != card.examples or not card.examples:
            raise MeasurementError(
                f"the card of {card.name!r} counts broken relations among {card.relations.rows:,} rows, but the set "
                f"has {card.examples:,}. Distil the set again"
            )
        share = card.relations.broken / card.relations.rows
        satisfied = share <= limit.at_most + ROUNDING
        sentence = (
            f"{limit.name}: {share:.3f} {'is within' if satisfied else 'is over'} the limit {limit.at_most:.3f}: "
            f"{card.relations.sentence()}"
        )
        if not satisfied:
            sentence += "; set params.yaml: distill.rows.relations to keep, or remove one of the columns"
        return Finding(
            clause=limit.name,
            metric=limit.metric,
            network=THE_SET,
            outcome="pass" if satisfied else "fail",
            value=share,
            per_seed=None,
            noise=None,
            bound=share if bounds else None,
            limit=limit.at_most,
            waiver=None,
            sentence=sentence,
            culprits=(),
        )


BROKEN_RELATIONS = _BrokenRelations(
    name="broken_relations",
    title="Share of rows that break a relation between columns",
    short="broken relations",
    definition="Share of rows in which a column does not have the value that another one determines, from the card",
    null_hypothesis="none: it is counted, not estimated",
    bound="the value itself",
)
