"""Find and remove garbage: contents that no ledger and no attempt names, left by publications that crashed.

The ledger names every version that was published. So nothing that a channel, a pin or an entry names is garbage.
Garbage are the contents of publications that have no ledger entry, the evidence of unpublished versions, training units
that no published version was made from, and files of examples that no attempt names.

This is correct only if the ledgers are complete: if a ledger is too short or missing, live versions look like garbage.
So the ledger of each dataset must continue a head that is known from another place, see `check_ledgers`.

A running publication looks the same as a crashed one. So a publication announces what it writes, and `gc` needs two
runs: the first records what is garbage, and the second, a day or more later, removes what is still garbage.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import parse_json, to_json
from fair_distill.registry.announcements import GRACE_PERIOD, Announcement, announcements, plan
from fair_distill.registry.attempts import read_record
from fair_distill.registry.channels import published
from fair_distill.registry.client_state import known_names, remember, remembers
from fair_distill.registry.entry import BETWEEN_WRITERS, ChainEntry, Entry
from fair_distill.registry.erasures import read_erasures
from fair_distill.registry.integrity import manifest_of
from fair_distill.registry.layout import RECORD_NAME, examples_key, manifest_key
from fair_distill.registry.ledger import names, read_ledger
from fair_distill.registry.store import RegistryStore, SeparatePredictions
from fair_distill.registry.verify import check_head, read_anchor
from fair_distill.registry.version_contents import contents_of

_FORMAT = 2


@dataclass(frozen=True)
class Head:
    """The newest entry of a ledger: its number and the first digits of its SHA-256. An empty ledger has 0."""

    number: int
    digest: str

    @classmethod
    def parse(cls, text: str, *, option: str) -> tuple[str, "Head"]:
        """Parse NAME=NUMBER:DIGEST, or NAME=0 for a dataset without entries. Return the name and the head."""
        name, _, value = text.rpartition("=")
        number, _, digest = value.partition(":")
        valid = number.isdecimal() and (len(digest) >= 12 if int(number) else not digest)
        if not name or not valid:
            raise ConfigError(
                f"{option} is {text!r}; write NAME=NUMBER:DIGEST with 12 or more digits of the entry's SHA-256 as "
                "`fair-distill registry head NAME` prints them, or NAME=0 if nothing was published under the name"
            )
        return name, cls(int(number), digest)


@dataclass(frozen=True)
class GarbageRecord:
    """The record of the first run of `gc`: the keys that were garbage at a time, and the heads of the ledgers."""

    time: datetime
    keys: tuple[str, ...]
    heads: Mapping[str, Head] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the bytes of the FILE that `gc` writes."""
        heads = {name: [head.number, head.digest] for name, head in self.heads.items()}
        return to_json({"format": _FORMAT, "time": self.time.isoformat(), "keys": list(self.keys), "heads": heads})

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "GarbageRecord":
        """Read the FILE that `gc` wrote. Raises ConfigError if it is not one."""
        value = parse_json(content, name=name, error=ConfigError)
        try:
            heads = {
                str(dataset): Head(int(number), str(digest)) for dataset, (number, digest) in value["heads"].items()
            }
            record = cls(datetime.fromisoformat(value["time"]), tuple(map(str, value["keys"])), heads)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{name} is not a file that `fair-distill registry gc` wrote: {error!r}; remove it and run gc again"
            ) from None
        if record.time.tzinfo is None:
            raise ConfigError(f"{name} has a time without a time zone; remove it and run gc again")
        return record


@dataclass(frozen=True)
class KnownHeads:
    """The sources of the heads of a registry's ledgers, outside the registry.

    Attributes
    ----------
    url : the registry
    cache : the cache folder, with the entries that this machine remembers; None without a cache
    anchors : files with heads, as `fair-distill registry head` writes them
    confirmed : heads by dataset, which the operator passes
    trust : public keys, one of which must have signed the anchors; empty accepts unsigned anchors
    """

    url: str = ""
    cache: Path | None = None
    anchors: Sequence[Path] = ()
    confirmed: Mapping[str, Head] = field(default_factory=dict)
    trust: Sequence[str] = ()


