"""The ratio of selection rates: against fairlearn and SciPy, its bound, and what happens to 0 / 0."""

import numpy as np
import pytest
from scipy.stats import binom
from small_predictions import comparisons_of, drawn, gather, measure, predictions_from, predictions_of
from test_metrics import named, random_rows, table

from fair_distill.config import Gate, Limit
from fair_distill.gate.bounds import level, minus
from fair_distill.gate.judge import judge
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import NetworkPredictions, network_predictions
from fair_distill.gate.policy import check

NAME = "selection_rate_ratio"
METRIC = PREDICTION_METRICS[NAME]


def limit(at_least: float = 0.8, **keys: object) -> Limit:
    return Limit.model_validate({"metric": NAME, "at_least": at_least, "why": "a test", **keys})


def policy(**keys: object) -> Gate:
    bounds = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 2}
    return Gate.model_validate({**bounds, "limits": [limit(**keys).model_dump()]})


def selected(first: int, second: int, of: int, *, seeds: int = 3) -> NetworkPredictions:
    """Two groups of `of` examples; all networks predict class 1 for this many of each group, whatever the label."""
    answers = np.concatenate([np.arange(of) < count for count in (first, second)]).astype(int)
    labels, groups = np.tile(np.arange(of) % 2, 2), np.repeat([0, 1], of)
    return network_predictions(predictions_from(np.tile(answers, (seeds, 1)), labels, groups), 0)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_ratio_of_a_named_class_is_fairlearns(classes: int) -> None:
    from fairlearn.metrics import demographic_parity_ratio

    rng = np.random.default_rng(classes)
    for _ in range(15):
        labels, groups, predicted = random_rows(rng, classes, 3, int(rng.integers(20, 80)))
        favourable = int(predicted[0])
        of = named(labels, groups, predicted, classes, 3)

        wanted = demographic_parity_ratio(labels == favourable, predicted == favourable, sensitive_features=groups)
        chosen = comparisons_of(limit(classes=[str(favourable)]), of.classes, of.groups)
        assert METRIC.value(of, chosen) == pytest.approx(wanted)


def test_against_the_rest_each_group_is_compared_with_the_others_together() -> None:
    of = table([[[30, 0], [0, 20]], [[10, 0], [0, 40]], [[45, 0], [0, 5]]])

    rest = comparisons_of(limit(classes=["class0"], against="rest"), of.classes, of.groups)
    each = comparisons_of(limit(classes=["class0"]), of.classes, of.groups)

    assert METRIC.value(of, rest) == pytest.approx(min(55 / 100 / 0.6, 0.2 / (75 / 100), 40 / 100 / 0.9))
    assert METRIC.value(of, each) == pytest.approx(0.2 / 0.9)


def test_the_bound_is_the_ratio_at_which_the_weighted_difference_has_the_bound_0() -> None:
    rng = np.random.default_rng(2)
    rates = [rng.random((3, 300)) < p for p in (0.4, 0.5)]
    labels, groups = np.tile(np.arange(300) % 2, 2), np.repeat([0, 1], 300)
    answers = np.concatenate(rates, axis=1).astype(int)
    own = network_predictions(predictions_from(answers, labels, groups), 0)

    evidence = gather(limit(classes=["class1"]), own, None)

    first, second = (level(group[None].astype(float)) for group in rates)
    for alpha in (0.05, 0.01):
        (bound,) = evidence.lower(alpha)
        assert minus(first, second, weight=np.array([bound])).lower(alpha)[0] == pytest.approx(0, abs=1e-6)
        (above,) = evidence.upper(alpha)
        if above < 1:
            assert minus(first, second, weight=np.array([above])).upper(alpha)[0] == pytest.approx(0, abs=1e-6)
    plain, weighted = minus(first, second), minus(first, second, weight=np.ones(1))
    assert weighted.upper(0.05) == pytest.approx(plain.upper(0.05))
    # The second level with half of the weight is the level of outcomes that are half as large.
    half = minus(first, second, weight=np.array([0.5]))
    assert half.value == pytest.approx(first.value - level(rates[1][None] / 2).value)


@pytest.mark.parametrize(("first", "second"), [(2000, 2500), (450, 500), (3000, 3000)])
def test_on_many_examples_the_bound_is_that_of_the_relative_risk(first: int, second: int) -> None:
    from scipy.stats.contingency import relative_risk

    own = selected(first, second, 5000)

    bound = gather(limit(classes=["class1"]), own, None).lower(0.05)[0]

    wanted = relative_risk(first, 5000, second, 5000).confidence_interval(0.90).low
    assert bound == pytest.approx(wanted, abs=0.003)


def test_equal_groups_have_the_ratio_1_and_a_bound_below() -> None:
    evidence = gather(limit(), selected(200, 200, 400), None)

    assert evidence.value == 1
    assert evidence.upper(0.05).min() == 1
    assert 0.8 < evidence.lower(0.05).min() < 0.9


def test_pairs_make_the_bound_tighter_than_as_many_independent_examples() -> None:
    rng = np.random.default_rng(4)
    image = rng.standard_normal(300)
    scores = [image + 0.5 * rng.standard_normal((10, 300)) for _ in range(2)]
    answers = np.concatenate([score > 0 for score in scores], axis=1).astype(int)
    labels, groups = np.tile(np.arange(300) % 2, 2), np.repeat([0, 1], 300)
    pairs = np.tile(np.arange(300), 2)

    alone = network_predictions(predictions_from(answers, labels, groups), 0)
    paired = network_predictions(predictions_from(answers, labels, groups, pairs=pairs), 0)

    assert gather(limit(), alone, None).value == gather(limit(), paired, None).value
    lower = [gather(limit(), own, None).lower(0.05).min() for own in (alone, paired)]
    assert lower[1] > lower[0] + 0.01


