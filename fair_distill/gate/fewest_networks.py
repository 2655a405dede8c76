"""The smallest number of networks with which a clause could pass at all, whatever they predict.

Under `networks: bounded` and for `each_network`, a few networks cannot show a limit, even if they agree and the number
of examples is unlimited. Messages and `gate plan` name the number that could.
"""

from collections.abc import Sequence

import numpy as np

from fair_distill.config import Limit
from fair_distill.gate.comparisons import Comparisons
from fair_distill.gate.fair_sets import Assumptions, Cells, FairSets
from fair_distill.gate.findings import signed_limit, undecided
from fair_distill.gate.metrics import PredictionMetric
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.tolerance import networks_needed
from fair_distill.gate.verdict import Finding

_MOST_NETWORKS = 4096
_UNLIMITED = 10**12


def fewest_networks(
    limit: Limit, metric: PredictionMetric, classes: tuple[str, ...], groups: tuple[str, ...], *, alpha: float
) -> int | None:
    """Return the smallest number of networks with which a clause can pass without any distribution of networks.

    Found for perfect networks without scatter and unlimited examples. None if over 4,096 or if it is unknown: with
    `over` it depends on the reference, and a ratio of rates depends on the rates.
    """
    if limit.each_network is not None:
        return networks_needed(limit.each_network, alpha)
    planner = metric.planner(limit)
    if planner is None or limit.over is not None or not metric.perfect_is_best:
        return None
    sign, number = signed_limit(limit)
    every = metric.comparisons(limit, classes, groups)
    comparisons = Comparisons(every.rates[:1], every.sides[:1])  # of perfect networks, all have the same bound
    cells = Cells(np.full((len(classes), len(groups)), _UNLIMITED), False, classes, groups)

    def suffices(networks: int) -> bool:
        perfect = Assumptions(1.0, seeds=networks, seed_sd=0.0, treatment="bounded")
        return float(sign * planner(FairSets(cells, perfect, None, 1), comparisons, alpha)[0]) <= number

    high = 1
    while not suffices(high):
        high *= 2
        if high > _MOST_NETWORKS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def lack_of_networks(
    limit: Limit, metric: PredictionMetric, predictions: Sequence[NetworkPredictions], alpha: float | None
) -> Finding | None:
    """Return the finding of an undecided clause that so few networks could not satisfy, whatever they predict.

    None if their number suffices, or if it is assumed how networks are distributed.
    """
    fewest = min(predictions, key=lambda each: each.seeds)
    if alpha is None or fewest.treatment != "bounded":
        return None
    needed = fewest_networks(limit, metric, fewest.classes, fewest.groups, alpha=alpha)
    if needed is None or fewest.seeds >= needed:
        return None
    sign, number = signed_limit(limit)
    reason = (
        f"too little evidence, {fewest.network} was trained with {fewest.seeds} seeds, and `networks: bounded` needs "
        f"at least {needed:,} seeds for the limit {sign * number:.3f} with {100 * (1 - alpha):.1f} % confidence, even "
        "if their networks agree; raise params.yaml: evaluate.seeds"
    )
    return undecided(limit, fewest.network, reason)