def check_ledgers(store: RegistryStore, known_heads: KnownHeads, *, now: datetime) -> dict[str, Head]:
    """Check that every ledger continues a known head, and return the head of each ledger.

    The record of attempts is checked and returned too if this machine remembers it. Otherwise it may lack entries, and
    no file of examples is garbage.

    The check covers the datasets that have a ledger, that have a known head, that a publication announced, and that a
    version without a ledger names. So a ledger that is missing completely does not make its versions garbage.

    Raises
    ------
    ConfigError
        If the registry has no ledger at all, or a ledger has no known head.
    IntegrityError
        If a ledger is shorter than a known head, or has another entry under its number.
    """
    anchored = [(path, read_anchor(path, known_heads.trust)) for path in known_heads.anchors]
    remembered = known_names(known_heads.cache, url=known_heads.url) if known_heads.cache else ()
    datasets = names(store)
    if not datasets:
        raise ConfigError(
            f"{known_heads.url or 'this location'} has no ledger: it is not a registry, or its ledgers are lost. "
            "Nothing was removed. Change --registry"
        )
    all_names = {*datasets, *remembered, *known_heads.confirmed, *(anchor.name for _, anchor in anchored)}
    ledgers = {name: read_ledger(store, name) for name in sorted(all_names)}
    for name in _without_ledger(store, ledgers, now=now):
        ledgers[name] = ()
    for name, entries in ledgers.items():
        confirmed = name in remembered or name in known_heads.confirmed
        if name in remembered and known_heads.cache:
            remember(known_heads.cache, name, entries, url=known_heads.url)
        if name in known_heads.confirmed:
            _check_confirmed(name, known_heads.confirmed[name], entries)
        for path, anchor in anchored:
            if anchor.name == name:
                check_head(anchor, entries, source=str(path))
                confirmed = True
        if not confirmed:
            raise ConfigError(_unknown_head(name, entries))
    chains: dict[str, Sequence[ChainEntry]] = dict(ledgers)
    if known_heads.cache and remembers(known_heads.cache, RECORD_NAME, url=known_heads.url):
        chains[RECORD_NAME] = read_record(store)
        remember(known_heads.cache, RECORD_NAME, chains[RECORD_NAME], url=known_heads.url)
    return {name: Head(len(entries), entries[-1].digest if entries else "") for name, entries in chains.items()}


def _without_ledger(store: RegistryStore, ledgers: Mapping[str, Sequence[Entry]], *, now: datetime) -> list[str]:
    """Return the datasets without a ledger that an old announcement, or a version that no ledger names, belongs to."""
    versions = {key.split("/")[1] for key in store.list("versions/")}
    lost = versions - {version for entries in ledgers.values() for version in published(entries)}
    datasets = {
        announcement.name for announcement in announcements(store).values() if announcement.time < _running_since(now)
    }
    for version in lost:
        with suppress(IntegrityError):  # a missing or damaged manifest names no dataset
            if store.exists(manifest_key(version)):
                datasets.add(manifest_of(store, version).card.dataset)
    return sorted(datasets - ledgers.keys())


def _check_confirmed(name: str, head: Head, entries: Sequence[Entry]) -> None:
    if head.number > len(entries):
        raise IntegrityError(
            f"the ledger of {name} has {len(entries)} entries, and --confirm-head names entry {head.number}: its "
            "newest entries are missing. Restore them"
        )
    if head.number and not entries[head.number - 1].digest.startswith(head.digest):
        raise IntegrityError(f"entry {head.number} of {name}'s ledger is not the one that --confirm-head names")
    if not head.number and entries:
        raise IntegrityError(f"--confirm-head {name}=0: the ledger of {name} has {len(entries)} entries")


def _unknown_head(name: str, entries: Sequence[Entry]) -> str:
    if not entries:
        return (
            f"{name!r} has contents here and no ledger: the ledger was lost, or its first publication crashed. Nothing "
            f"was removed. Restore the ledger; if nothing was published as {name}, pass --confirm-head {name}=0"
        )
    return (
        f"the ledger of {name} has {len(entries)} entries, and this machine does not know whether it is complete. "
        f"Nothing was removed. Pass --anchor FILE with a head that was kept elsewhere, or check the ledger and pass "
        f"--confirm-head {name}={len(entries)}:{entries[-1].digest[:12]}"
    )


def garbage(
    store: RegistryStore, *, now: datetime, pinned: Sequence[str] = (), examples: bool = False
) -> tuple[str, ...]:
    """Return the keys that no ledger names and no running publication announced, sorted.

    Parameters
    ----------
    pinned : versions that are kept although no ledger here names them
    examples : whether the record of attempts is known to be complete, so that files of examples can be garbage

    Raises
    ------
    IntegrityError
        If a ledger or a manifest is damaged, so that garbage cannot be determined.
    """
    announced = announcements(store)
    return _garbage(store, announced, since=_running_since(now), pinned=pinned, examples=examples)


