"""Advice is simulated: a set that follows it passes about as often as it says."""

import numpy as np
import pytest
from advice_cases import following
from metric_contract import clause
from small_predictions import drawn, gather

from fair_distill.config import Gate, Limit
from fair_distill.gate.advice import CHANCE, Advice, advise
from fair_distill.gate.influence import clause_influence, only_examples, random_halves, shrinkage, without_networks
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import NetworkPredictions, network_predictions

ALPHA = 0.01
RATES = [[0.9, 0.8], [0.7, 0.75]]


def measured(*, of: int = 100, seeds: int = 5, seed: int = 0, paired: bool = False) -> NetworkPredictions:
    return network_predictions(drawn(RATES, of, np.random.default_rng(seed), seeds=seeds, paired=paired), 0)


def limited(metric: str, number: float) -> Limit:
    return clause(PREDICTION_METRICS[metric]).model_copy(update={PREDICTION_METRICS[metric].direction: number})


def policy_of(*limits: Limit) -> Gate:
    plain = [limit.model_dump(exclude_none=True) for limit in limits]
    values = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 10, "limits": plain}
    return Gate.model_validate(values)


def advice_on(predictions: NetworkPredictions | None = None, *limits: Limit, of: int = 100, seed: int = 0) -> Advice:
    table = drawn(RATES, of, np.random.default_rng(seed), seeds=5)
    advice = advise(table.to_parquet(), policy_of(*limits), alpha=ALPHA)
    assert advice is not None
    return advice


def test_sets_that_follow_the_advice_pass_about_as_often_as_it_says() -> None:
    verdicts = [verdict for _, _, verdict in following(24, np.random.default_rng(11), largest=0.4) if verdict]
    passes = np.mean([verdict.outcome == "pass" for verdict in verdicts])

    assert len(verdicts) >= 5
    assert passes >= CHANCE - 2 * np.sqrt(CHANCE * (1 - CHANCE) / len(verdicts))


def test_the_same_inputs_give_the_same_advice() -> None:
    limit = limited("eo_diag_max", 0.25)

    assert advice_on(None, limit) == advice_on(None, limit)


def test_an_evaluation_that_is_proposed_has_the_promised_chance_and_a_smaller_one_has_not() -> None:
    advice = advice_on(None, limited("eo_diag_max", 0.28))

    assert advice.proposed is not None
    assert advice.best is not None
    assert advice.proposed.chance >= CHANCE
    assert advice.best.chance >= advice.proposed.chance
    assert advice.proposed.seeds > advice.seeds or advice.proposed.examples > 1


def test_no_evaluation_is_proposed_for_a_value_beyond_its_limit() -> None:
    advice = advice_on(None, limited("eo_diag_max", 0.02))

    assert advice.proposed is None
    assert advice.best.chance < 0.2
    assert advice.best.hardest == "eo_diag_max"


def test_all_clauses_have_to_pass_together() -> None:
    likely, impossible = limited("eo_diag_max", 0.28), limited("worst_cell_accuracy", 0.9)

    assert advice_on(None, likely).proposed is not None
    both = advice_on(None, likely, impossible)
    assert both.proposed is None
    assert both.best.hardest == "worst_cell_accuracy"


def test_clauses_about_single_networks_are_not_simulated_but_their_number_of_seeds_is_kept() -> None:
    single = limited("worst_cell_accuracy", 0.3).model_copy(update={"each_network": 0.9})
    table = drawn(RATES, 100, np.random.default_rng(0), seeds=5)
    advice = advise(table.to_parquet(), policy_of(limited("eo_diag_max", 0.28), single), alpha=0.05)

    assert advice is not None
    assert advice.proposed is not None
    needed = advice.omitted[single.name]
    assert needed is not None
    assert advice.proposed.seeds >= needed >= 29


def test_networks_without_a_distribution_are_not_simulated() -> None:
    policy = policy_of(limited("eo_diag_max", 0.28)).model_copy(update={"networks": "bounded"})
    advice = advise(drawn(RATES, 100, np.random.default_rng(0), seeds=5).to_parquet(), policy, alpha=0.05)

    assert advice is not None
    assert advice.best is None
    assert advice.proposed is None
    assert (advice.omitted["eo_diag_max"] or 0) > 5


