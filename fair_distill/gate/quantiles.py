"""Upper-tail probabilities and quantiles of the normal and of Student's t distribution, without SciPy."""

import math
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()
# With more degrees of freedom, t and the normal differ by less than the rounding error.
_NORMAL_FROM = 1e9


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
    """Return the t with P(T > t) = alpha, by bisection on a bracket that doubles until it contains t."""
    if alpha > 0.5:
        return -t_quantile(1 - alpha, df)
    if df >= _NORMAL_FROM:
        return normal_quantile(alpha)
    low, high = 0.0, 1.0
    while t_tail(high, df) > alpha:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, df) > alpha else (low, middle)
    return (low + high) / 2


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