def test_a_class_that_is_never_predicted_has_no_ratio_and_the_clause_is_insufficient() -> None:
    counts = [[[8, 2, 0], [2, 8, 0], [5, 5, 0]], [[8, 2, 0], [2, 8, 0], [5, 5, 0]]]
    predictions = predictions_of({(0, s): counts for s in range(2)}).to_parquet()

    verdict = judge(predictions, policy(), context=b"", engine=1)
    named_class = judge(predictions, policy(classes=["class0"]), context=b"", engine=1)

    (finding,) = verdict.findings
    reason = "class 'class2' is never predicted, so the ratio of its rates is 0 / 0; name the favourable class"
    assert (finding.outcome, finding.value) == ("insufficient", None)
    assert reason in finding.sentence
    assert verdict.numbers["convnet"][NAME] == {"value": None, "per_seed": None, "noise": None}
    assert reason in verdict.undefined[""][NAME]
    assert named_class.findings[0].value == 1


def test_a_class_that_one_group_never_gets_has_the_ratio_0() -> None:
    of = table([[[10, 0], [10, 0]], [[10, 0], [10, 0]], [[10, 0], [5, 5]]])

    assert measure(NAME, of).value == 0


def test_a_seed_without_the_class_leaves_the_mean_over_seeds_undefined() -> None:
    never, sometimes = [[[30, 0], [30, 0]]] * 2, [[[30, 0], [15, 15]]] * 2
    predictions = predictions_of({(0, 0): never, (0, 1): sometimes})

    evidence = gather(limit(classes=["class1"]), network_predictions(predictions, 0), None)
    verdict = judge(predictions.to_parquet(), policy(classes=["class1"]), context=b"", engine=1)

    assert (evidence.value, evidence.per_seed) == (1, None)
    assert verdict.findings[0].per_seed is None
    assert b"NaN" not in verdict.to_json()


@pytest.mark.parametrize("expected_selections", [0.5, 2.5, 6.0])
@pytest.mark.parametrize("ratio", [0.1, 0.3])
def test_a_rare_class_passes_a_low_limit_no_more_often_than_alpha(ratio: float, expected_selections: float) -> None:
    """Exact: the small group is predicted as the class at the limit times the rate of the large one."""
    small, large, rate = 100, 10_000, expected_selections / 100
    groups = np.repeat([0, 1], (small, large))
    passed = 0.0
    for count in range(25):
        answers = np.concatenate([np.arange(small) < count, np.arange(large) < large * rate / ratio]).astype(int)
        own = network_predictions(predictions_from(answers[None], np.arange(small + large) % 2, groups), 0, "given")
        passes = gather(limit(ratio, classes=["class1"]), own, None).lower(0.05).min() >= ratio
        passed += float(binom.pmf(count, small, rate)) * passes

    assert passed <= 0.05


@pytest.mark.parametrize("ratio", [0.8, 0.95, 0.98])
def test_pairs_in_which_one_side_is_always_selected_too_decide_neither_way_too_often(ratio: float) -> None:
    """Exact: all 100 first sides are selected, and the second sides at the limit. Rounding makes a part negative."""
    pairs = np.tile(np.arange(100), 2)
    passed = failed = 0.0
    for missing in range(60):
        answers = np.concatenate([np.ones(100, int), (np.arange(100) >= missing).astype(int)])
        table = predictions_from(answers[None], np.arange(200) % 2, np.repeat([0, 1], 100), pairs=pairs)
        evidence = gather(limit(ratio, classes=["class1"]), network_predictions(table, 0, "given"), None)
        probability = float(binom.pmf(missing, 100, 1 - ratio))
        passed += probability * (evidence.lower(0.05).min() >= ratio)
        failed += probability * (evidence.upper(0.05).min() < ratio)

    assert passed <= 0.05
    assert failed <= 0.05


def test_a_ratio_below_the_limit_fails_with_the_rates_and_the_noise_floor() -> None:
    own = predictions_of({(0, s): [[[40, 160], [40, 160]], [[160, 40], [160, 40]]] for s in range(3)})

    (finding,) = judge(own.to_parquet(), policy(classes=["class1"]), context=b"", engine=1).findings

    assert (finding.outcome, finding.value) == ("fail", pytest.approx(0.25))
    assert finding.noise is not None
    assert 0.8 < finding.noise < 1
    assert finding.culprits[0].sentence == (
        "class 'class1' is predicted in 80.0 % of 400 examples of group 'group0' and in 20.0 % of 400 examples of "
        "group 'group1'"
    )


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"at_least": None, "at_most": 0.2}, "selection_rate_ratio is limited by at_least; move the number there"),
        ({"over": "full"}, "selection_rate_ratio cannot be limited over another set; choose"),
        ({"groups": ["group0"]}, "a gap needs two groups"),
    ],
)
def test_a_clause_that_makes_no_sense_is_refused(keys: dict[str, object], says: str) -> None:
    from fair_distill.errors import ConfigError

    clause = Limit.model_validate({"metric": NAME, "at_least": 0.8, "why": "a test", **keys})
    with pytest.raises(ConfigError, match=says):
        check(Gate.model_validate({"mode": "point", "limits": [clause.model_dump()]}))


def test_the_parts_of_the_distance_to_the_bound_add_in_squares() -> None:
    own = network_predictions(drawn([[0.9, 0.7], [0.6, 0.8]], 100, np.random.default_rng(3)), 0)
    evidence = gather(limit(), own, None)

    examples, networks = evidence.half_widths(0.05)

    np.testing.assert_allclose(np.hypot(examples, networks), evidence.values - evidence.lower(0.05), atol=1e-6)