def test_a_policy_without_clauses_on_predictions_has_nothing_to_simulate() -> None:
    limit = Limit.model_validate({"metric": "near_copies", "at_most": 0.1, "why": "a test"})
    content = drawn(RATES, 50, np.random.default_rng(0)).to_parquet()

    assert advise(content, policy_of(limit), alpha=ALPHA) is None


def test_the_deviations_of_a_linear_number_are_those_of_its_seeds() -> None:
    own = measured()
    limit = limited("worst_cell_accuracy", 0.6)
    rng = np.random.default_rng(0)
    found = clause_influence(
        limit,
        PREDICTION_METRICS[limit.metric],
        own,
        None,
        architecture=0,
        alpha=ALPHA,
        halves=random_halves(own, rng, 4),
    )

    right = (own.predicted == own.labels).astype(float)
    cells = [(own.labels == c) & (own.group_indices == g) for c in range(2) for g in range(2)]
    rates = np.stack([right[:, cell].mean(axis=1) for cell in cells], axis=1)  # (S, cells)
    order = np.argsort(rates.mean(axis=0))
    np.testing.assert_allclose(np.sort(found.centres), np.sort(-rates.mean(axis=0)))
    assert found.networks.shape == (5, 4)
    expected = np.square(rates - rates.mean(axis=0)).sum(axis=0)
    np.testing.assert_allclose(np.sort(np.square(found.networks).sum(axis=0)), np.sort(expected))
    assert order.shape == (4,)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("name", PREDICTION_METRICS)
def test_evidence_without_omissions_is_the_evidence(name: str, paired: bool) -> None:
    own = measured(of=40, paired=paired)
    limit = clause(PREDICTION_METRICS[name])
    whole = gather(limit, own, None)
    again = gather(limit, only_examples(own, np.ones(len(own.examples), dtype=bool)), None)

    np.testing.assert_array_equal(again.upper(ALPHA), whole.upper(ALPHA))
    fewer = without_networks(own, np.array([1]))
    assert fewer.seeds == own.seeds - 1
    np.testing.assert_array_equal(fewer.predicted[1], own.predicted[2])


@pytest.mark.parametrize("paired", [False, True])
def test_a_half_has_half_of_every_cell_and_whole_pairs(paired: bool) -> None:
    own = measured(of=41, paired=paired)
    for half in random_halves(own, np.random.default_rng(3), 6):
        part = only_examples(own, half)
        counts = part.counts
        assert counts.min() >= 20
        assert counts.max() <= 21
        assert (part.examples_by_pair is not None) == paired
        if part.examples_by_pair is not None:
            pairs = part.pairs[part.examples_by_pair]
            assert (pairs == pairs[:, :1]).all()


def test_half_samples_scatter_as_much_as_the_number_does() -> None:
    own = measured(of=2000, seeds=2, seed=5)
    half = [only_examples(own, each) for each in random_halves(own, np.random.default_rng(0), 200)]
    right = [float((each.predicted == each.labels).mean()) for each in half]
    whole = (own.predicted == own.labels).mean(axis=0)

    variance = sum(whole[(own.labels == c) & (own.group_indices == g)].var() for c in range(2) for g in range(2)) / 4
    assert np.std(right) == pytest.approx(np.sqrt(variance / len(whole)), rel=0.2)


def test_shrinkage_follows_james_and_stein() -> None:
    numbers, errors = np.array([0.06, -0.02, 0.05, -0.01, 0.04, 0.0]), np.full(6, 0.03)
    variance = max(np.square(numbers).sum() / 4 - 0.03**2, 0)
    expected = numbers * 0.03**2 / (variance + 0.03**2)

    np.testing.assert_allclose(shrinkage(numbers, errors, centred=True), np.clip(expected, -0.03, 0.03))
    assert (shrinkage(numbers[:2], errors[:2], centred=True) == 0).all()


def test_one_large_number_among_small_ones_moves_by_its_error_at_most() -> None:
    numbers = np.array([0.3, *([0.0] * 20)])

    moved = shrinkage(numbers, np.full(21, 0.05), centred=True)
    assert moved[0] <= 0.05
    assert (np.abs(shrinkage(numbers, np.zeros(21), centred=True)) == 0).all()


def test_one_network_of_many_shows_nothing_about_the_others() -> None:
    table = drawn(RATES, 100, np.random.default_rng(0), seeds=1)
    advice = advise(table.to_parquet(), policy_of(limited("worst_cell_accuracy", 0.5)), alpha=ALPHA)

    assert advice is not None
    assert advice.best.seeds == 1
    assert advice.proposed is None