def _garbage(
    store: RegistryStore,
    announced: Mapping[str, Announcement],
    *,
    since: datetime,
    pinned: Sequence[str],
    examples: bool,
) -> tuple[str, ...]:
    live = {version for name in names(store) for version in published(read_ledger(store, name))} | set(pinned)
    running = {key for announcement in announced.values() if announcement.time >= since for key in announcement.keys}
    keys = store.list("objects/") + store.list("versions/") + _digest_files(store, examples=examples)
    present = {key.split("/")[1] for key in keys if key.startswith("versions/")}
    named = set[str]().union(*(contents_of(store, manifest_of(store, version)) for version in sorted(live & present)))
    named |= _named_examples(store)
    lost = sorted(live - present - set(pinned))
    if lost:
        raise IntegrityError(
            f"version {lost[0][:12]}… is in a ledger and not in the registry; nothing was removed. Restore it"
        )
    elsewhere = _of_other_registries(store, announced)
    return tuple(
        sorted(
            key
            for key in keys
            if (key.split("/")[1] not in live if key.startswith("versions/") else key not in named)
            and key not in running
            and key not in elsewhere
        )
    )


def _digest_files(store: RegistryStore, *, examples: bool = True) -> list[str]:
    """Return the keys of training units and, if wanted, of the files of examples of gate splits.

    In a separate location for predictions they may belong to another registry, so there none is garbage.
    """
    public = store.public if isinstance(store, SeparatePredictions) else store
    return public.list("units/") + (public.list("attempts/examples/") if examples else [])


def _named_examples(store: RegistryStore) -> set[str]:
    """Return the keys of the files of examples that an attempt names, or that replace one of those."""
    digests = {entry.examples for entry in read_record(store)}
    return {examples_key(digest) for digest in digests | set(read_erasures(store).redacted.values())}


def _of_other_registries(store: RegistryStore, announced: Mapping[str, Announcement]) -> set[str]:
    """Return the keys of predictions that belong to other registries.

    Several registries may store their predictions in one location. The predictions of a version belong to this registry
    if its public store has something of the version, or a publication announced the version.
    """
    if not isinstance(store, SeparatePredictions):
        return set()
    public = store.public.list("versions/")
    known = {key.split("/")[1] for key in public} | {announcement.version for announcement in announced.values()}
    return {key for key in store.private.list("versions/") if key.split("/")[1] not in known}


def remove(
    store: RegistryStore,
    record: GarbageRecord,
    *,
    now: datetime,
    delete: Callable[[str], None],
    pinned: Sequence[str] = (),
) -> tuple[str, ...]:
    """Remove what was garbage at the first run and is still garbage; return its keys.

    The keys of a publication that was announced after the first run are kept: it may be the retry of a crashed one.
    Manifests are removed before the objects they name, so that a version that is partly removed cannot be read.
    """
    if now - record.time < GRACE_PERIOD:
        raise ConfigError(
            f"the first run was at {record.time.isoformat()}, less than {GRACE_PERIOD} ago, and a publication may be "
            "running. Run gc again later"
        )
    _check_heads(store, record)
    since = min(record.time, now - GRACE_PERIOD) - BETWEEN_WRITERS
    planned = plan(store, record.keys)
    try:
        # The plan is written first, so a publication that announces itself after this point sees the plan.
        announced = announcements(store)
        complete = RECORD_NAME in record.heads
        unused = _garbage(store, announced, since=since, pinned=pinned, examples=complete)
        remaining = set(record.keys) & set(unused)
        for key in sorted(remaining, key=lambda key: (key[0] != "v", key)):
            delete(key)
        _remove_announcements(store, announced, since=since, delete=delete)
    finally:
        delete(planned)
    return tuple(sorted(remaining, key=lambda key: (key[0] != "v", key)))


def _check_heads(store: RegistryStore, record: GarbageRecord) -> None:
    for name, head in record.heads.items():
        entries: Sequence[ChainEntry] = read_record(store) if name == RECORD_NAME else read_ledger(store, name)
        digest = entries[head.number - 1].digest if 0 < head.number <= len(entries) else ""
        if digest != head.digest:
            raise IntegrityError(
                f"the ledger of {name} had {head.number} entries at the first run and does not continue them now; "
                "nothing was removed. Restore it"
            )


def _remove_announcements(
    store: RegistryStore, announced: Mapping[str, Announcement], *, since: datetime, delete: Callable[[str], None]
) -> None:
    """Remove the announcements of publications that are in a ledger or have no contents left."""
    live = {version for name in names(store) for version in published(read_ledger(store, name))}
    keys = {*store.list("versions/"), *store.list("objects/"), *_digest_files(store)} - _named_examples(store)
    for key, announcement in announced.items():
        is_over = announcement.version in live or keys.isdisjoint(announcement.keys)
        if announcement.time < since and is_over:
            delete(key)


def _running_since(now: datetime) -> datetime:
    return now - GRACE_PERIOD - BETWEEN_WRITERS
