"""Remedies fit the kind of the set, promise nothing, and never contradict each other within a verdict."""

import re
from typing import Any

import numpy as np
import pytest
from forbidden_advice import PROMISES, faults
from metric_contract import clause
from small_predictions import drawn

from fair_distill.config import Gate
from fair_distill.files import to_json
from fair_distill.gate.judge import judge
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.remedies import evidence_remedy, near_copies_remedy, value_remedy
from fair_distill.gate.set_kind import DISTILLED, KINDS, SetKind, set_kind
from fair_distill.gate.verdict import Finding


@pytest.mark.parametrize("is_gap", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_set_gets_advice_that_it_cannot_follow(kind: SetKind, is_gap: bool) -> None:
    remedy = value_remedy(kind, is_gap=is_gap)

    assert not faults(remedy, kind)
    assert not re.search(PROMISES, remedy)
    if kind == "full":
        assert "the data or the training recipe causes it" in remedy or "training data or" in remedy


def test_only_pooled_sets_are_told_to_align_and_only_distilled_ones_to_distil_longer() -> None:
    aligned = {kind for kind in KINDS if "alignment" in value_remedy(kind, is_gap=True)}
    longer = {kind for kind in KINDS if "distil longer" in value_remedy(kind, is_gap=False)}

    assert aligned == {"pooled"}
    assert longer == set(DISTILLED)


@pytest.mark.parametrize(
    ("half_widths", "limiting"),
    [
        ((0.05, 0.01), "the number of examples limits"),
        ((0.01, 0.05), "the scatter between networks limits"),
        ((0.03, 0.04), "the examples and the networks limit"),
        ((0.02, 0.0), "the number of examples limits"),
    ],
)
def test_an_undecided_clause_names_what_limits_its_bound(half_widths: tuple[float, float], limiting: str) -> None:
    remedy = evidence_remedy(0.02, half_widths)

    assert remedy.startswith(limiting)
    assert f"examples contribute {half_widths[0]:.3f}" in remedy
    assert not re.search(PROMISES, remedy)


@pytest.mark.parametrize(
    ("card", "params", "kind"),
    [
        ("full", {"reference": {"select": "all"}}, "full"),
        ("subset", {"reference": {"select": "random"}}, "random"),
        ("subset", {"reference": {"select": "herding"}}, "herding"),
        ("subset", {"reference": {"select": "package:rule"}}, "subset"),
        ("distilled", {"candidate": {"alignment": "pooled"}}, "pooled"),
        ("distilled", {"candidate": {"alignment": {"name": "barycentric"}}}, "barycentric"),
        ("distilled", {"candidate": {"alignment": {"name": "package:target"}}}, "distilled"),
        ("distilled", {}, "distilled"),
        (["full"], {"candidate": {"alignment": {"name": ["pooled"]}}}, "unknown"),
        (None, 3, "unknown"),
    ],
)
def test_the_manifest_names_the_kind_of_a_set(card: Any, params: Any, kind: SetKind) -> None:
    assert set_kind(to_json({"card": {"kind": card}, "params": params})) == kind
    assert set_kind(to_json({"card": [], "params": []})) == "unknown"


def test_a_set_without_a_manifest_is_of_an_unknown_kind() -> None:
    assert set_kind(None) == "unknown"


def test_real_images_are_near_copies_whatever_is_changed() -> None:
    assert "distil longer" in near_copies_remedy("distilled")
    assert "distil longer" not in near_copies_remedy("subset")
    assert "distil longer" not in near_copies_remedy("full")


# A gap of 0.3 fails a limit of 0.05, one of 0 is undecided at 0.05, and passes 0.9.
RATES = {"fail": [[0.9, 0.5], [0.5, 0.9]], "inconclusive": [[0.8, 0.8], [0.8, 0.8]]}


def findings(metric: str, outcome: str, monkeypatch: pytest.MonkeyPatch, kind: SetKind) -> list[Finding]:
    """Judge two groups with every metric limited at the edge of its value, for a set of this kind."""
    monkeypatch.setattr("fair_distill.gate.judge.set_kind", lambda _: kind)
    table = drawn(RATES[outcome], 100, np.random.default_rng(4))
    own = clause(PREDICTION_METRICS[metric])
    limits = [own.model_copy(update={"at_most": 0.05} if own.at_most is not None else {"at_least": 0.79})]
    values = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 10}
    policy = Gate.model_validate(values | {"limits": [limit.model_dump(exclude_none=True) for limit in limits]})
    return list(judge(table.to_parquet(), policy, context=b"", engine=1).findings)


@pytest.mark.parametrize("outcome", RATES)
@pytest.mark.parametrize("metric", PREDICTION_METRICS)
def test_remedies_of_all_metrics_fit_all_kinds(metric: str, outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: tuple[SetKind, ...] = ("full", "random", "pooled", "barycentric")
    for kind in kinds:
        remedies = [
            culprit.remedy
            for finding in findings(metric, outcome, monkeypatch, kind)
            for culprit in finding.culprits
            if finding.outcome in ("fail", "inconclusive")
        ]
        text = "\n".join(remedies)
        assert not faults(text, kind)
        assert not re.search(PROMISES, text)
