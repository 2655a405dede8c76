"""One-sided bounds for rates and their differences that hold for few examples, clusters and seeds.

A measured rate is uncertain for two reasons: the choice of examples, and the choice of networks.

Predictions of several networks for one example are one piece of evidence, and so are the examples of a cluster. The
first part therefore comes from the means of examples over seeds, grouped by cluster. All groups are predicted by the
same networks, so the second part comes from the scatter of the *difference* over seeds. The noise of single
predictions (the interaction of networks and examples) is in the variance between examples and in the variance between
seeds, so it is subtracted once:

    variance = E + max(N - I, 0)
    upper - value = sqrt(examples(q)² + seeds(q)²)

E: variance of the mean, from the means of clusters over seeds.
N: variance of the mean, from the means of seeds: their variance over S.
I: variance of the mean that the interaction causes, from the residuals of clusters and seeds.
examples(q): Wilson's score bound, or the exact one of rare events, at an effective sample size. For a difference
    between different examples, two of them are combined (Newcombe's hybrid score interval). For a difference on the
    same examples, the score bounds of its positive and negative parts are combined. The width is never 0.
seeds(q): q sqrt(max(N - I, 0)), widened on the side to which networks scatter further (`bend`).
q: the quantile of Student's t with Satterthwaite's degrees of freedom of the whole variance. Few seeds make q
    large only as far as they contribute to the variance.

A rate with fewer than ten expected errors (or successes) is bounded more carefully: each part has its own quantile,
and nothing is subtracted (`Contrasts.is_extreme`).

The method was chosen by simulation (tests/gate/simulation.py).

Axes: J differences (or rates), S seeds, n examples. Leading axes are free: the simulation puts replicates there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fair_distill.gate.betting import EXAMPLES_SHARE, mean_lower, mean_upper
from fair_distill.gate.clusters import Clusters
from fair_distill.gate.confusion import Floats, Ints
from fair_distill.gate.degrees_of_freedom import johnson, satterthwaite, spread_of
from fair_distill.gate.quantiles import t_quantiles
from fair_distill.gate.score import MeanOfScores, Score, score

# How the networks of an evaluation are treated.
#   normal : they are a sample of all networks that the set can train, with normal scatter
#   given : they are the networks that are judged, so their choice adds no uncertainty
#   bounded : they are a sample of all networks, and nothing is assumed about their scatter
Treatment = Literal["normal", "given", "bounded"]
# A rate with fewer errors or successes, in independent examples, is extreme; see `Contrasts.is_extreme`.
_FEWEST_ERRORS = 10.0


@dataclass(frozen=True, eq=False)
class Contrasts:
    """Rates, or differences of rates, with both parts of their uncertainty.

    Attributes
    ----------
    first, second : the part of the examples: of one sample, or of two that are subtracted
    seeds : the rate or difference of each seed, (J, S)
    interaction : variance of the mean that the interaction of examples and networks causes, (J,)
    bend : asymmetry of the scatter over seeds, (J,), see `bend`; None if it is assumed to be symmetrical
    scale : the difference that a value of 1 in `first` and `second` represents
    correlation : of the means of `first` and `second` over the choice of clusters, (J,); None if no cluster is in both
    weight : the factor of `second`, (J,); None if it is 1
    treatment : how the networks are treated
    """

    first: Score
    second: Score | None
    seeds: Floats
    interaction: Floats
    bend: Floats | None = None
    scale: float = 1.0
    correlation: Floats | None = None
    treatment: Treatment = "normal"
    weight: Floats | None = None

    @property
    def value(self) -> Floats:
        """The mean over seeds, (J,)."""
        return np.asarray(self.seeds.mean(axis=-1))

    def examples_above(self, alpha: float) -> Floats:
        """Return the half-width of the examples above the value, (J,)."""
        return self._examples_at(alpha, 1)

    def examples_below(self, alpha: float) -> Floats:
        """Return the half-width of the examples below the value, (J,)."""
        return self._examples_at(alpha, -1)

    def seeds_above(self, alpha: float) -> Floats:
        """Return the half-width of the seeds above the value, (J,)."""
        return self._seeds_at(alpha, 1)

    def seeds_below(self, alpha: float) -> Floats:
        """Return the half-width of the seeds below the value, (J,)."""
        return self._seeds_at(alpha, -1)

    def upper(self, alpha: float) -> Floats:
        """Return the one-sided upper bound at level alpha, (J,)."""
        return np.asarray(self.value + self.together(self.examples_above(alpha), self.seeds_above(alpha)))

    def lower(self, alpha: float) -> Floats:
        """Return the one-sided lower bound at level alpha, (J,)."""
        return np.asarray(self.value - self.together(self.examples_below(alpha), self.seeds_below(alpha)))

    def together(self, examples: Floats, seeds: Floats) -> Floats:
        """Return the half-width of both parts. Without a distribution of networks, their levels and widths add."""
        return examples + seeds if self.treatment == "bounded" else np.hypot(examples, seeds)

    def _examples_at(self, alpha: float, side: int) -> Floats:
        if self.treatment == "bounded":
            given = replace(self, treatment="given")
            return given.examples(given.quantile(EXAMPLES_SHARE * alpha), side)
        q = np.where(self.is_extreme, t_quantiles(alpha, self.freedom_of_examples), self.quantile(alpha))
        return self.examples(np.asarray(q), side)

    def _seeds_at(self, alpha: float, side: int) -> Floats:
        if self.treatment == "bounded":
            of_seeds, (low, high) = (1 - EXAMPLES_SHARE) * alpha, self.range
            if side > 0:
                return np.asarray(mean_upper(self.seeds, of_seeds, lowest=low, highest=high) - self.value)
            return np.asarray(self.value - mean_lower(self.seeds, of_seeds, lowest=low, highest=high))
        alone = t_quantiles(alpha, np.full(self.is_extreme.shape, max(self.seeds.shape[-1] - 1.0, 1.0)))
        return self.scatter(np.where(self.is_extreme, alone, self.quantile(alpha)), side, alpha)

    @property
    def range(self) -> tuple[Floats, Floats]:
        """The smallest and the largest value that a network can have, each one number or (J,)."""
        low, high = (np.asarray(end) for end in self.first.range)
        if self.second is not None:
            weight = 1.0 if self.weight is None else self.weight
            least, most = self.second.range
            low, high = low - weight * most, high - weight * least
        return np.asarray(self.scale * low), np.asarray(self.scale * high)

    def quantile(self, alpha: float) -> Floats:
        """Return the quantile of the whole uncertainty, (J,)."""
        return t_quantiles(alpha, self.freedom)

    def examples(self, q: Floats, side: int) -> Floats:
        """Return the half-width of the examples above (side 1) or below (side -1) with the quantile q."""
        first = self.first.above(q) if side > 0 else self.first.below(q)
        if self.second is None:
            return self.scale * first
        second = self.second.below(q) if side > 0 else self.second.above(q)
        if self.weight is not None:
            second = self.weight * second
        if self.correlation is None:
            return self.scale * np.hypot(first, second)
        squares = first**2 + second**2 - 2 * self.correlation * first * second
        return np.asarray(self.scale * np.sqrt(np.maximum(squares, 0)))

    def scatter(self, q: Floats, side: int, alpha: float) -> Floats:
        """Return the half-width of the seeds with the quantile q. It is infinite for one seed, which shows no scatter.

        The asymmetry is that of the seeds alone, so its correction has the quantile of the seeds alone at level alpha.
        """
        count = self.seeds.shape[-1]
        if self.treatment == "given":
            return np.zeros(self.seeds.shape[:-1])
        if count < 2:
            return np.full(self.seeds.shape[:-1], np.inf)
        scatter = np.sqrt(self.variance_of_seeds)
        half_width = np.where(scatter > 0, q, 0.0) * scatter
        if self.bend is None:
            return np.asarray(half_width)
        return np.asarray(half_width + np.maximum(side * self.bend, 0) * johnson(alpha, count))

    @property
    def variance_of_seeds(self) -> Floats:
        """The variance of the mean that the choice of networks adds to that of the examples, (J,)."""
        count = self.seeds.shape[-1]
        if self.treatment == "given" or count < 2:
            return np.zeros(self.seeds.shape[:-1])
        interaction = np.where(self.is_extreme, 0.0, self.interaction)
        return np.asarray(np.maximum(self.seeds.var(axis=-1, ddof=1) / count - interaction, 0))

    @property
    def is_extreme(self) -> NDArray[np.bool_]:
        """Whether a rate has too few errors, or too few successes, for one quantile and one count of the noise, (J,).

        The observed variance of such a rate is itself uncertain: 60 examples at a rate of 0.99 often have no error.
        Then the parts have their own quantiles, and nothing is subtracted, which is wider.
        """
        extreme = self.first.expected_errors < _FEWEST_ERRORS
        return extreme if self.second is None else extreme | (self.second.expected_errors < _FEWEST_ERRORS)

    @property
    def freedom_of_examples(self) -> Floats:
        """The degrees of freedom of the variance that the examples cause, (J,)."""
        examples, spread = self.variances_of_examples
        return np.asarray(np.divide(examples**2, spread, out=np.zeros_like(spread), where=spread > 0))

    @property
    def variances_of_examples(self) -> tuple[Floats, Floats]:
        """The variance of the mean that the examples cause, and its square over its degrees of freedom, both (J,)."""
        square = self.scale**2
        variance = square * self.first.variance
        spread = spread_of(variance, self.first.freedom)
        if self.second is not None:
            second = square * self.second.variance
            if self.weight is not None:
                second = self.weight**2 * second
            spread = spread + spread_of(second, self.second.freedom)
            variance = variance + second
            if self.correlation is not None:
                covariance = self.correlation * np.sqrt(square * self.first.variance * second)
                variance = np.maximum(variance - 2 * covariance, 0)
        return variance, spread

    @property
    def freedom(self) -> Floats:
        """Satterthwaite's degrees of freedom of the variance of the mean, (J,)."""
        examples, spread = self.variances_of_examples
        count = 1 if self.treatment == "given" else self.seeds.shape[-1]
        of_seeds = self.seeds.var(axis=-1, ddof=1) / count if count > 1 else np.zeros_like(examples)
        return satterthwaite(examples, spread, self.variance_of_seeds, of_seeds, count)

    def __getitem__(self, index: Any) -> "Contrasts":
        def selected(values: Floats | None) -> Floats | None:
            return None if values is None else values[index]

        return replace(
            self,
            first=self.first[index],
            second=None if self.second is None else self.second[index],
            seeds=self.seeds[index],
            interaction=self.interaction[index],
            bend=selected(self.bend),
            correlation=selected(self.correlation),
            weight=selected(self.weight),
        )


