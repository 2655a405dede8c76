"""Bounds for the mean of bounded values that hold for every distribution and every number of values, by betting.

Networks that are trained on one set give independent values x_1, x_2, ... in [lowest, highest] with a mean m. Scale
them to y = (x - lowest) / (highest - lowest). A bettor who doubts that the mean of y is at most m starts with wealth
1 and bets the share k of the largest allowed stake on each network. The wealth after S networks is

    W_k(m) = prod_s (1 + k (y_s / m - 1)),     0 < k <= 1,

which is never negative. If the mean is at most m, its expectation never grows. Ville's inequality then states that the
probability that it *ever* reaches 1 / alpha is at most alpha. A mixture of bets k with weights that sum to 1 has the
same property. The lower bound is the largest m whose mixture has reached 1 / alpha; the wealth decreases in m, so
bisection finds it. The upper bound is the lower bound of the mirrored values.

Nothing is assumed about the distribution except that networks are independent, and nothing about their number: the
bound may be computed after each new network, and the first one within a limit may decide.

The bets were chosen by simulation with differences in [-1, 1] that have standard deviations of 0 to 0.28, or that
collapse in one network of ten. The full stake, k = 1, is best or nearly best in all of them up to 100 networks, so it
has the weight 0.8. The other bets bound networks with a wide scatter, and the wealth at k = 1 is 0 if one y is 0.

References
----------
Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", J. R. Stat. Soc. B 86(1), 2024,
section 4 (the hedged capital process, here with fixed bets); Ville, "Étude critique de la notion de collectif", 1939.

Axes: J means, S networks. Leading axes are free.
"""

import math
from collections.abc import Callable

import numpy as np

from fair_distill.gate.confusion import Floats

STAKES = (1.0, 0.5, 0.25, 0.125)
WEIGHTS = (0.8, 0.1, 0.05, 0.05)
# Of alpha, the examples' part of a bound gets this share and the networks' part the rest. Bounds of 30 to 60 networks
# and 200 to 1,000 examples a cell are within 2 % of the narrowest for shares of 0.1 to 0.3.
EXAMPLES_SHARE = 0.2
_BISECTIONS = 44  # to 1e-13 of the range


# The end of a range: one number, or one for each mean, (...).
End = float | Floats


def mean_upper(values: Floats, alpha: float, *, lowest: End, highest: End) -> Floats:
    """Return the one-sided upper bound of the mean of values (..., S) in [lowest, highest], (...)."""
    return -mean_lower(-values, alpha, lowest=-highest, highest=-lowest)


def mean_lower(values: Floats, alpha: float, *, lowest: End, highest: End) -> Floats:
    """Return the one-sided lower bound of the mean of values (..., S) in [lowest, highest], (...)."""
    scaled = _scaled(values, lowest, highest)
    bound = _largest_refuted(lambda mean: _log_wealths(scaled, mean), scaled.mean(axis=-1), alpha)
    return np.asarray(lowest + (highest - lowest) * bound)


def largest_choice_upper(values: Floats, alpha: float, *, lowest: End, highest: End) -> Floats:
    """Return a bound above the upper bounds of all choices of one value per class, averaged over C classes, (...).

    The logarithm is concave, so the wealth of a bet on the average over classes is at least exp(average over classes of
    the log wealths of the same bet). The smallest of these over all choices is the average of the smallest in each
    class, so no choice has to be enumerated.

    Parameters
    ----------
    values : (..., C, M, S) in [lowest, highest], for M options in each class; the range is the same for all of them
    """
    scaled = _scaled(-values, -highest, -lowest)

    def log_wealths(mean: Floats) -> Floats:
        means = np.broadcast_to(mean[..., None, None], scaled.shape[:-1])
        return np.asarray(_log_wealths(scaled, means).min(axis=-1).mean(axis=-1))

    bound = _largest_refuted(log_wealths, scaled.mean(axis=-1).min(axis=-1).mean(axis=-1), alpha)
    return np.asarray(highest - (highest - lowest) * bound)


def _scaled(values: Floats, lowest: End, highest: End) -> Floats:
    low, high = np.asarray(lowest)[..., None], np.asarray(highest)[..., None]
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0))


def _largest_refuted(log_wealths: Callable[[Floats], Floats], measured: Floats, alpha: float) -> Floats:
    """Return the largest mean (...) against which the mixture of bets has reached 1 / alpha.

    Parameters
    ----------
    log_wealths : from means (...) to the logarithms of the wealths of the bets, (bets, ...)
    measured : the measured means, (...). By Jensen's inequality no bet has gained against them
    """
    low, high = np.zeros_like(measured), measured
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        reached = _mixed(log_wealths(middle)) >= math.log(1 / alpha)
        low, high = np.where(reached, middle, low), np.where(reached, high, middle)
    return low


def networks_needed(value: float, limit: float, alpha: float, *, lowest: float, highest: float) -> int | None:
    """Return how many networks that all have one value are needed for a lower bound of at least the limit.

    None if no number suffices, because the value is at most the limit.
    """
    scaled, bound = (value - lowest) / (highest - lowest), (limit - lowest) / (highest - lowest)
    if scaled <= bound:
        return None
    if bound <= 0:
        return 1
    high = 1
    while not _reached(scaled, bound, high, alpha):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _reached(scaled, bound, middle, alpha) else (middle, high)
    return high


def _reached(scaled: float, mean: float, networks: int, alpha: float) -> bool:
    wealths = _log_wealths(np.full(networks, scaled), np.asarray(mean))
    return float(_mixed(wealths)) >= math.log(1 / alpha)


def _mixed(log_wealths: Floats) -> Floats:
    """Return the logarithm of the wealth of the mixture of bets (bets, ...)."""
    weights = np.log(WEIGHTS).reshape(-1, *[1] * (log_wealths.ndim - 1))
    return np.asarray(np.logaddexp.reduce(log_wealths + weights, axis=0))


def _log_wealths(scaled: Floats, mean: Floats) -> Floats:
    """Return the logarithm of the wealth of each bet against each mean (...), for scaled values (..., S)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # A mean of 0 is refuted by every value above 0, and by nothing else.
        odds = np.where(mean[..., None] > 0, scaled / mean[..., None], np.where(scaled > 0, np.inf, 1.0))
        return np.stack([np.log1p(stake * (odds - 1)).sum(axis=-1) for stake in STAKES])
