"""Rates and gaps of the report are the gate's own."""

import numpy as np
import pytest
from small_predictions import drawn

from fair_distill.config import Gate
from fair_distill.gate.judge import judge
from fair_distill.gate.network_predictions import network_predictions
from fair_distill.gate.predictions import Predictions
from fair_distill.report.cells import cell_rates, class_gaps

RATES = [[0.95, 0.6], [0.85, 0.9]]
DRAWN = drawn(RATES, 120, np.random.default_rng(3))
OWN = network_predictions(DRAWN, 0)


def test_a_cell_is_counted_as_anybody_would() -> None:
    columns = DRAWN.columns
    for rate in cell_rates(OWN, 0.05):
        at = (columns["label"] == OWN.classes.index(rate.label)) & (columns["group"] == OWN.groups.index(rate.group))
        assert rate.value == pytest.approx((columns["predicted"][at] == columns["label"][at]).mean())
        assert rate.examples * OWN.seeds == at.sum()


def test_an_interval_holds_its_rate_and_narrows_with_less_confidence() -> None:
    for wide, narrow in zip(cell_rates(OWN, 0.01), cell_rates(OWN, 0.2), strict=True):
        ends = (wide.low, narrow.low, wide.value, narrow.high, wide.high)
        known = [x for x in ends if x is not None]
        assert len(known) == 5
        assert known == sorted(known)
        assert known[0] < known[1]


def test_a_gap_is_bounded_as_the_gate_bounds_it() -> None:
    gaps = class_gaps(OWN, 0.05)
    policy = Gate.model_validate(
        {
            **{"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 2},
            "limits": [
                {"metric": "eo_diag_max", "classes": [gap.label], "at_most": 0.1, "why": "a test"} for gap in gaps
            ],
        }
    )
    verdict = judge(DRAWN.to_parquet(), policy, context=b"{}", engine=1)
    assert verdict.alpha is not None

    for gap, finding in zip(class_gaps(OWN, verdict.alpha), verdict.findings, strict=True):
        assert gap.value == pytest.approx(finding.value)
        assert gap.upper == pytest.approx(finding.bound)
    assert (gaps[1].better, gaps[1].worse) == ("group1", "group0")


def test_one_seed_says_nothing_of_how_networks_scatter() -> None:
    first = {name: column[DRAWN.columns["seed"] == 0] for name, column in DRAWN.columns.items()}
    one = network_predictions(
        Predictions(DRAWN.set, DRAWN.split, DRAWN.classes, DRAWN.groups, DRAWN.networks, first), 0
    )

    assert {(rate.low, rate.high) for rate in cell_rates(one, 0.05)} == {(None, None)}
    assert {gap.upper for gap in class_gaps(one, 0.05)} == {None}
    assert all(gap.value is not None for gap in class_gaps(one, 0.05))


def test_an_empty_cell_has_no_rate_and_its_class_no_gap() -> None:
    kept = ~((DRAWN.columns["label"] == 1) & (DRAWN.columns["group"] == 0))
    some = {name: column[kept] for name, column in DRAWN.columns.items()}
    own = network_predictions(Predictions(DRAWN.set, DRAWN.split, DRAWN.classes, DRAWN.groups, DRAWN.networks, some), 0)

    empty = [rate for rate in cell_rates(own, 0.05) if rate.examples == 0]
    assert [(rate.label, rate.group, rate.value) for rate in empty] == [("class1", "group0", None)]
    assert [gap.value is None for gap in class_gaps(own, 0.05)] == [False, True]