def level(
    outcomes: Floats,
    clusters: Ints | None = None,
    *,
    lowest: int = 0,
    treatment: Treatment = "normal",
) -> Contrasts:
    """Return the mean of outcomes (..., S, n) in [lowest, 1] for the same n examples of every seed."""
    groups = Clusters.of(clusters, outcomes.shape[-1])
    seeds = outcomes.mean(axis=-1)
    examples = score(outcomes.mean(axis=-2), groups, lowest=lowest)
    interaction = _interaction(outcomes, seeds, groups)
    lean = None if lowest < 0 else bend(seeds, interaction)
    return Contrasts(examples, None, seeds, interaction, lean, treatment=treatment)


def _interaction(outcomes: Floats, seeds: Floats, clusters: Clusters) -> Floats:
    """Return the variance of the mean that the interaction of clusters and seeds causes, (...).

    Without interaction, each seed moves every cluster by the same amount. The residuals are what is left of the sums of
    clusters after the means over seeds and over clusters. One cluster or one seed shows no interaction.
    """
    n, count = outcomes.shape[-1], outcomes.shape[-2]
    if count < 2 or len(clusters.sizes) < 2:
        return np.zeros(seeds.shape[:-1])
    residuals = clusters.sums(outcomes) - seeds[..., None] * clusters.sizes
    return np.asarray((residuals.var(axis=-2, ddof=1) * clusters.corrections).sum(axis=-1) / (n * n * count))


