"""The state of the datasets of a registry: the version in each channel, since when, and on which grounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from fair_distill.errors import FairDistillError
from fair_distill.gate.spending import fraction_of
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.attempts import attempts_of, read_record
from fair_distill.registry.channels import channels, in_force, published, revocation, version_number
from fair_distill.registry.costs import VersionCost, total_cost, version_cost
from fair_distill.registry.entry import Entry
from fair_distill.registry.integrity import fetch, ground_fault
from fair_distill.registry.layout import evidence_key
from fair_distill.registry.ledger import names
from fair_distill.registry.lookup import open_ledger
from fair_distill.registry.regate_record import RegateRecord, last_regates
from fair_distill.registry.store import RegistryStore, open_registry


@dataclass(frozen=True)
class DatasetCost:
    """CPU seconds, GPU seconds and bytes of the versions of a dataset whose costs are recorded, and their number."""

    versions: int
    cpu_seconds: float
    gpu_seconds: float
    output_bytes: int


@dataclass(frozen=True)
class DatasetSummary:
    """One dataset of a registry.

    Attributes
    ----------
    versions, revoked : numbers of published and of revoked versions
    live : the short number N of the version in each channel; None for a channel without a version
    last_change : the time of the newest ledger entry; empty if the ledger cannot be read
    fault : why the ledger cannot be read; empty if it can
    exit_code : of the fault
    cost : of all versions; None if it was not requested
    """

    name: str
    versions: int
    revoked: int
    live: dict[str, int | None]
    last_change: str
    fault: str = ""
    exit_code: int = 0
    cost: DatasetCost | None = None


@dataclass(frozen=True)
class ChannelStatus:
    """A channel and its version.

    Attributes
    ----------
    number, version : the version; None if the channel is empty
    since, who, event : the ledger entry that put the version there; of the last entry if the channel is empty
    policy, split : SHA-256 of the policy and of the gate split of the verdict that the version is in force by
    outcome : the outcome of this verdict
    fault : why `load` refuses the version today; empty if it does not
    regate : the last judgement by `regate`; None if there is none
    cost : what the version cost; None if it is not recorded
    """

    channel: str
    number: int | None
    version: str | None
    since: str
    who: str
    event: str
    policy: str | None
    split: str | None
    outcome: str | None
    fault: str
    regate: RegateRecord | None
    cost: VersionCost | None


@dataclass(frozen=True)
class AttemptStatus:
    """The use of the gate split that the dataset's newest attempt evaluated.

    Attributes
    ----------
    split : SHA-256 of the gate split
    time : of the newest attempt at this split
    attempt, planned : its number at these examples, and the number that the policy plans
    left : the fraction of alpha that the attempts have left on these examples
    next : the fraction of alpha that the next attempt at the same examples takes
    """

    split: str
    time: str
    attempt: int
    planned: int
    left: float
    next: float


@dataclass(frozen=True)
class DatasetStatus:
    """The channels of a dataset, and the use of its gate split; `attempts` is None before the first attempt."""

    name: str
    versions: int
    revoked: tuple[int, ...]
    channels: tuple[ChannelStatus, ...]
    attempts: AttemptStatus | None


def list_datasets(registry: str, *, team: str | None = None, costs: bool = False) -> tuple[DatasetSummary, ...]:
    """Return the datasets of a registry, or those of one team, sorted by name.

    A dataset whose ledger cannot be read is listed with the fault, so that it does not hide the others.

    Parameters
    ----------
    costs : also read the cost of every version, which takes two requests for each on S3
    """
    selected = [name for name in names(open_registry(registry)) if team is None or name.startswith(f"{team}/")]
    return tuple(_summary(name, registry, costs=costs) for name in selected)


def _summary(name: str, registry: str, *, costs: bool) -> DatasetSummary:
    try:
        store, entries = open_ledger(name, registry)
        live = {channel: _number_in_force(entries, channel) for channel in channels(entries)}
        cost = _dataset_cost(store, published(entries)) if costs else None
    except FairDistillError as error:
        return DatasetSummary(name, 0, 0, {}, "", str(error), error.exit_code)
    versions = published(entries)
    revoked = sum(revocation(entries, version) is not None for version in versions)
    return DatasetSummary(name, len(versions), revoked, live, entries[-1].time, cost=cost)


def _dataset_cost(store: RegistryStore, versions: Sequence[str]) -> DatasetCost:
    recorded = [cost for version in versions if (cost := version_cost(store, version))]
    return DatasetCost(len(recorded), *total_cost(recorded))


def _number_in_force(entries: Sequence[Entry], channel: str) -> int | None:
    entry = in_force(entries, channel)
    return version_number(entries, entry.version) if entry else None


def dataset_status(name: str, registry: str, *, today: date) -> DatasetStatus:
    """Return the status of a dataset on a day. Raises what `lookup.open_ledger` raises."""
    store, entries = open_ledger(name, registry)
    versions, regates = published(entries), last_regates(store, name)
    return DatasetStatus(
        name,
        len(versions),
        tuple(number for number, version in enumerate(versions, 1) if revocation(entries, version)),
        tuple(_channel_status(store, entries, channel, regates, today) for channel in channels(entries)),
        _attempt_status(store, name),
    )


def _channel_status(
    store: RegistryStore, entries: Sequence[Entry], channel: str, regates: dict[str, RegateRecord], today: date
) -> ChannelStatus:
    entry = in_force(entries, channel)
    if entry is None:
        last = [entry for entry in entries if entry.channel == channel][-1]
        return ChannelStatus(
            channel, None, None, last.time, last.who, last.event, None, None, None, last.reason, None, None
        )
    tombstone = revocation(entries, entry.version)
    fault = f"revoked: {tombstone.reason}" if tombstone else ground_fault(store, entries, entry, today) or ""
    verdict = _verdict(store, entry)
    return ChannelStatus(
        channel,
        version_number(entries, entry.version),
        entry.version,
        entry.time,
        entry.who,
        entry.event,
        verdict.policy if verdict else None,
        verdict.split if verdict else None,
        verdict.outcome if verdict else None,
        fault,
        regates.get(entry.version),
        version_cost(store, entry.version),
    )


def _verdict(store: RegistryStore, entry: Entry) -> Verdict | None:
    """Return the verdict of an entry; None if it is missing or damaged, which `ground_fault` reports."""
    if entry.verdict is None:
        return None
    key = evidence_key(entry.version, "verdicts", entry.verdict)
    try:
        return Verdict.from_json(fetch(store, key, entry.verdict), name=key)
    except FairDistillError:
        return None


def _attempt_status(store: RegistryStore, name: str) -> AttemptStatus | None:
    attempts = [attempt.entry for attempt in attempts_of(read_record(store))]
    latest = next((entry for entry in reversed(attempts) if entry.dataset == name), None)
    if latest is None:
        return None
    # Attempts of other datasets at the same split take from the same budget.
    newest = next(entry for entry in reversed(attempts) if entry.split == latest.split)
    following = fraction_of(newest.left, newest.planned)
    return AttemptStatus(newest.split, newest.time, newest.attempt, newest.planned, newest.left, following)
