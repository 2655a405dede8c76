"""Exact bounds of the rate of rare events, in closed form.

Wilson's score bound is approximate. It is too close for a rate with few events: where 0.1 events are expected, one
event is seen in a tenth of the samples, and Wilson's lower bound is then above the true rate. The bounds of Clopper and
Pearson (Biometrika 1934) hold for every rate. They are quantiles of beta distributions. These are derived here from
those of the gamma distribution by Wilson and Hilferty (PNAS 1931), and from the Poisson to the binomial distribution
by Molenaar's rule. For up to a quarter of events, the bounds are within 1 % of the exact ones, or wider.
"""

import numpy as np

from fair_distill.gate.confusion import Floats


def event_rate_upper(events: Floats, n: Floats, q: Floats) -> Floats:
    """Return the upper bound of a rate, (...).

    Parameters
    ----------
    events, n : the number of events, and of values; both may be fractions
    q : the normal quantile of the level
    """
    shape = events + 1
    mean = shape * np.maximum(1 - 1 / (9 * shape) + q / (3 * np.sqrt(shape)), 0) ** 3
    return np.asarray(np.minimum(mean / (n + (mean - events) / 2), 1))


def event_rate_lower(events: Floats, n: Floats, q: Floats) -> Floats:
    """Return the lower bound of a rate, (...); parameters as in `event_rate_upper`."""
    shape = np.maximum(events, np.finfo(float).tiny)
    mean = shape * np.maximum(1 - 1 / (9 * shape) - q / (3 * np.sqrt(shape)), 0) ** 3
    return np.asarray(mean / (n + (mean - np.maximum(events - 1, 0)) / 2))
