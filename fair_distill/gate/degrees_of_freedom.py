"""Satterthwaite's degrees of freedom of a variance that examples and few networks contribute to."""

import numpy as np

from fair_distill.gate.confusion import Floats
from fair_distill.gate.quantiles import t_quantile


def satterthwaite(examples: Floats, spread: Floats, seeds: Floats, of_seeds: Floats, count: int) -> Floats:
    """Return the degrees of freedom of a variance that is the sum of the parts of the examples and of the seeds.

    Few seeds may scatter less than they usually do, which makes both the variance too small and the degrees of freedom
    too many. Therefore the whole variance of the means of seeds (N, not N - I) counts here, and its square is enlarged
    by (S + 1) / (S - 1), the expected square of its estimate. Without this, bounds from 3 seeds are violated by up to
    6.7 % of normal data instead of 5 %.

    Parameters
    ----------
    examples, spread : variance of the mean that the examples cause, and its square over its degrees of freedom
    seeds, of_seeds : max(N - I, 0) and N, see `gate.bounds`
    count : S; 1 if the seeds contribute nothing
    """
    alone = np.divide(examples**2, spread, out=np.zeros_like(spread), where=spread > 0)
    if count < 2:
        return np.asarray(alone)
    whole = spread + of_seeds**2 * (count + 1) / (count - 1) ** 2
    return np.asarray(np.maximum((examples + seeds) ** 2 / whole, np.minimum(alone, count - 1)))


def spread_of(variance: Floats, freedom: Floats) -> Floats:
    """Return variance² / freedom; infinite without degrees of freedom."""
    return np.asarray(np.divide(variance**2, freedom, out=np.full(variance.shape, np.inf), where=freedom > 0))


def johnson(alpha: float, count: int) -> float:
    """Return the factor of the asymmetry in Johnson's correction of t for a skewed mean of `count` values (1978).

    It is applied only on the side where it widens the bound.
    """
    q = t_quantile(alpha, count - 1)
    return float((1 + 2 * q * q) / count)
