"""Networks that predict one class for every example are reported, because their gaps of 0 show nothing."""

import numpy as np
from small_predictions import predictions_from

from fair_distill.config import Gate
from fair_distill.gate.explain import explain
from fair_distill.gate.judge import judge
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.verdict import Verdict

LABELS, GROUPS = np.arange(80) % 2, np.arange(80) // 40
LIMITS = [
    {"metric": "eo_diag_max", "at_most": 0.5, "why": "a test"},
    {"metric": "accuracy", "over": "full", "at_least": -0.9, "why": "a test"},
]
LEARNED = predictions_from(np.stack([LABELS, LABELS]), LABELS, GROUPS)


def constant(*classes: int) -> Predictions:
    return predictions_from(np.stack([np.full(80, c) for c in classes]), LABELS, GROUPS)


def verdict_on(predictions: Predictions, reference: Predictions) -> Verdict:
    policy = Gate.model_validate({"mode": "point", "limits": LIMITS})
    references = {"full": reference.to_parquet()}
    return judge(predictions.to_parquet(), policy, context=b"", engine=1, references=references)


def test_a_set_of_networks_that_answer_alike_is_reported() -> None:
    verdict = verdict_on(constant(1, 1), LEARNED)

    assert verdict.numbers["convnet"]["eo_diag_max"]["value"] == 0  # looks perfectly fair
    assert verdict.constant == ("convnet",)
    assert any(
        warning.startswith("2 of 2 networks of convnet predict class 'class1' for every example")
        for warning in verdict.warnings
    )
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_a_reference_of_networks_that_answer_alike_is_reported() -> None:
    verdict = verdict_on(LEARNED, constant(0, 1))

    assert verdict.constant == ()
    assert any(
        warning.startswith("reference 'full': 2 of 2 networks of convnet predict one class ('class0', 'class1')")
        for warning in verdict.warnings
    )


def test_other_networks_are_not_reported() -> None:
    verdict = verdict_on(LEARNED, LEARNED)

    assert (verdict.constant, verdict.warnings) == ((), ())
    assert b"constant" not in verdict.to_json()
    assert explain(verdict)
    nearly = np.stack([np.ones(80, dtype=int), np.where(np.arange(80) == 0, 0, 1)])
    assert verdict_on(predictions_from(nearly, LABELS, GROUPS), LEARNED).warnings[0].startswith("1 of 2 networks")


def test_examples_of_one_class_show_nothing() -> None:
    labels = np.zeros(80, dtype=int)
    policy = Gate.model_validate(
        {"mode": "point", "limits": [{"metric": "accuracy", "at_least": 0.5, "why": "a test"}]}
    )
    same = predictions_from(np.stack([labels, labels]), labels, GROUPS, classes=2)

    assert judge(same.to_parquet(), policy, context=b"", engine=1).constant == ()
