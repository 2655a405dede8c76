"""What a consumer calls: `load` a set by name, checked to the last byte; `verify` everything a registry has on it.

A reference is `name@production` (or another channel), `name@v12`, or `name@sha256:…`; a name is `dataset` or
`team/dataset`. Light: no torch.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from fair_distill.artifacts import parse_json, sha256
from fair_distill.distilled import DistilledSet
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.channels import in_force, published, refuse_revoked, resolve, version_number
from fair_distill.registry.checks import (
    check_beside,
    check_evidence,
    check_signatures,
    fetch,
    files_of,
    grounds_of,
    manifest_of,
    refuse_expired,
    set_of,
)
from fair_distill.registry.ledger import Entry, check_name, entry_key, names, read_ledger
from fair_distill.registry.manifest import Manifest
from fair_distill.registry.memory import Cached, cache_folder, place_of, remember
from fair_distill.registry.statements import Statement, check_keys, read_envelope, signed_by
from fair_distill.registry.store import (
    ENVIRONMENT,
    Store,
    evidence_key,
    locate,
    manifest_key,
    object_key,
    open_store,
)

TRUST = "FAIR_DISTILL_TRUST"


@dataclass(frozen=True)
class Checked:
    """Something in the registry that is what it should be."""

    what: str
    key: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Found:
    """What a reference names, and by which entry and verdict.

    Attributes
    ----------
    number : N of the version's short name vN
    entry : the entry that put it in the channel; None if it was asked for by number or digest
    verdict : the ground of that entry
    verdicts : the grounds of every promotion of the version
    head : the ledger's newest entry, or the newest at the time that was asked for
    """

    reference: str
    version: str
    number: int
    set: DistilledSet
    manifest: Manifest
    entry: Entry | None
    verdict: Verdict | None
    verdicts: tuple[Verdict, ...]
    head: Entry


def load(
    reference: str,
    *,
    registry: str | None = None,
    as_of: str | None = None,
    trust: Sequence[str] | None = None,
    lock: Path | str | None = None,
    offline: bool = False,
    revoked: bool = False,
    today: date | None = None,
) -> DistilledSet:
    """Return the distilled set that a reference names, or refuse. See `look_up`, which also says by whose word."""
    found = look_up(
        reference,
        registry=registry,
        as_of=as_of,
        trust=trust,
        lock=lock,
        offline=offline,
        revoked=revoked,
        today=today,
    )
    return found.set


def look_up(
    reference: str,
    *,
    registry: str | None = None,
    as_of: str | None = None,
    trust: Sequence[str] | None = None,
    lock: Path | str | None = None,
    offline: bool = False,
    revoked: bool = False,
    today: date | None = None,
) -> Found:
    """Return the set that a reference names, with the verdict it is in force by, or refuse.

    Checked are the ledger's numbers and chain, that it goes on from what was seen of it here before, that the
    version was not withdrawn, the manifest against the version, each file against the manifest, and that every
    verdict the ledger gives for the version's promotions is there, is of this version, and lets it pass. A version
    named by number or digest may never have been promoted: then there is no verdict to check, and none is claimed.

    Parameters
    ----------
    registry : a folder, file:// URL or s3://bucket/prefix; else FAIR_DISTILL_REGISTRY, else the folder `registry` here
    as_of : a day (its end, in UTC) or a moment as in 2026-03-03T12:00:00Z: what the reference named then
    trust : public keys, one of which must have signed provenance and verdicts; else those in FAIR_DISTILL_TRUST
    lock : a lock file: the version that it pins for the reference, whatever the channel has now
    offline : ask only the cache, which has what was loaded before
    revoked : take a version that was revoked too
    today : the day, for waivers: what rests on one that has expired is refused

    Raises
    ------
    ConfigError
        If there is no such registry, dataset, channel or version.
    IntegrityError
        If anything does not belong together; Withdrawn, a kind of it, if the version was revoked or demoted.
    """
    from fair_distill.registry.pins import pinned

    name, selector = parse(reference)
    if selector is None:
        raise ConfigError(f"which version of {name}? Ask for {name}@production, {name}@v1 or {name}@sha256:…")
    keys = trusted(trust)
    store, whole = _open(name, registry, offline=offline)
    entries = until(whole, as_of)
    wanted = selector if lock is None else f"sha256:{pinned(Path(lock), reference, registry=locate(registry))}"
    version = resolve(entries, wanted)
    if not revoked:
        refuse_revoked(whole, version)
    grounds = grounds_of(store, entries, version)
    entry = in_force(entries, wanted)
    verdict = next((verdict for ground, verdict in grounds if ground == entry), None)
    if entry and verdict and today:
        refuse_expired(entry, verdict, today)
    if keys:
        verdicts = [ground.verdict for ground, _ in grounds if ground.verdict]
        check_signatures(store, name, version, verdicts, keys, what=reference)
    manifest = manifest_of(store, version)
    return Found(
        reference=reference,
        version=version,
        number=version_number(entries, version),
        set=set_of(manifest, files_of(store, manifest), name=reference),
        manifest=manifest,
        entry=entry,
        verdict=verdict,
        verdicts=tuple(verdict for _, verdict in grounds),
        head=entries[-1],
    )


def verify(
    reference: str,
    *,
    registry: str | None = None,
    trust: Sequence[str] | None = None,
    anchor: Path | None = None,
) -> list[Checked]:
    """Return everything that was checked of a version, or of all versions of a dataset (`name` alone); or refuse.

    Checks what `load` checks, from the registry and not from a cache, and every verdict, prediction file, provenance
    and statement that lies beside the version, used or not. Of a dataset, revoked versions are checked too.

    Parameters
    ----------
    anchor : a file with a head of the ledger, kept elsewhere (see `head`); with `trust`, a signed one

    Raises what `load` raises.
    """
    name, selector = parse(reference)
    keys = trusted(trust)
    store, entries = _open(name, registry, cached=False)
    if anchor is not None:
        _check_anchor(anchor, name, entries, keys)
    checked = [_checked("ledger entry", entry_key(name, entry.number), entry.to_json()) for entry in entries]
    for version in published(entries) if selector is None else (_select(entries, selector),):
        grounds = grounds_of(store, entries, version)
        for _, verdict in grounds:
            key = evidence_key(version, "predictions", verdict.predictions)
            if not store.exists(key):
                raise IntegrityError(f"{key} is missing from the registry, and a promotion rests on it")
        if keys:
            wanted = [ground.verdict for ground, _ in grounds if ground.verdict]
            check_signatures(store, name, version, wanted, keys, what=f"{name}@sha256:{version[:12]}")
        manifest = manifest_of(store, version)
        files = files_of(store, manifest)
        set_of(manifest, files, name=f"{name}@sha256:{version[:12]}")
        checked.append(_checked("manifest", manifest_key(version), manifest.to_json()))
        checked += [_checked(entry.path, object_key(entry.md5), files[entry.path]) for entry in manifest.files]
        for key in store.list(f"versions/{version}/"):
            if key == manifest_key(version):
                continue
            kind, content = key.split("/")[2], check_evidence(store, version, key)
            checked.append(_checked(kind, key, content))
            if kind == "provenance":
                checked += [_checked("for DVC", *there) for there in check_beside(store, manifest, content)]
    # What two versions have in common lies there once.
    return list({one.key: one for one in checked}.values())


def provenance(reference: str, *, registry: str | None = None) -> tuple[Manifest, list[dict[str, Any]]]:
    """Return the manifest of a version, and what lies beside it about how it came to be; no digest rests on that.

    Raises what `load` raises.
    """
    name, selector = parse(reference)
    if selector is None:
        raise ConfigError(f"which version of {name}? Ask for {name}@production, {name}@v1 or {name}@sha256:…")
    store, entries = _open(name, registry)
    version = _select(entries, selector)
    keys = [key for key in store.list(f"versions/{version}/") if key.startswith(f"versions/{version}/provenance/")]
    found = []
    for key in keys:
        digest = key.rpartition("/")[2].partition(".")[0]
        found.append(parse_json(fetch(store, key, digest), name=key, error=IntegrityError))
    return manifest_of(store, version), found


def head(name: str, *, registry: str | None = None) -> Statement:
    """Return what to keep elsewhere of a ledger, a git tag say: the number and digest of its newest entry."""
    _, entries = _open(check_name(name), registry, cached=False)
    return Statement("head", name, entries[-1].digest, str(entries[-1].number))


def _check_anchor(path: Path, name: str, entries: Sequence[Entry], keys: Sequence[str]) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the anchor {path} cannot be read: {error.strerror}") from None
    signed = b'"payloadType"' in content
    said = read_envelope(content, name=str(path)) if signed else Statement.from_json(content, name=str(path))
    if (said.kind, said.name) != ("head", name):
        raise IntegrityError(f"the anchor {path} is of {said.name}'s {said.kind}, not a head of {name}'s ledger")
    if keys and not (signed and signed_by(content, keys, name=str(path))):
        raise IntegrityError(f"the anchor {path} is signed by none of the keys declared")
    number = int(said.about)
    if number > len(entries):
        raise IntegrityError(
            f"the ledger of {name} has {len(entries)} entries, and had {number} when {path} was written: "
            "its newest were taken away"
        )
    if entries[number - 1].digest != said.subject:
        raise IntegrityError(f"entry {number} of {name}'s ledger is not the one {path} names: the ledger was rewritten")


def trusted(trust: Sequence[str] | None) -> tuple[str, ...]:
    """Return the public keys that are to have signed: as given, else those in FAIR_DISTILL_TRUST."""
    if trust is not None:
        return check_keys(trust, said_by="trust")
    return check_keys(os.environ.get(TRUST, "").replace(",", " ").split(), said_by=TRUST)


def until(entries: tuple[Entry, ...], as_of: str | None) -> tuple[Entry, ...]:
    """Return the entries that were there at the end of a day, or at a moment; all of them for None."""
    if as_of is None:
        return entries
    try:
        if len(as_of) == 10:
            moment = f"{date.fromisoformat(as_of)}T23:59:59Z"
        else:
            moment = datetime.strptime(as_of, "%Y-%m-%dT%H:%M:%SZ").strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise ConfigError(f"as_of is {as_of!r}; a day as in 2026-03-03 or 2026-03-03T12:00:00Z was wanted") from None
    then = tuple(entry for entry in entries if entry.time <= moment)
    if not then:
        raise ConfigError(
            f"nothing was published as {entries[0].name!r} by {as_of}; the first was at {entries[0].time}"
        )
    return then


def parse(reference: str) -> tuple[str, str | None]:
    """Return the name and what stands after the @, if anything."""
    name, at, selector = reference.partition("@")
    if at and not selector:
        raise ConfigError(f"{reference!r} ends in '@'; a channel, v1 or sha256:… was wanted after it")
    return check_name(name), selector or None


def _checked(what: str, key: str, content: bytes) -> Checked:
    return Checked(what, key, len(content), sha256(content))


def _open(
    name: str, registry: str | None, *, offline: bool = False, cached: bool = True
) -> tuple[Store, tuple[Entry, ...]]:
    url = locate(registry)
    store: Store = open_store(url)
    folder = cache_folder()
    if "://" in url and not url.startswith("file:"):
        if offline and folder is None:
            raise ConfigError("offline needs the cache, and FAIR_DISTILL_CACHE is empty")
        if folder and cached:
            store = Cached(place_of(folder, url), None if offline else store)
    entries = read_ledger(store, name)
    # Also where nothing is left of it.
    if folder:
        remember(folder, name, entries, url=url)
    if not entries:
        there = ", ".join(names(store)) or "nothing"
        raise ConfigError(
            f"the registry {url!r} has nothing published as {name!r}; it has {there}. "
            f"Change the name, --registry or {ENVIRONMENT}"
        )
    return store, entries


def _select(entries: Sequence[Entry], selector: str) -> str:
    version = resolve(entries, selector)
    refuse_revoked(entries, version)
    return version
