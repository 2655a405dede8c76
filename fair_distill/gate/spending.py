"""How attempts at one gate split share the error budget alpha.

Each attempt takes a fraction of alpha. The fractions of all attempts that evaluated the same examples add up to less
than 1. By the union bound, the probability that any of these attempts passes a set which violates a limit is then less
than alpha. This assumes that a set does not depend on the results of earlier attempts at the same examples.
"""

import math

from fair_distill.errors import Undecided

# The planned attempts share this part of the budget, so that something is left for attempts that nobody planned.
PLANNED_SHARE = 0.9
# The smallest fraction that is reserved. Quantiles of a smaller risk need more examples than any split has.
SMALLEST_FRACTION = 1e-9


def fraction_of(left: float, planned: int) -> float:
    """Return the fraction of alpha that the next attempt takes.

    The first `planned` attempts take 0.9 / planned each. Each later attempt takes half of what is left. Examples that
    no attempt has evaluated increase `left`, and the next attempts then take up to 0.9 / planned again.

    Parameters
    ----------
    left : the fraction of alpha that earlier attempts have left, from 0 to 1; less than 0 counts as 0
    planned : number of attempts that the policy plans for one body of examples
    """
    left = max(left, 0.0)
    return min(PLANNED_SHARE / planned, max(left / 2, left - (1 - PLANNED_SHARE)))


def legacy_fraction(attempt: int, planned: int = 1) -> float:
    """Return the fraction of the k-th attempt in ledgers and contexts of earlier releases: 6 / (π² k²).

    A policy that plans several attempts allows each at most 0.9 / planned, whichever release reserved it.
    """
    return min(6 / (math.pi**2 * attempt**2), PLANNED_SHARE / planned)


def check_fraction(fraction: float, *, split: str) -> None:
    """Raise Undecided if a fraction is too small for a verdict: earlier attempts have used up the error budget."""
    if fraction < SMALLEST_FRACTION:
        raise Undecided(
            f"earlier attempts have used up the error budget (alpha) of the gate split {split[:12]}…. Add examples "
            "that no attempt has evaluated. If only attempts of an earlier release count, and they were at other "
            "examples, run `fair-distill gate reserve --fresh REASON`"
        )
