"""How many of S networks must satisfy a limit to show that a share of all networks does, without any distribution.

Networks are trained independently on one set. Let q be the share of all such networks that satisfy a limit. A network
is *counted* if its own bound at level a, over the choice of examples, is within the limit. The claim "q is at least
`share`" passes if at least S - v networks are counted. The pair (v, a) depends on S, `share` and alpha only and never
on the data, so there is one region of rejection, and its probability must be at most alpha while q < share.

All networks predict the same examples, so their errors may come together. Given the examples X, networks are
independent and each is counted with the probability q + e(X). Here e(X) is the probability that a network violates the
limit and is counted all the same. A violating network is counted with a probability of at most a over X, so

    0 <= e(X) <= 1 - q    and    E e(X) <= (1 - q) a.

With f(p) = P(Binomial(S, p) >= S - v), the probability to pass is E f(q + e(X)). Without more knowledge of e, that is
at most the concave hull of f on [q, 1] at q + (1 - q) a. It grows with q: replacing p by 1 - (1 - p)(1 - q')/(1 - q)
maps every allowed distribution for q to one for a larger q' and lowers no p. So q = share is the worst case. The line
through (share, f(share)) with the largest slope m of f from there is above f on [share, 1], hence above the hull, and

    P(pass) <= f(share) + (1 - share) a m <= alpha    for    a = (alpha - f(share)) / ((1 - share) m).

This is an equality if all violating networks err on the same examples. With v = 0 it reads
share^S + (1 - share^S) a = alpha: 29 networks without a violation for a share of 0.9 at alpha = 0.05 leave a = 0.003
for each network's examples. A larger v leaves a smaller a. `tolerance` therefore chooses the largest v for which a is
at least a fifth of alpha, else v = 0.

The same argument with "violates" in place of "satisfies" shows that fewer than `share` satisfy the limit, see
`violations_needed`.

References
----------
Wilks, "Determination of sample sizes for setting tolerance limits", Ann. Math. Stat. 12(1), 1941.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

from fair_distill.gate.quantiles import beta_share

# The smallest share of alpha that the bounds of single networks get, if there are networks to choose.
_SMALLEST_SHARE = 0.2
_MOST_NETWORKS = 100_000


@dataclass(frozen=True)
class Tolerance:
    """A rule for S networks: how many need not be counted, and the level of each network's own bound."""

    networks: int
    allowed: int
    alpha: float

    @property
    def needed(self) -> int:
        """The number of networks that must be counted."""
        return self.networks - self.allowed


@lru_cache(maxsize=1024)
def tolerance(networks: int, share: float, alpha: float) -> Tolerance | None:
    """Return the rule that shows at level alpha that at least `share` of networks satisfy a limit.

    None if there are too few networks: even if all of them satisfied it, the share could be smaller.
    """

    def own_alpha(allowed: int) -> float:
        return _own_alpha(networks, allowed, share, alpha)

    if own_alpha(0) <= 0:
        return None
    low, high = 0, networks  # the level decreases in the number of allowed networks
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if own_alpha(middle) >= _SMALLEST_SHARE * alpha else (low, middle)
    return Tolerance(networks, low, own_alpha(low))


@lru_cache(maxsize=1024)
def violations_needed(networks: int, share: float, alpha: float) -> Tolerance | None:
    """Return the rule that shows at level alpha that fewer than `share` of networks satisfy a limit.

    Its `needed` is the number of networks that must each be shown, at its `alpha`, to violate the limit. It is the
    smallest number for which this level is at least a fifth of alpha. None if there are too few networks.
    """
    return tolerance(networks, 1 - share, alpha)


def networks_needed(share: float, alpha: float, *, allowed: int = 0) -> int | None:
    """Return the smallest number of networks of which `allowed` need not be counted; None if over 100,000.

    With the smallest number, the level that is left for the bound of each network can be tiny, and `tolerance` allows
    more than 0 only if that level is not.
    """
    networks = allowed + 1
    while _tail(networks, allowed, share) >= alpha:
        networks += max(networks // 1000, 1)
        if networks > _MOST_NETWORKS:
            return None
    return networks


def _own_alpha(networks: int, allowed: int, share: float, alpha: float) -> float:
    """Return the level of each network's own bound, 0 if chance alone passes with a probability of alpha."""
    at_share = _tail(networks, allowed, share)
    if at_share >= alpha:
        return 0.0
    return (alpha - at_share) / ((1 - share) * _steepest(networks, allowed, share, at_share))


def _tail(networks: int, allowed: int, p: float) -> float:
    """Return P(Binomial(networks, p) >= networks - allowed)."""
    return beta_share(networks - allowed, allowed + 1, p, 1 - p)


def _steepest(networks: int, allowed: int, share: float, at_share: float) -> float:
    """Return the largest slope of a line from (share, f(share)) to a later point of f.

    f is convex up to one point and concave from there, so the slope has one maximum. It is where the line touches f.
    f(share) is below alpha, hence below one half, so f is still convex at `share`.
    """

    def slope(p: float) -> float:
        return (_tail(networks, allowed, p) - at_share) / (p - share)

    if allowed == 0:  # f is convex on all of [share, 1]
        return slope(1.0)
    low, high = share, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _density(networks, allowed, middle) > slope(middle) else (low, middle)
    return slope(high)


def _density(networks: int, allowed: int, p: float) -> float:
    """Return the derivative of `_tail` in p, for p below 1."""
    log_choices = math.lgamma(networks + 1) - math.lgamma(networks - allowed) - math.lgamma(allowed + 1)
    return math.exp(log_choices + (networks - allowed - 1) * math.log(p) + allowed * math.log1p(-p))
