"""Contents that no ledger names, left by publications that crashed before their ledger entry; and their removal.

The ledger names every version that was ever published, for good. So nothing that a channel, a pin or an entry names
is garbage. Contents of publications that never reached the ledger are, and evidence of unpublished versions.

This holds only if the ledgers are complete: a ledger that is short or missing makes live versions look like garbage.
So each dataset's ledger must continue a head that is known from elsewhere, see `check_ledgers`.

A publication that runs looks the same as one that crashed. So it announces what it writes, and nothing is removed at
first sight: the first run writes down what is garbage, and a second run, a day or more later, removes what still is.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import parse_json, to_json
from fair_distill.registry.announcements import Announcement, announcements, plan
from fair_distill.registry.channels import published
from fair_distill.registry.client_state import known_names, remember
from fair_distill.registry.dvc_layout import object_keys
from fair_distill.registry.entry import BETWEEN_WRITERS, Entry
from fair_distill.registry.integrity import fetch, manifest_of
from fair_distill.registry.layout import manifest_key
from fair_distill.registry.ledger import names, read_ledger
from fair_distill.registry.store import RegistryStore, SeparatePredictions
from fair_distill.registry.verify import check_head, read_anchor

# How long a publication may run, and how long garbage waits between the two runs.
LEAST = timedelta(hours=24)
_FORMAT = 2


@dataclass(frozen=True)
class Head:
    """How far a ledger goes: the number of an entry and the first digits of its SHA-256; 0 if there is none."""

    number: int
    digest: str

    @classmethod
    def parse(cls, text: str, *, option: str) -> tuple[str, "Head"]:
        """Read NAME=NUMBER:DIGEST, or NAME=0 for a dataset that has no entry; return the name too."""
        name, _, value = text.rpartition("=")
        number, _, digest = value.partition(":")
        sound = number.isdecimal() and (len(digest) >= 12 if int(number) else not digest)
        if not name or not sound:
            raise ConfigError(
                f"{option} {text!r}: write NAME=NUMBER:DIGEST with 12 or more digits of the entry's SHA-256, as "
                "`fair-distill registry head NAME` prints them, or NAME=0 if nothing was ever published under the name"
            )
        return name, cls(int(number), digest)


@dataclass(frozen=True)
class Look:
    """The keys that were garbage at a moment, and how far each ledger went then."""

    time: datetime
    keys: tuple[str, ...]
    heads: Mapping[str, Head] = field(default_factory=dict)

    def to_json(self) -> bytes:
        heads = {name: [head.number, head.digest] for name, head in self.heads.items()}
        return to_json({"format": _FORMAT, "time": self.time.isoformat(), "keys": list(self.keys), "heads": heads})

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "Look":
        value = parse_json(content, name=name, error=ConfigError)
        try:
            heads = {
                str(dataset): Head(int(number), str(digest)) for dataset, (number, digest) in value["heads"].items()
            }
            look = cls(datetime.fromisoformat(value["time"]), tuple(map(str, value["keys"])), heads)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{name} is not what `fair-distill registry gc` wrote: {error!r}; look again") from None
        if look.time.tzinfo is None:
            raise ConfigError(f"{name} has a time without a zone; look again")
        return look


@dataclass(frozen=True)
class Vouching:
    """From where it is known how far the ledgers of a registry go.

    Attributes
    ----------
    url, memory : the registry, and the folder of what this machine remembers of it; None if it remembers nothing
    anchors : files with heads, as `fair-distill registry head` writes them
    confirmed : heads by dataset, as the operator gives them
    trust : public keys, one of which must have signed the anchors; empty accepts unsigned ones
    """

    url: str = ""
    memory: Path | None = None
    anchors: Sequence[Path] = ()
    confirmed: Mapping[str, Head] = field(default_factory=dict)
    trust: Sequence[str] = ()


def check_ledgers(store: RegistryStore, vouching: Vouching, *, now: datetime) -> dict[str, Head]:
    """See that every ledger is complete, as far as is known from elsewhere; return how far each goes.

    The datasets are those that have a ledger, that are vouched for, that a publication announced, and that a version
    without a ledger names: a ledger that is missing as a whole must not make its versions garbage.

    Raises
    ------
    ConfigError
        If there is no ledger at all, or nothing vouches for one.
    IntegrityError
        If a ledger is shorter than what vouches for it, or is another one.
    """
    anchored = [(path, read_anchor(path, vouching.trust)) for path in vouching.anchors]
    remembered = known_names(vouching.memory, url=vouching.url) if vouching.memory else ()
    there = names(store)
    if not there:
        raise ConfigError(
            f"{vouching.url or 'this place'} has no ledger: it is not a registry, or its ledgers are lost. Nothing is "
            "removed. Change --registry"
        )
    known = {*there, *remembered, *vouching.confirmed, *(anchor.name for _, anchor in anchored)}
    ledgers = {name: read_ledger(store, name) for name in sorted(known)}
    for name in _unknown(store, ledgers, now=now):
        ledgers[name] = ()
    for name, entries in ledgers.items():
        vouched = name in remembered or name in vouching.confirmed
        if name in remembered and vouching.memory:
            remember(vouching.memory, name, entries, url=vouching.url)
        if name in vouching.confirmed:
            _check_confirmed(name, vouching.confirmed[name], entries)
        for path, anchor in anchored:
            if anchor.name == name:
                check_head(anchor, entries, source=str(path))
                vouched = True
        if not vouched:
            raise ConfigError(_not_vouched(name, entries))
    return {name: Head(len(entries), entries[-1].digest if entries else "") for name, entries in ledgers.items()}


def _unknown(store: RegistryStore, ledgers: Mapping[str, Sequence[Entry]], *, now: datetime) -> list[str]:
    """Return the datasets without a ledger that an old announcement or a version which no ledger names belongs to."""
    versions = {key.split("/")[1] for key in store.list("versions/")}
    lost = versions - {version for entries in ledgers.values() for version in published(entries)}
    datasets = {one.name for one in announcements(store).values() if one.time < _running_since(now)}
    for version in lost:
        with suppress(IntegrityError):  # no manifest, or a damaged one: it says nothing
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


def _not_vouched(name: str, entries: Sequence[Entry]) -> str:
    if not entries:
        return (
            f"{name!r} has contents here and no ledger: it was lost, or its first publication crashed. Nothing is "
            f"removed. Restore the ledger; if nothing was ever published as {name}, pass --confirm-head {name}=0"
        )
    return (
        f"the ledger of {name} has {len(entries)} entries, and this machine does not know whether that is all. Nothing "
        f"is removed. Pass --anchor FILE with a head that was kept elsewhere, or look at the ledger and pass "
        f"--confirm-head {name}={len(entries)}:{entries[-1].digest[:12]}"
    )


def garbage(store: RegistryStore, *, now: datetime, pinned: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the keys that nothing names and no running publication announced, sorted.

    Parameters
    ----------
    pinned : versions that stay although no ledger here names them

    Raises
    ------
    IntegrityError
        If a ledger or a manifest is damaged: then nothing can be said to be garbage.
    """
    announced = announcements(store)
    return _garbage(store, announced, since=_running_since(now), pinned=pinned)