def bend(seeds: Floats, interaction: Floats) -> Floats:
    """Return the asymmetry of the scatter of networks about a rate: third moment over six times the second.

    Three seeds are too few to estimate it, so it is derived from the rate: networks that differ by a threshold move a
    rate of 0.98 further down than up. The skewness is about 3 (1 - 2p) s / (p (1 - p)) at standard deviation s, like
    that of a lognormal rate of errors. The variance over seeds that single predictions cause is subtracted, because it
    does not come from the networks.
    """
    rate = seeds.mean(axis=-1)
    count = seeds.shape[-1]
    binomial = rate * (1 - rate)
    if count < 2:
        return np.zeros_like(rate)
    excess = np.maximum(seeds.var(axis=-1, ddof=1) - count * interaction, 0)
    return np.asarray((1 - 2 * rate) * np.divide(excess, 2 * binomial, out=np.zeros_like(rate), where=binomial > 0))


def combined_bend(first: Contrasts, second: Contrasts, sign: int) -> Floats | None:
    """Return the asymmetry of the scatter of networks about a sum (sign 1) or difference (sign -1).

    Each term contributes its own asymmetry as far as it determines the result: by its squared correlation over seeds
    with the result. For linear combinations of normal variables and their squares this is the third moment.
    """
    if first.bend is None or second.bend is None:
        return None
    combined = _centred(first.seeds + sign * second.seeds)
    scatter = np.square(combined).sum(axis=-1)

    def share(seeds: Floats) -> Floats:
        centred = _centred(seeds)
        product = scatter * np.square(centred).sum(axis=-1)
        squared = np.square((combined * centred).sum(axis=-1))
        return np.asarray(np.divide(squared, product, out=np.zeros_like(squared), where=product > 0))

    return np.asarray(first.bend * share(first.seeds) + sign * second.bend * share(second.seeds))


