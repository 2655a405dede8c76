"""Upper-tail probabilities and quantiles of the normal and of Student's t distribution, without SciPy."""

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_NORMAL = NormalDist()
# With more degrees of freedom, t and the normal differ by less than the rounding error.
_NORMAL_FROM = 1e9
_NEWTON_STEPS = 20
# Degrees of freedom whose quantiles are computed exactly. Between them `t_quantiles` interpolates.
_NODES = np.concatenate(
    [np.arange(1, 8) / 8, np.arange(16, 64) / 16, np.arange(16, 64) / 4, 16 * 2 ** (np.arange(513) / 32)]
)


def normal_tail(z: float) -> float:
    """Return P(Z > z) of a standard normal."""
    return math.erfc(z / math.sqrt(2)) / 2


@lru_cache(maxsize=4096)
def normal_quantile(alpha: float) -> float:
    """Return the z with P(Z > z) = alpha."""
    return -_NORMAL.inv_cdf(alpha)


def t_tail(t: float, df: float) -> float:
    """Return P(T > t) of Student's t with `df` degrees of freedom, from the incomplete beta function."""
    if df >= _NORMAL_FROM:
        return normal_tail(t)
    square = t * t
    # Both arguments need full precision; 1 - x loses it if t is very large or small.
    half = beta_share(df / 2, 0.5, df / (df + square), square / (df + square)) / 2
    return half if t >= 0 else 1 - half


@lru_cache(maxsize=4096)
def t_quantile(alpha: float, df: float) -> float:
    """Return the t with P(T > t) = alpha, by bisection on a bracket that doubles until it contains t, then Newton."""
    if alpha > 0.5:
        return -t_quantile(1 - alpha, df)
    if df >= _NORMAL_FROM:
        return normal_quantile(alpha)
    low, high = 0.0, 1.0
    while t_tail(high, df) > alpha:
        low, high = high, 2 * high
    while high - low > 1e-2 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, df) > alpha else (low, middle)
    t = (low + high) / 2
    for _ in range(_NEWTON_STEPS):
        density = _t_density(t, df)
        if density == 0:  # alpha is too small for the precision of floating point
            return high
        step = (t_tail(t, df) - alpha) / density
        t = min(max(t + step, low), high)
        if abs(step) < 1e-8 * t:  # the next step would be of the order of the rounding error
            break
    return t


def _t_density(t: float, df: float) -> float:
    log_factor = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    return math.exp(log_factor - (df + 1) / 2 * math.log1p(t * t / df))


def t_quantiles(alpha: float, df: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the t with P(T > t) = alpha for each number of degrees of freedom, which may be fractions.

    Quantiles are exact at the nodes and interpolated between them, linearly in 1 / df. The quantile is convex in
    1 / df, so the result is not smaller than the exact quantile. At alpha = 0.01 it is at most 0.5 % larger below 2
    degrees of freedom and 0.03 % above. Less than 1/8 degree of freedom gives infinity.
    """
    above = np.searchsorted(_NODES, df, side="left")
    needed = np.unique(np.concatenate([above.ravel(), above.ravel() - 1]))
    quantiles = np.full(len(_NODES) + 1, np.inf)
    for node in needed[needed >= 0].tolist():
        is_node = node < len(_NODES)
        quantiles[node] = t_quantile(alpha, float(_NODES[node])) if is_node else normal_quantile(alpha)
    inverse = np.append(1 / _NODES, 0.0)
    below = np.maximum(above - 1, 0)
    width = np.where(above > 0, inverse[below] - inverse[above], 1.0)
    with np.errstate(divide="ignore"):
        share = np.where(above > 0, (1 / df - inverse[above]) / width, 0.0)
    interpolated = quantiles[above] + share * (quantiles[below] - quantiles[above])
    return np.where(df < _NODES[0], np.inf, interpolated)


def beta_share(a: float, b: float, x: float, y: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), where y = 1 - x."""
    if x <= 0 or y <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_share(b, a, y, x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(y)) / a
    return front * _fraction(a, b, x)


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of I_x(a, b), by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    value = d
    for m in range(1, 100_000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + step * d or tiny)
            c = 1 + step / c or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
