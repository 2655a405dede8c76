"""What another evaluation would most likely show: simulated before it is recommended.

An undecided set may pass with more networks, with more examples, or never. A recommendation for every clause would
promise too much and could contradict that of another clause. This module simulates evaluations that add networks or
examples to the measured ones, and proposes the smallest after which *all* clauses pass together with a stated chance.

A simulated evaluation begins with the measured numbers. Their errors are drawn first: the mean over all networks and
the mean over all examples differ from the measured ones, and few networks show their scatter only roughly. Then come
the added networks and examples. The errors of all comparisons are drawn together, because one network or example
contributes to many. The bounds are those of the gate at the alpha of the next attempt, scaled to the new numbers of
networks and examples, with the scatter that the simulated networks show.

Axes: R simulated evaluations, J comparisons.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fair_distill.config import Gate
from fair_distill.gate.confusion import Floats
from fair_distill.gate.fewest_networks import fewest_networks
from fair_distill.gate.findings import ROUNDING
from fair_distill.gate.influence import HALVES, ClauseInfluence, clause_influence, random_halves
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import grouped_by, network_predictions
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.quantiles import t_quantiles
from fair_distill.seeds import plain_numpy_generator

# The chance that a proposed evaluation must have.
CHANCE = 0.8
_DRAWS = 1000
# Few networks show the variance between networks only roughly. It is averaged with the mean over comparisons, which
# counts as much as this number of further networks.
_PRIOR = 4
# Factors of the numbers of networks and of examples. More than this is a different project.
_SEED_FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_EXAMPLE_FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0, 8.0)
_MOST_SEEDS = 100


@dataclass(frozen=True)
class Evaluation:
    """A larger evaluation and the chance that all clauses pass after it.

    Attributes
    ----------
    seeds : networks of each architecture
    examples : factor of the number of examples in every cell
    hardest : the clause that passes least often
    """

    seeds: int
    examples: float
    chance: float
    hardest: str


@dataclass(frozen=True)
class Advice:
    """The simulated evaluations.

    Attributes
    ----------
    alpha : the level at which they were judged
    seeds : networks of each architecture that were evaluated
    proposed : the smallest evaluation with a chance of at least CHANCE; None if there is none
    best : the evaluation with the largest chance; None if nothing was simulated
    omitted : clauses that were not simulated, because nothing is assumed about the scatter of networks, each with the
        smallest number of seeds that could show it; None if that is unknown
    """

    alpha: float
    seeds: int
    proposed: Evaluation | None
    best: Evaluation | None
    omitted: Mapping[str, int | None] = field(default_factory=dict)


def advise(
    predictions: bytes, policy: Gate, *, alpha: float, references: Mapping[str, bytes] | None = None
) -> Advice | None:
    """Simulate larger evaluations of a set, and return the smallest after which all clauses pass together.

    The inputs must have been judged, so that they are known to belong together.

    Parameters
    ----------
    alpha : of the attempt that the next evaluation is
    references : content of the predictions that clauses with `over` compare with, by name

    Returns
    -------
    Advice, or None if no clause of the policy depends on predictions
    """
    table = Predictions.from_parquet(predictions)
    tables = {name: Predictions.from_parquet(content) for name, content in (references or {}).items()}
    omitted = _omitted(table, policy, alpha)
    influences = _influences(table, policy, tables, omitted, alpha=alpha, rng=plain_numpy_generator(0))
    runs = [network for network, _ in table.runs()]
    seeds = min(runs.count(network) for network in set(runs))
    if not influences:
        return Advice(alpha, seeds, None, None, omitted) if omitted else None
    least = max((count for count in omitted.values() if count is not None), default=0)
    simulated = []
    for count, examples in _options(seeds, least):
        chance, hardest = _chance(influences, count, examples, alpha=alpha, rng=plain_numpy_generator(1))
        simulated.append(Evaluation(count, examples, chance, hardest))
    proposed = next((each for each in simulated if each.chance >= CHANCE), None)
    best = max(simulated, key=lambda each: each.chance)
    return Advice(alpha, seeds, proposed, best, omitted)


def _omitted(table: Predictions, policy: Gate, alpha: float) -> dict[str, int | None]:
    """Return the clauses that are not simulated, with the smallest number of seeds that could show each."""
    measured, omitted = network_predictions(table, 0), {}
    for limit in policy.limits:
        metric = PREDICTION_METRICS.get(limit.metric)
        if metric is not None and (limit.each_network is not None or policy.networks == "bounded"):
            groups = measured
            if limit.by:
                groups = grouped_by(measured, limit.by, location=policy.location)
            omitted[limit.name] = fewest_networks(limit, metric, groups.classes, groups.groups, alpha=alpha)
    return omitted


def _options(seeds: int, least: int) -> list[tuple[int, float]]:
    """Return numbers of networks and factors of the examples, the smallest number of predictions first.

    Parameters
    ----------
    least : the smallest number of networks that all clauses need
    """
    most = max(_MOST_SEEDS, seeds, least)
    counts = {min(round(seeds * factor), most) for factor in _SEED_FACTORS} if seeds > 1 else {seeds}
    counts = {max(count, least) for count in counts}
    options = [(count, factor) for count in counts for factor in _EXAMPLE_FACTORS if count > seeds or factor > 1]
    # Networks are easier to add than examples, so of equal sizes the one with fewer examples comes first.
    return sorted(options, key=lambda option: (option[0] * option[1], option[1]))


def _influences(
    table: Predictions,
    policy: Gate,
    references: Mapping[str, Predictions],
    omitted: Container[str],
    *,
    alpha: float,
    rng: np.random.Generator,
) -> list[ClauseInfluence]:
    influences: list[ClauseInfluence] = []
    halves = None
    for number, name in enumerate(table.networks):
        measured = network_predictions(table, number)
        halves = halves or random_halves(measured, rng, HALVES)
        for limit in policy.limits:
            metric = PREDICTION_METRICS.get(limit.metric)
            if metric is None or limit.name in omitted or (limit.over and limit.over not in references):
                continue
            reference = references[limit.over] if limit.over else None
            predictions = [measured]
            if reference is not None:
                predictions.append(network_predictions(reference, reference.networks.index(name)))
            if limit.by:
                predictions = [grouped_by(each, limit.by, location=policy.location) for each in predictions]
            influences.append(
                clause_influence(
                    limit,
                    metric,
                    predictions[0],
                    predictions[1] if reference is not None else None,
                    architecture=number,
                    alpha=alpha,
                    halves=halves,
                )
            )
    return influences


def _chance(
    influences: Sequence[ClauseInfluence], seeds: int, examples: float, *, alpha: float, rng: np.random.Generator
) -> tuple[float, str]:
    """Return the share of simulated evaluations in which all clauses pass, and the clause that passes least often."""
    blocks = {each.architecture: len(each.networks) for each in influences}
    networks = {number: _Networks.drawn(count, rng) for number, count in blocks.items()}
    halves = rng.standard_normal((_DRAWS, HALVES)) / np.sqrt(HALVES)
    all_pass = np.ones(_DRAWS, dtype=bool)
    by_clause: dict[str, Any] = {}
    for each in influences:
        passes = _passes(each, networks[each.architecture], halves, seeds, examples, alpha=alpha, rng=rng)
        by_clause[each.clause] = by_clause.get(each.clause, True) & passes
        all_pass &= passes
    hardest = min(by_clause, key=lambda name: float(by_clause[name].mean()))
    return float(all_pass.mean()), hardest


@dataclass(frozen=True, eq=False)
class _Networks:
    """Draws that the comparisons of one architecture share.

    Attributes
    ----------
    error : of the mean over all networks, as weights of the blocks, (R, blocks)
    added : mean of the added networks about the mean over all, as weights of the blocks, (R, blocks)
    inflation : ratio of the true to the measured variance between networks, (R, 1)
    """

    error: Floats
    added: Floats
    inflation: Floats

    @classmethod
    def drawn(cls, blocks: int, rng: np.random.Generator) -> "_Networks":
        error, added = rng.standard_normal((2, _DRAWS, blocks)) / np.sqrt(max(blocks - 1, 1))
        freedom = _PRIOR + max(blocks - 1, 1)
        return cls(error, added, freedom / rng.chisquare(freedom, (_DRAWS, 1)))


def _passes(
    clause: ClauseInfluence,
    networks: _Networks,
    halves: Floats,
    seeds: int,
    factor: float,
    *,
    alpha: float,
    rng: np.random.Generator,
) -> Any:
    """Return in which simulated evaluations a clause passes, (R,)."""
    if not np.isfinite(clause.widths).all():
        return np.zeros(_DRAWS, dtype=bool)  # one network of many shows nothing about the others
    now, added = clause.seeds, seeds - clause.seeds
    examples_squared, networks_squared = np.square(clause.widths)
    of_networks = networks_squared / np.maximum(examples_squared + networks_squared, 1e-300)
    q = t_quantiles(alpha, _freedom(examples_squared, networks_squared, max(now - 1, 1)))
    measured = np.square(clause.networks).sum(axis=0) / max(len(clause.networks) - 1, 1)  # variance of one network
    # Predictions of one network scatter by themselves. This part of the variance is counted with the examples.
    own = np.clip(measured - now * networks_squared / q**2, 0, None)
    scale = 1 - np.divide(own, measured, out=np.zeros_like(measured), where=measured > 0) * (1 - 1 / factor)
    weight = _PRIOR / (_PRIOR + len(clause.networks) - 1)
    true = networks.inflation * (weight * measured.mean() + (1 - weight) * measured)

    # The mean over all networks differs from the measured mean by `error`, the added ones scatter about it.
    shift = np.zeros((_DRAWS, len(measured)))
    squares = np.broadcast_to((now - 1) * measured * scale, shift.shape)
    if added:
        deviation = np.sqrt(np.divide(true, measured, out=np.ones_like(true), where=measured > 0))
        mean = deviation * ((networks.error / np.sqrt(now) + networks.added / np.sqrt(added)) @ clause.networks)
        shift = added / seeds * (mean - clause.regression * of_networks)
        within = rng.chisquare(added - 1, shift.shape) if added > 1 else 0.0
        squares = squares + true * scale * within + now * added / seeds * mean**2
    variance = squares / max(seeds - 1, 1) / seeds
    # A bound that allows for skewed networks is wider than their variance explains, and stays so.
    net = measured - own
    skew = np.divide(now * networks_squared / q**2, net, out=np.ones_like(net), where=net > 0)
    between = skew * np.clip(variance - own / (seeds * factor), 0, None)

    # The examples that are added have the true rates, from which the measured ones differ.
    spread = np.sqrt(np.square(clause.halves).mean(axis=0))
    least = clause.widths[0] / q
    shift = shift + np.sqrt(1 - 1 / factor) * (
        halves @ clause.halves * np.maximum(1, np.divide(least, spread, out=np.ones_like(spread), where=spread > 0))
    )
    shift = shift - (1 - 1 / factor) * clause.regression * (1 - of_networks)
    # More networks also average out some noise of single predictions. That part is unknown, so it is ignored.
    within_examples = examples_squared / q**2 / factor
    total = within_examples + between
    freedom = _freedom(within_examples, between, max(seeds - 1, 1))
    distance = clause.distances * np.sqrt(total / np.maximum((examples_squared + networks_squared) / q**2, 1e-300))
    distance = distance * t_quantiles(alpha, freedom) / q
    centres = clause.centres + shift
    centres = np.abs(centres) if clause.folded else centres
    return (centres + distance <= clause.limit + ROUNDING).all(axis=1)


def _freedom(examples: Floats, networks: Floats, of_networks: int) -> Floats:
    """Return Satterthwaite's degrees of freedom, where the part of the examples has many."""
    share = np.maximum(networks, 1e-12 * examples) / np.maximum(examples + networks, 1e-300)
    return of_networks / np.square(np.maximum(share, 1e-9))
