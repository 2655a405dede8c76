"""A clause on the rows that break a relation between columns: counted, and never passed without a number."""

from dataclasses import replace

import pytest
from metric_contract import check_metric
from test_near_copies import NEARNESS, manifest_of

from fair_distill.card import DatasetCard, Relation, Relations
from fair_distill.config import Limit
from fair_distill.errors import MeasurementError
from fair_distill.gate.metrics import CARD_METRICS

BROKEN = Relations(100, 5, (Relation("code", "name", 1.0, 4), Relation("name", "code", 0.995, 2)))


def finding(relations: Relations | None, at_most: float):
    limit = Limit.model_validate({"metric": "broken_relations", "at_most": at_most, "why": "a test"})
    card = replace(manifest_of(NEARNESS).card, relations=relations)
    assert DatasetCard.from_dict(card.to_dict()) == card
    return CARD_METRICS["broken_relations"].finding(limit, card, bounds=True)


def test_broken_relations_satisfy_the_contract():
    check_metric("broken_relations")


@pytest.mark.parametrize(("at_most", "outcome"), [(0.05, "pass"), (0.0499, "fail")])
def test_the_gate_decides_on_the_share_of_rows_that_break_a_relation(at_most: float, outcome: str):
    result = finding(BROKEN, at_most)

    assert (result.outcome, result.value, result.bound) == (outcome, 0.05, 0.05)
    assert "5 of 100 rows break one of 2 relations between columns, most often that 'code' determines 'name'" in (
        result.sentence
    )
    assert ("set params.yaml: distill.rows.relations to keep" in result.sentence) == (outcome == "fail")


def test_a_card_without_the_figure_is_undecided():
    result = finding(None, 1.0)

    assert (result.outcome, result.value) == ("insufficient", None)
    assert "does not count such rows" in result.sentence


def test_a_card_that_counts_other_rows_is_an_error():
    with pytest.raises(MeasurementError, match="among 90 rows, but the set has 100"):
        finding(Relations(90, 0, ()), 1.0)
