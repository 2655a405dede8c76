"""What a clause looks at: its rates, the groups it compares, and whether there are examples enough under them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from fair_distill.config import Limit
from fair_distill.errors import ConfigError
from fair_distill.gate.metrics import GAP_RATES, Rate, diagonal
from fair_distill.gate.network_predictions import Answers


@dataclass(frozen=True)
class Place:
    """A rate in the groups `first`, or its difference to the groups `second`; None is the rate of calibration."""

    rate: Rate | None
    first: tuple[int, ...]
    second: tuple[int, ...] | None


@dataclass(frozen=True)
class Scope:
    """What of the answers a clause looks at: its rates, and the groups or pairs of groups it compares."""

    rates: tuple[Rate, ...]
    sides: tuple[tuple[tuple[int, ...], tuple[int, ...] | None], ...]

    @property
    def distinct(self) -> list[tuple[int, ...]]:
        """The groups that are looked at, alone or taken together, each once."""
        return list(dict.fromkeys(side for pair in self.sides for side in pair if side is not None))

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(Place(rate, *side) for rate in self.rates for side in self.sides)


def scope(limit: Limit, classes: Sequence[str], groups: Sequence[str], *, where: str = "params.yaml: gate") -> Scope:
    """Resolve a clause's selectors. Raises ConfigError, with `where`, for a name that the predictions do not have."""
    of_classes = _indices(limit.classes, classes, "class", f"{where}.limits: {limit.name}")
    of_groups = _indices(limit.groups, groups, "group", f"{where}.limits: {limit.name}")
    if limit.metric in GAP_RATES:
        rates = GAP_RATES[limit.metric](len(classes))
        said = limit.metric in ("eo_ovr_max", "dpd_max")
        rates = [rate for rate in rates if (rate.says if said else rate.of[0]) in of_classes]
    elif limit.metric == "worst_cell_accuracy":
        rates = [diagonal(len(classes))[c] for c in of_classes]
    else:
        rates = [Rate(of_classes, None)]
    if limit.metric == "accuracy":
        return Scope(tuple(rates), ((of_groups, None),))
    if limit.metric in ("worst_group_accuracy", "worst_cell_accuracy"):
        return Scope(tuple(rates), tuple(((g,), None) for g in of_groups))
    return Scope(tuple(rates), tuple(_pairs(of_groups, limit.against == "rest")))


def _pairs(groups: tuple[int, ...], rest: bool) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    if not rest or len(groups) == 2:
        return [((a,), (b,)) for a, b in combinations(groups, 2)]
    return [((a,), tuple(b for b in groups if b != a)) for a in groups]


def _indices(wanted: tuple[str, ...] | None, known: Sequence[str], what: str, where: str) -> tuple[int, ...]:
    for name in wanted or ():
        if name not in known:
            raise ConfigError(f"{where}: there is no {what} {name!r}; choose from {', '.join(known)}")
    return tuple(i for i, name in enumerate(known) if wanted is None or name in wanted)


def lacking(own: Answers, limit: Limit, of: Scope, minimum: int) -> str | None:
    """Say what has too few independent examples to be measured, if anything has; the fewest first."""
    found: list[tuple[int, str]] = []
    for rate in of.rates:
        for side in of.distinct:
            count = own.rows(rate.of, side).distinct
            if count < minimum:
                found.append((count, _few(own, rate, side, count, minimum)))
    if limit.metric == "worst_group_accuracy" and not found:
        return own.table().empty_cell()
    return min(found)[1] if found else None


def _few(own: Answers, rate: Rate, side: tuple[int, ...], count: int, minimum: int) -> str:
    groups = f"group {own.groups[side[0]]!r}" if len(side) == 1 else f"groups {', '.join(own.groups[g] for g in side)}"
    one = f"class {own.classes[rate.of[0]]!r} has" if len(rate.of) == 1 else None
    if count == 0:
        return f"{one} no examples of {groups} to measure on" if one else f"{groups} has no examples to measure on"
    number = f"{count} independent examples"
    need = f"{minimum} are needed"
    return f"{one} {number} of {groups}, {need}" if one else f"{groups} has {number}, {need}"
