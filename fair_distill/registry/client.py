"""The consumer's interface: `load` returns a set by name after checking every byte. Imports no torch."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from fair_distill.config import Approvals
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import ConfigError, FairDistillError, FairDistillWarning
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import entry as ledger_entry
from fair_distill.registry.admission import admit
from fair_distill.registry.channels import refuse_revoked, resolve, version_number
from fair_distill.registry.entry import Entry
from fair_distill.registry.integrity import fetch, files_of, manifest_of, read_provenance, set_of
from fair_distill.registry.lookup import open_ledger, parse_reference, select_version, trusted_keys
from fair_distill.registry.manifest import Manifest
from fair_distill.registry.pins import pinned_version
from fair_distill.registry.receipts import Receipt, receipt_settings, write_receipt
from fair_distill.registry.store import locate


@dataclass(frozen=True)
class RegisteredVersion:
    """The version that a reference names, with the entries and verdicts that it is based on.

    Attributes
    ----------
    number : N of the version's short name vN
    published : the entry that published the version
    entry : the entry that put the version in the channel; None if the reference is a number or a digest
    verdict : the verdict that this entry gives as its ground
    verdicts : the verdicts of all promotions of the version
    head : the newest entry of the ledger; with `as_of`, the newest entry at that time
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
    registry: str | Path | None = None,
    as_of: str | date | None = None,
    trust: Sequence[str] | None = None,
    approvals: Mapping[str, Approvals] | None = None,
    lock: Path | str | None = None,
    offline: bool = False,
    revoked: bool = False,
    today: date | None = None,
    receipts: str | Path | None = None,
    consumer: str | None = None,
) -> DistilledSet:
    """Return the distilled set that a reference names, or refuse it. See `look_up` for other parameters and errors.

    Parameters
    ----------
    receipts : where a receipt is written, so that the publisher can find the consumers of a version: a folder or
        s3://bucket/prefix; else FAIR_DISTILL_RECEIPTS. Without either, and with `offline`, no receipt is written. If it
        cannot be written, the set is returned with a warning
    consumer : the name in the receipt, such as fraud-model/nightly; else FAIR_DISTILL_CONSUMER. Pass no personal data
    """
    receipt = None if offline else receipt_settings(os.fspath(receipts) if receipts else None, consumer)
    version = look_up(
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
    if receipt:
        _write_receipt(version, *receipt, day=today or datetime.now(UTC).date())
    return version.set


def _write_receipt(version: RegisteredVersion, location: str, consumer: str, *, day: date) -> None:
    """Write a receipt for a version. A failure is a warning, because the set itself is correct."""
    receipt = Receipt(consumer, version.published.name, version.version, version.reference, f"{day}")
    try:
        write_receipt(location, receipt)
    except FairDistillError as error:
        warnings.warn(f"no receipt was written for {version.reference}: {error}", FairDistillWarning, stacklevel=3)


def look_up(
    reference: str,
    *,
    registry: str | Path | None = None,
    as_of: str | date | None = None,
    trust: Sequence[str] | None = None,
    approvals: Mapping[str, Approvals] | None = None,
    lock: Path | str | None = None,
    offline: bool = False,
    revoked: bool = False,
    today: date | None = None,
) -> RegisteredVersion:
    """Return the version that a reference names, with its set and the verdict that it is in force by, or refuse it.

    These checks are made:

    - The entries of the ledger are numbered without gaps, and each has the digest of the one before it.
    - The ledger continues the newest entry that this machine remembers.
    - The version was not revoked, and not demoted from the channel.
    - The manifest has the digest that names the version, and each file has the digests in the manifest.
    - Each verdict that the ledger gives for a promotion of the version exists, is about this version, and passed.

    A version that is named by its number or digest may never have been promoted. Then its verdict is not checked.

    Parameters
    ----------
    reference : NAME@CHANNEL, NAME@vN or NAME@sha256:DIGITS
    registry : a folder, file:///path or s3://bucket/prefix; else FAIR_DISTILL_REGISTRY, else the folder `registry`
    as_of : a day (its end, in UTC) or a moment as in 2026-03-03T12:00:00Z, as text or as an object of `datetime`; one
        without a time zone is in UTC. The reference is resolved as at that time
    trust : public keys, one of which must have signed provenance and verdict; else those in FAIR_DISTILL_TRUST
    approvals : by channel, the number of approvals that a version needs under the policy of its verdict, and the keys
        that count; else those in FAIR_DISTILL_APPROVALS
    lock : a lock file. Its version is used, even if the channel has another version now
    offline : read only from the cache, which has what was loaded before
    revoked : accept a version that was revoked
    today : the day on which waivers must be valid, for pinned versions too; None does not check it

    Raises
    ------
    ConfigError
        If the registry, dataset, channel or version does not exist.
    Unanswered
        If the registry's server did not answer, after several attempts.
    IntegrityError
        If a check fails. Its subclass Withdrawn means that the version was revoked or demoted.
    """
    name, selector = _with_selector(reference)
    keys = trusted_keys(trust)
    store, ledger = open_ledger(name, locate(registry), offline=offline)
    entries = until(ledger, as_of)
    pinned = lock is not None
    version_selector = (
        selector if lock is None else f"sha256:{pinned_version(Path(lock), reference, registry=locate(registry))}"
    )
    version = resolve(entries, version_selector)
    if not revoked:
        refuse_revoked(ledger, version)
    admission = admit(
        store,
        entries,
        version,
        selector,
        pinned=pinned,
        keys=keys,
        approvals=approvals,
        today=today,
        subject=reference,
    )
    manifest = manifest_of(store, version)
    return RegisteredVersion(
        reference=reference,
        version=version,
        number=version_number(entries, version),
        published=next(entry for entry in entries if (entry.event, entry.version) == ("publish", version)),
        set=set_of(manifest, files_of(store, manifest), name=reference),
        manifest=manifest,
        entry=admission.entry,
        verdict=admission.verdict,
        verdicts=tuple(verdict for _, verdict in admission.grounds),
        head=entries[-1],
    )


def provenance(reference: str, *, registry: str | None = None) -> tuple[Manifest, list[dict[str, Any]]]:
    """Return the manifest and the provenances of a version. The provenances are information for people only.

    Raises what `load` raises.
    """
    name, selector = _with_selector(reference)
    store, entries = open_ledger(name, registry)
    version = select_version(entries, selector)
    keys = [key for key in store.list(f"versions/{version}/") if key.startswith(f"versions/{version}/provenance/")]
    provenances = []
    for key in keys:
        digest = key.rpartition("/")[2].partition(".")[0]
        provenances.append(read_provenance(fetch(store, key, digest), name=key))
    return manifest_of(store, version), provenances


def until(entries: tuple[Entry, ...], as_of: str | date | None) -> tuple[Entry, ...]:
    """Return the entries that existed at the end of a day or at a moment (see `entry.until`); all of them for None."""
    if as_of is None:
        return entries
    if isinstance(as_of, datetime):
        moment_utc = as_of.astimezone(UTC) if as_of.tzinfo else as_of
        as_of = moment_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    as_of = str(as_of)  # a date is printed as a day
    try:
        if len(as_of) == 10:
            moment = f"{date.fromisoformat(as_of)}T23:59:59Z"
        else:
            moment = datetime.strptime(as_of, "%Y-%m-%dT%H:%M:%SZ").strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise ConfigError(
            f"as_of is {as_of!r}; write a day as in 2026-03-03, or a moment as in 2026-03-03T12:00:00Z"
        ) from None
    earlier = ledger_entry.until(entries, moment)
    if not earlier:
        first = min(entry.time for entry in entries)
        raise ConfigError(f"nothing was published as {entries[0].name!r} by {as_of}; the first entry is of {first}")
    return earlier


def _with_selector(reference: str) -> tuple[str, str]:
    name, selector = parse_reference(reference)
    if selector is None:
        raise ConfigError(f"{reference!r} names no version; write {name}@production, {name}@v1 or {name}@sha256:…")
    return name, selector
