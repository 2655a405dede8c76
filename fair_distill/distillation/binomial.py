"""Exact intervals for a share of independent trials."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """A measured share and its two-sided confidence interval.

    Attributes
    ----------
    count, total : the share is count / total
    low, high : the limits of the interval, in [0, 1]
    """

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        """The share; None without trials."""
        return self.count / self.total if self.total else None


def exact_share(count: int, total: int, *, confidence: float = 0.95) -> Share:
    """Return a share with the interval of Clopper and Pearson (Biometrika 26, 1934).

    It covers the true probability with at least the given confidence, for any number of independent trials. Without
    trials the interval is [0, 1].

    Raises
    ------
    ValueError
        If the count is not between 0 and the total, or the confidence not between 0 and 1.
    """
    from scipy.special import betaincinv

    if not 0 <= count <= total or not 0 < confidence < 1:
        raise ValueError(f"0 <= {count} <= {total} and 0 < {confidence} < 1 are required")
    tail = (1 - confidence) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return Share(count, total, low, high)