def _garbage(
    store: RegistryStore, announced: Mapping[str, Announcement], *, since: datetime, pinned: Sequence[str]
) -> tuple[str, ...]:
    kept = {version for name in names(store) for version in published(read_ledger(store, name))} | set(pinned)
    running = {key for one in announced.values() if one.time >= since for key in one.keys}
    keys = store.list("objects/") + store.list("versions/")
    there = {key.split("/")[1] for key in keys if key.startswith("versions/")}
    objects = set[str]().union(*(_objects_of(store, version, keys) for version in sorted(kept & there)))
    lost = sorted(kept - there - set(pinned))
    if lost:
        raise IntegrityError(f"version {lost[0][:12]}… is in a ledger and not in the registry; nothing is removed here")
    elsewhere = _of_other_registries(store, announced)
    return tuple(
        sorted(
            key
            for key in keys
            if (
                (key.startswith("objects/") and key not in objects)
                or (key.startswith("versions/") and key.split("/")[1] not in kept)
            )
            and key not in running
            and key not in elsewhere
        )
    )


def _objects_of(store: RegistryStore, version: str, keys: Sequence[str]) -> set[str]:
    """Return the keys of a version's objects; if it has several provenances, those of all of them."""
    provenances = [key for key in keys if key.startswith(f"versions/{version}/provenance/")]
    return object_keys(manifest_of(store, version), [fetch(store, key, Path(key).stem) for key in provenances])


def _of_other_registries(store: RegistryStore, announced: Mapping[str, Announcement]) -> set[str]:
    """Return the predictions of versions that this registry knows nothing of.

    Several registries may keep their predictions in one place. Those of a version are this registry's if the public
    side has something of the version, or a publication announced it.
    """
    if not isinstance(store, SeparatePredictions):
        return set()
    public = store.public.list("versions/")
    known = {key.split("/")[1] for key in public} | {one.version for one in announced.values()}
    return {key for key in store.private.list("versions/") if key.split("/")[1] not in known}


def remove(
    store: RegistryStore, look: Look, *, now: datetime, delete: Callable[[str], None], pinned: Sequence[str] = ()
) -> tuple[str, ...]:
    """Remove what was garbage at the first run and still is; return its keys.

    A publication that was announced after the first run keeps what it announced: it may be the retry of one that had
    crashed. Manifests go before the objects they name, so that a version that is half removed cannot be read.
    """
    if now - look.time < LEAST:
        raise ConfigError(
            f"the first look was at {look.time.isoformat()}, less than {LEAST} ago; a publication may be under way"
        )
    _check_heads(store, look)
    since = min(look.time, now - LEAST) - BETWEEN_WRITERS
    planned = plan(store, look.keys)
    try:
        # After the plan is written: a publication that announces itself later than this sees the plan.
        announced = announcements(store)
        left = set(look.keys) & set(_garbage(store, announced, since=since, pinned=pinned))
        for key in sorted(left, key=lambda key: (key[0] != "v", key)):
            delete(key)
        _remove_announcements(store, announced, since=since, delete=delete)
    finally:
        delete(planned)
    return tuple(sorted(left, key=lambda key: (key[0] != "v", key)))


def _check_heads(store: RegistryStore, look: Look) -> None:
    for name, head in look.heads.items():
        entries = read_ledger(store, name)
        there = entries[head.number - 1].digest if 0 < head.number <= len(entries) else ""
        if there != head.digest:
            raise IntegrityError(
                f"the ledger of {name} had {head.number} entries at the first look and does not continue them now; "
                "nothing is removed. Restore it"
            )


def _remove_announcements(
    store: RegistryStore, announced: Mapping[str, Announcement], *, since: datetime, delete: Callable[[str], None]
) -> None:
    """Remove the announcements of publications that are in a ledger, or of which nothing is left."""
    kept = {version for name in names(store) for version in published(read_ledger(store, name))}
    there = set(store.list("versions/")) | set(store.list("objects/"))
    for key, one in announced.items():
        if one.time < since and (one.version in kept or there.isdisjoint(one.keys)):
            delete(key)


def _running_since(now: datetime) -> datetime:
    return now - LEAST - BETWEEN_WRITERS
