"""What two versions differ in: what they were made from, and what was measured, group by group with intervals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fair_distill.gate.verdict import Group, Verdict
from fair_distill.registry.client import Found


@dataclass(frozen=True)
class Changed:
    """One fact that is not the same: `data.images`, `params.distill.ipc`, `recipe.steps`."""

    what: str
    a: object
    b: object


@dataclass(frozen=True)
class GroupPair:
    """One group's accuracy in two versions, by one network. None where a version was not judged on it.

    `apart` says that the intervals do not meet: a difference that the images examined by themselves show. Intervals
    that meet show nothing, neither a difference nor that there is none.
    """

    network: str
    group: str
    a: Group | None
    b: Group | None

    @property
    def apart(self) -> bool:
        if self.a is None or self.b is None:
            return False
        ends = (self.a.low, self.a.high, self.b.low, self.b.high)
        if None in ends:
            return False
        low_a, high_a, low_b, high_b = (float(end) for end in ends if end is not None)
        return high_a < low_b or high_b < low_a


@dataclass(frozen=True)
class Difference:
    a: Found
    b: Found
    changed: tuple[Changed, ...]
    groups: tuple[GroupPair, ...]
    metrics: tuple[Changed, ...]


def compare_versions(a: Found, b: Found) -> Difference:
    """Return what differs between two versions. Equal versions differ in nothing."""
    return Difference(
        a,
        b,
        changed=tuple(_changed(_facts(a), _facts(b))),
        groups=tuple(_groups(_last(a), _last(b))),
        metrics=tuple(_changed(_metrics(_last(a)), _metrics(_last(b)))),
    )


def _last(found: Found) -> Verdict | None:
    return found.verdict or (found.verdicts[-1] if found.verdicts else None)


def _facts(found: Found) -> dict[str, object]:
    files = {entry.path: entry.sha256[:12] for entry in found.manifest.files}
    card = found.manifest.card.to_dict()
    recipe = card.pop("recipe")
    return dict(
        [
            ("source", found.manifest.source[:12]),
            ("engine", found.manifest.engine),
            *_flat("files", files),
            *_flat("card", card),
            *_flat("recipe", recipe),
            *_flat("params", found.manifest.params),
        ]
    )


def _metrics(verdict: Verdict | None) -> dict[str, object]:
    if verdict is None:
        return {}
    return {
        f"{network}.{metric}": numbers["value"]
        for network, table in verdict.numbers.items()
        for metric, numbers in table.items()
    }


def _flat(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{name}.{key}", item)
    elif isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(item, dict) for item in value):
        for i, item in enumerate(value):
            yield from _flat(f"{name}.{i}", item)
    else:
        yield name, list(value) if isinstance(value, tuple) else value


def _changed(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Changed]:
    for what in sorted({*a, *b}):
        if a.get(what) != b.get(what):
            yield Changed(what, a.get(what), b.get(what))


def _groups(a: Verdict | None, b: Verdict | None) -> Iterator[GroupPair]:
    rows_a, rows_b = (
        {(row.network, row.group): row for row in verdict.groups} if verdict else {} for verdict in (a, b)
    )
    for network, group in dict.fromkeys([*rows_a, *rows_b]):
        yield GroupPair(network, group, rows_a.get((network, group)), rows_b.get((network, group)))
