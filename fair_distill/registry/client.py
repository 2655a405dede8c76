"""What a consumer calls: `load` a set by name, checked to the last byte. Light: no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from fair_distill.config import Approvals
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import ConfigError
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import entry as ledger_entry
from fair_distill.registry.admission import admit
from fair_distill.registry.channels import refuse_revoked, resolve, version_number
from fair_distill.registry.entry import Entry
from fair_distill.registry.integrity import fetch, files_of, manifest_of, read_provenance, set_of
from fair_distill.registry.lookup import opened, parse, selected, trusted
from fair_distill.registry.manifest import Manifest
from fair_distill.registry.pins import pinned
from fair_distill.registry.store import locate


@dataclass(frozen=True)
class Found:
    """What a reference names, and by which entry and verdict.

    Attributes
    ----------
    number : N of the version's short name vN
    published : the entry that published it
    entry : the entry that put it in the channel; None if it was asked for by number or digest
    verdict : the ground of that entry
    verdicts : the grounds of every promotion of the version
    head : the ledger's newest entry, or the newest at the time that was asked for
    """

    reference: str
    version: str
    number: int
    published: Entry
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
    approvals: Mapping[str, Approvals] | None = None,
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
        approvals=approvals,
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
    approvals: Mapping[str, Approvals] | None = None,
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
    trust : public keys, one of which must have signed provenance and verdict; else those in FAIR_DISTILL_TRUST
    approvals : by channel, how many of which keys must have approved the version under the policy of its verdict; else
        those in FAIR_DISTILL_APPROVALS
    lock : a lock file: the version that it pins for the reference, whatever the channel has now
    offline : ask only the cache, which has what was loaded before
    revoked : take a version that was revoked too
    today : the day, for waivers: what rests on one that has expired is refused, pinned or not

    Raises
    ------
    ConfigError
        If there is no such registry, dataset, channel or version.
    Unanswered
        If the registry's server gave no answer, however often it was asked.
    IntegrityError
        If anything does not belong together; Withdrawn, a kind of it, if the version was revoked or demoted.
    """
    name, selector = parse(reference)
    if selector is None:
        raise ConfigError(f"which version of {name}? Ask for {name}@production, {name}@v1 or {name}@sha256:…")
    keys = trusted(trust)
    store, whole = opened(name, registry, offline=offline)
    entries = until(whole, as_of)
    wanted = selector if lock is None else f"sha256:{pinned(Path(lock), reference, registry=locate(registry))}"
    version = resolve(entries, wanted)
    if not revoked:
        refuse_revoked(whole, version)
    admission = admit(
        store,
        entries,
        version,
        selector,
        pinned=lock is not None,
        keys=keys,
        approvals=approvals,
        today=today,
        what=reference,
    )
    manifest = manifest_of(store, version)
    return Found(
        reference=reference,
        version=version,
        number=version_number(entries, version),
        published=next(one for one in entries if (one.event, one.version) == ("publish", version)),
        set=set_of(manifest, files_of(store, manifest), name=reference),
        manifest=manifest,
        entry=admission.entry,
        verdict=admission.verdict,
        verdicts=tuple(verdict for _, verdict in admission.grounds),
        head=entries[-1],
    )


def provenance(reference: str, *, registry: str | None = None) -> tuple[Manifest, list[dict[str, Any]]]:
    """Return the manifest of a version, and what lies beside it about how it came to be; no digest rests on that.

    Raises what `load` raises.
    """
    name, selector = parse(reference)
    if selector is None:
        raise ConfigError(f"which version of {name}? Ask for {name}@production, {name}@v1 or {name}@sha256:…")
    store, entries = opened(name, registry)
    version = selected(entries, selector)
    keys = [key for key in store.list(f"versions/{version}/") if key.startswith(f"versions/{version}/provenance/")]
    found = []
    for key in keys:
        digest = key.rpartition("/")[2].partition(".")[0]
        found.append(read_provenance(fetch(store, key, digest), name=key))
    return manifest_of(store, version), found


def until(entries: tuple[Entry, ...], as_of: str | None) -> tuple[Entry, ...]:
    """Return the entries that were there at the end of a day, or at a moment (see `entry.until`); all for None."""
    if as_of is None:
        return entries
    try:
        if len(as_of) == 10:
            moment = f"{date.fromisoformat(as_of)}T23:59:59Z"
        else:
            moment = datetime.strptime(as_of, "%Y-%m-%dT%H:%M:%SZ").strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise ConfigError(f"as_of is {as_of!r}; a day as in 2026-03-03 or 2026-03-03T12:00:00Z was wanted") from None
    then = ledger_entry.until(entries, moment)
    if not then:
        first = min(entry.time for entry in entries)
        raise ConfigError(f"nothing was published as {entries[0].name!r} by {as_of}; the first was at {first}")
    return then
