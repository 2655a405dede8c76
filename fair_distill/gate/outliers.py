"""Networks that are far from the others that were trained on the same set.

Bounds under `networks: normal` assume that differences are normally distributed over networks. A network that collapsed
is the usual reason why they are not. The test is Rosner's generalised extreme studentised deviate test for up to a
quarter of the networks: the network that is furthest from the mean is set aside, again and again, and each is compared
with the largest deviation that normal values would show. The level is 1 %, and 0.2 % from ten networks on: a largest
gap is skewed to the right even if differences are normal, and at 1 % many networks without a fault would be listed.
Unlike a test of one network against all others, it still finds two networks that collapsed together. With three or
four networks, only an extreme one can be told from chance.

A network is listed only if it also differs by at least 5 points from the mean of the others. If all others agree to the
last example, a difference of one example would otherwise count.

References
----------
Rosner, "Percentage points for a generalized ESD many-outlier procedure", Technometrics 25(2), 1983.
"""

from collections.abc import Sequence

import numpy as np

from fair_distill.config import Limit
from fair_distill.gate.confusion import Floats
from fair_distill.gate.metrics import PredictionMetric
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.quantiles import t_quantile
from fair_distill.gate.verdict import OutlyingNetwork

LEVEL, LEVEL_OF_MANY, MANY = 0.01, 0.002, 10
SMALLEST_DIFFERENCE = 0.05
_LARGEST_SHARE = 0.25


def outlying_networks(
    limit: Limit,
    metric: PredictionMetric,
    predictions: Sequence[NetworkPredictions],
    references: Sequence[NetworkPredictions | None],
) -> list[OutlyingNetwork]:
    """Return the networks whose metric of a clause is far from that of the others, per architecture.

    Parameters
    ----------
    predictions, references : one entry per architecture; references are None without `over`
    """
    listed = []
    for own, reference in zip(predictions, references, strict=True):
        values = _values(limit, metric, own)
        if reference is not None:
            values = values - _values(limit, metric, reference)
        far = outlying(values)
        others = float(np.delete(values, far).mean()) if far else 0.0
        listed += [OutlyingNetwork(limit.name, own.network, own.seed_numbers[s], float(values[s]), others) for s in far]
    return listed


def _values(limit: Limit, metric: PredictionMetric, predictions: NetworkPredictions) -> Floats:
    """Return the metric of each network on the comparisons of a clause, (S,); NaN where it is undefined."""
    comparisons = metric.comparisons(limit, predictions.classes, predictions.groups)
    tables = predictions.tables()
    with np.errstate(divide="ignore", invalid="ignore"):  # a slice without examples has the value 0 / 0
        return np.array([np.nan if metric.undefined(table) else metric.value(table, comparisons) for table in tables])


def outlying(values: Floats) -> list[int]:
    """Return the indices of values (S,) that are far from the others, in increasing order."""
    count = len(values)
    if count < 3 or not np.isfinite(values).all():
        return []
    remaining = list(range(count))
    far = 0
    removed: list[int] = []
    for i in range(1, max(int(_LARGEST_SHARE * count), 1) + 1):
        rest = values[remaining]
        distances = np.abs(rest - rest.mean())
        furthest = int(distances.argmax())
        spread = float(rest.std(ddof=1))
        if spread > 0 and distances[furthest] / spread > _largest_deviation(count - i + 1, level_for(count)):
            far = i
        removed.append(remaining.pop(furthest))
    others = float(np.delete(values, removed[:far]).mean())
    return sorted(s for s in removed[:far] if abs(values[s] - others) >= SMALLEST_DIFFERENCE)


def level_for(count: int) -> float:
    """Return the level of the test for a number of networks."""
    return LEVEL if count < MANY else LEVEL_OF_MANY


def _largest_deviation(count: int, level: float) -> float:
    """Return the largest studentised deviation among normal values that is exceeded with a probability of `level`."""
    t = t_quantile(level / (2 * count), count - 2)
    return (count - 1) * t / float(np.sqrt((count - 2 + t * t) * count))


def outlying_sentences(networks: Sequence[OutlyingNetwork], *, doubts: bool) -> tuple[str, ...]:
    """Return one sentence per outlying network, with all clauses in which it is far from the others.

    Parameters
    ----------
    doubts : whether bounds assume that differences are normally distributed over networks
    """
    by_network: dict[tuple[str, int], list[OutlyingNetwork]] = {}
    for network in networks:
        by_network.setdefault((network.network, network.seed), []).append(network)
    advice = (
        "; bounds assume that differences are normally distributed over networks, which is doubtful here: use "
        "`networks: bounded` or more seeds"
        if doubts
        else ""
    )
    return tuple(
        f"seed {seed} of {name} is far from the other networks: "
        + ", ".join(f"{each.clause} {each.value:.3f} (others {each.others:.3f})" for each in listed)
        + advice
        for (name, seed), listed in by_network.items()
    )