def _centred(seeds: Floats) -> Floats:
    return np.asarray(seeds - seeds.mean(axis=-1, keepdims=True))


def minus(
    first: Contrasts, second: Contrasts, correlation: Floats | None = None, *, weight: Floats | None = None
) -> Contrasts:
    """Return the difference of two levels on different examples that the same networks predict.

    Parameters
    ----------
    correlation : of the two means over the choice of clusters, if some clusters have examples in both levels
    weight : the factor of the second level, (J,); 1 if omitted
    """
    if weight is not None:
        bends = None if second.bend is None else weight * second.bend
        interaction = weight**2 * second.interaction
        second = replace(second, seeds=weight[..., None] * second.seeds, interaction=interaction, bend=bends)
    interaction = first.interaction + second.interaction
    if correlation is not None:
        # The interactions of a common cluster may cancel, so nothing is subtracted from the variance over seeds.
        interaction = np.zeros_like(interaction)
    return Contrasts(
        first.first,
        second.first,
        first.seeds - second.seeds,
        interaction,
        combined_bend(first, second, -1),
        first.scale,
        correlation,
        first.treatment,
        weight,
    )


def on_the_same(
    differences: Floats,
    clusters: Ints | None = None,
    *,
    scale: float = 1.0,
    treatment: Treatment = "normal",
) -> Contrasts:
    """Return the mean of differences (..., S, n) in [-scale, scale], each within one example or one pair."""
    unit = level(differences / scale, clusters, lowest=-1, treatment=treatment)
    return rescaled(unit, scale)


def rescaled(contrasts: Contrasts, scale: float) -> Contrasts:
    """Return contrasts of values that are `scale` times as large."""
    return replace(
        contrasts,
        seeds=contrasts.seeds * scale,
        interaction=contrasts.interaction * scale**2,
        scale=contrasts.scale * scale,
    )


def stacked(parts: Sequence[Contrasts]) -> Contrasts:
    """Concatenate contrasts of one kind."""
    seconds = [part.second for part in parts if part.second is not None]
    bends = [part.bend for part in parts if part.bend is not None]
    correlations = [part.correlation for part in parts if part.correlation is not None]
    return Contrasts(
        first=_stacked([part.first for part in parts]),
        second=_stacked(seconds) if seconds else None,
        seeds=np.concatenate([part.seeds for part in parts]),
        interaction=np.concatenate([part.interaction for part in parts]),
        bend=np.concatenate(bends) if bends else None,
        scale=parts[0].scale,
        correlation=np.concatenate(correlations) if correlations else None,
        treatment=parts[0].treatment,
    )


def _stacked(scores: Sequence[Score]) -> Score:
    assert not any(isinstance(each, MeanOfScores) for each in scores)  # their parts would be lost
    negatives = [each.negative for each in scores if each.negative is not None]
    return Score(
        np.concatenate([each.positive for each in scores]),
        np.concatenate(negatives) if negatives else None,
        np.concatenate([each.effective for each in scores]),
        np.concatenate([each.freedom for each in scores]),
        np.concatenate([each.variance for each in scores]),
    )
