"""Compare two versions: their data, params and files, and their metrics and accuracies of each group."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fair_distill.gate.verdict import Group, Verdict
from fair_distill.registry.client import RegisteredVersion


@dataclass(frozen=True)
class Changed:
    """A property that differs, such as `card.examples`, `params.distill.ipc` or `recipe.steps`, with both values."""

    name: str
    a: object
    b: object


@dataclass(frozen=True)
class GroupPair:
    """The accuracy of one group with one network in two versions; None if a version was not judged on it."""

    network: str
    group: str
    a: Group | None
    b: Group | None

    @property
    def disjoint(self) -> bool:
        """Whether the intervals are disjoint, which shows a difference. Overlapping intervals show nothing."""
        if self.a is None or self.b is None:
            return False
        ends = (self.a.low, self.a.high, self.b.low, self.b.high)
        if None in ends:
            return False
        low_a, high_a, low_b, high_b = (float(end) for end in ends if end is not None)
        return high_a < low_b or high_b < low_a


@dataclass(frozen=True)
class VersionComparison:
    """The differences between two versions.

    Attributes
    ----------
    changed : properties of the manifest that differ
    groups : the accuracy of each group and network
    metrics : metrics of the last verdicts that differ
    """

    a: RegisteredVersion
    b: RegisteredVersion
    changed: tuple[Changed, ...]
    groups: tuple[GroupPair, ...]
    metrics: tuple[Changed, ...]


def compare_versions(a: RegisteredVersion, b: RegisteredVersion) -> VersionComparison:
    """Return the differences between two versions."""
    return VersionComparison(
        a,
        b,
        changed=tuple(_changed(_properties(a), _properties(b))),
        groups=tuple(_groups(_last_verdict(a), _last_verdict(b))),
        metrics=tuple(_changed(_metrics(_last_verdict(a)), _metrics(_last_verdict(b)))),
    )


def _last_verdict(version: RegisteredVersion) -> Verdict | None:
    return version.verdict or (version.verdicts[-1] if version.verdicts else None)


def _properties(version: RegisteredVersion) -> dict[str, object]:
    files = {entry.path: entry.sha256[:12] for entry in version.manifest.files}
    card = version.manifest.card.to_dict()
    recipe = card.pop("recipe")
    return dict(
        [
            ("source", version.manifest.source[:12]),
            ("engine", version.manifest.engine),
            *_flat("files", files),
            *_flat("card", card),
            *_flat("recipe", recipe),
            *_flat("params", version.manifest.params),
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
    for name in sorted({*a, *b}):
        if a.get(name) != b.get(name):
            yield Changed(name, a.get(name), b.get(name))


def _groups(a: Verdict | None, b: Verdict | None) -> Iterator[GroupPair]:
    rows_a, rows_b = (
        {(row.network, row.group): row for row in verdict.groups} if verdict else {} for verdict in (a, b)
    )
    for network, group in dict.fromkeys([*rows_a, *rows_b]):
        yield GroupPair(network, group, rows_a.get((network, group)), rows_b.get((network, group)))
