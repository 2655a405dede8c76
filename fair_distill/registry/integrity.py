"""Reading a registry without trusting it: all is held against the digest, the ledger or the key that names it."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import DataError, IntegrityError, MeasurementError
from fair_distill.files import is_sha256, parse_json, sha256, to_json
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.attempts import check_attempt
from fair_distill.registry.channels import Withdrawn
from fair_distill.registry.dvc_layout import beside_files
from fair_distill.registry.entry import BETWEEN_WRITERS, ON_GROUNDS, Entry, parse_time
from fair_distill.registry.layout import EVIDENCE, evidence_key, key_fault, manifest_key, object_key
from fair_distill.registry.manifest import SET_FILE, Manifest, check_file
from fair_distill.registry.store import RegistryStore
from fair_distill.statements import Statement, read_envelope, require
from fair_distill.storage.store import Absent

_FIRST = datetime.min.replace(tzinfo=UTC)
_WAIVED = re.compile(r"waived until ([0-9]{4}-[0-9]{2}-[0-9]{2}) ")


def read(store: RegistryStore, key: str, *, at_most: int | None = None) -> bytes:
    try:
        return store.read(key, at_most=at_most)
    except Absent:
        raise IntegrityError(f"{key} is missing from the registry, and the ledger or a manifest names it") from None


def fetch(store: RegistryStore, key: str, digest: str) -> bytes:
    """Return what lies under a key that is named by its SHA-256."""
    content = read(store, key)
    if sha256(content) != digest:
        raise IntegrityError(
            f"{key} has SHA-256 {sha256(content)[:12]}…, not {digest[:12]}…; it was damaged or exchanged"
        )
    return content


def manifest_of(store: RegistryStore, version: str) -> Manifest:
    key = manifest_key(version)
    return Manifest.from_json(fetch(store, key, version), name=key)


def read_provenance(content: bytes, *, name: str) -> dict[str, Any]:
    """Return a provenance. What is read of it has its type; the rest is for people, and nothing rests on it."""
    value = parse_json(content, name=name, error=IntegrityError)
    if not isinstance(value.get("data") or {}, dict):
        raise IntegrityError(f"{name}: data is {str(value['data'])[:80]!r}; expected an object")
    return value


def files_of(store: RegistryStore, manifest: Manifest) -> dict[str, bytes]:
    files = {}
    for entry in manifest.files:
        key = object_key(entry.md5)
        files[entry.path] = read(store, key, at_most=entry.size)
        check_file(entry, files[entry.path], name=f"{key} ({entry.path})")
    return files


def check_beside(store: RegistryStore, manifest: Manifest, provenance: bytes) -> list[tuple[str, bytes]]:
    """Return key and content of what lies beside a version's files for DVC, once it is what was written there."""
    beside = beside_files(manifest, provenance)
    for key, content in beside.items():
        if read(store, key, at_most=len(content)) != content:
            raise IntegrityError(f"{key} is not what was written there; it was damaged or exchanged")
    return list(beside.items())


def set_of(manifest: Manifest, files: dict[str, bytes], *, name: str) -> DistilledSet:
    try:
        loaded = DistilledSet.from_parquet(files[SET_FILE], name=name)
    except KeyError:
        raise IntegrityError(f"{name}: its manifest names no {SET_FILE}") from None
    except DataError as error:
        raise IntegrityError(str(error)) from None
    if to_json(loaded.card.to_dict()) != to_json(manifest.card.to_dict()):
        raise IntegrityError(f"{name}: the card in {SET_FILE} is not the card of its manifest")
    return replace(loaded, source_digests=manifest.own)


def grounds_of(store: RegistryStore, entries: Sequence[Entry], version: str) -> list[tuple[Entry, Verdict]]:
    """Return the entries that put a version in a channel, each with the verdict it gives as its ground, checked.

    A ground that rested on a waiver which had already expired is returned too. It is a fact about one channel at one
    time, and no later entry removes it. So it must not make every reading of the version fail: `refuse_late` refuses
    to load through the channel while that entry is in force, `verify` reports it, and a promotion, a rollback or a
    revocation repairs the channel.
    """
    grounds = []
    contents: dict[str, bytes] = {}
    for entry in entries:
        if entry.version != version or entry.event not in ON_GROUNDS or entry.verdict is None:
            continue
        if entry.verdict not in contents:
            contents[entry.verdict] = fetch(store, evidence_key(version, "verdicts", entry.verdict), entry.verdict)
        grounds.append((entry, _ground(entry, contents[entry.verdict], entries)))
    return grounds


def _ground(entry: Entry, content: bytes, entries: Sequence[Entry]) -> Verdict:
    """Return the verdict that an entry gives as its ground, if it can be one."""
    assert entry.verdict is not None
    key = evidence_key(entry.version, "verdicts", entry.verdict)
    verdict = Verdict.from_json(content, name=key)
    if verdict.set != entry.version:
        raise IntegrityError(f"{key} is a verdict on {verdict.set[:12]}…, not on this version")
    if not verdict.lets_pass:
        raise IntegrityError(f"{key} says {verdict.outcome}, and the ledger gives it as ground for a promotion")
    check_attempt(entries, verdict)
    waived_until(verdict)
    return verdict


def ground_fault(store: RegistryStore, entries: Sequence[Entry], entry: Entry, today: date) -> str | None:
    """Say why the ground of an entry does not hold on a day; None if it does."""
    if entry.verdict is None:
        return None
    try:
        content = fetch(store, evidence_key(entry.version, "verdicts", entry.verdict), entry.verdict)
        expires = waived_until(_ground(entry, content, entries))
    except IntegrityError as error:
        return str(error)
    return f"it rests on a waiver that expired on {expires}" if expires and str(today) > expires else None


def late(entry: Entry, verdict: Verdict) -> str | None:
    """Say that the waiver which an entry rests on had expired when the entry was written; None if it had not.

    The time of the entry may be ahead of the writer's clock by as much as two clocks may differ.
    """
    expires, time = waived_until(verdict), parse_time(entry.time)
    earliest = max(time, _FIRST + BETWEEN_WRITERS) - BETWEEN_WRITERS
    if not expires or str(earliest.date()) <= expires:
        return None
    return (
        f"entry {entry.number} of {entry.name}'s ledger is of {entry.time}, and the waiver it rests on was "
        f"good until {expires}"
    )


def refuse_late(entry: Entry, verdict: Verdict) -> None:
    """Raise Withdrawn if the entry in force rested on a waiver that had already expired."""
    fault = late(entry, verdict)
    if fault:
        raise Withdrawn(
            f"{entry.name}@{entry.channel} is not loaded: {fault}. Promote a version on a verdict of today, or roll "
            f"{entry.channel} back"
        )


def refuse_expired(entry: Entry, verdict: Verdict, today: date) -> None:
    """Raise Withdrawn if what is in force rests on a waiver whose day has passed."""
    expires = waived_until(verdict)
    if expires and str(today) > expires:
        raise Withdrawn(
            f"{entry.name}@{entry.channel} rests on a waiver that expired on {expires}; "
            "another version, another verdict or another waiver is needed"
        )


def waived_until(verdict: Verdict) -> str:
    """Return the first day on which one of a verdict's waivers ends; empty if it needs none."""
    if verdict.outcome != "waived":
        return ""
    days = [_WAIVED.match(finding.waiver) for finding in verdict.findings if finding.waiver]
    if not days or None in days:
        raise IntegrityError("a verdict says waived, and not by whom and until when")
    return min(day[1] for day in days if day)


def envelopes_of(store: RegistryStore, version: str) -> list[tuple[str, bytes]]:
    """Return the key and content of each statement file of a version that can be read at all."""
    envelopes = []
    for key in store.list(f"versions/{version}/statements/"):
        with suppress(IntegrityError):
            if key_fault(key) is None:
                envelopes.append((key, read(store, key)))
    return envelopes


def check_signatures(
    store: RegistryStore, name: str, version: str, verdicts: Sequence[str], keys: Sequence[str], *, what: str
) -> None:
    """See that a provenance and the given verdicts of a version are signed by one of the keys.

    One signed provenance is enough: a version that was made again on another machine has several, and anybody who
    may write can add one. Raises IntegrityError.
    """
    envelopes = envelopes_of(store, version)
    provenance = [key.rpartition("/")[2].partition(".")[0] for key in store.list(f"versions/{version}/provenance/")]
    if not provenance:
        raise IntegrityError(f"{what} has no provenance, and a signed one is required")
    for digest in _signed(envelopes, "provenance", name, version, provenance, keys, what=what)[:1]:
        fetch(store, evidence_key(version, "provenance", digest), digest)
    wanted = [Statement("verdicts", name, version, digest) for digest in dict.fromkeys(verdicts)]
    require(envelopes, wanted, keys, what=what)


def signed_verdicts(
    store: RegistryStore, name: str, version: str, verdicts: Sequence[str], keys: Sequence[str], *, what: str
) -> list[str]:
    """Return those of the verdicts that one of the keys signed. Raises IntegrityError if none is."""
    return _signed(envelopes_of(store, version), "verdicts", name, version, verdicts, keys, what=what)


def _signed(
    envelopes: Sequence[tuple[str, bytes]],
    kind: str,
    name: str,
    version: str,
    digests: Sequence[str],
    keys: Sequence[str],
    *,
    what: str,
) -> list[str]:
    signed, fault = [], None
    for digest in dict.fromkeys(digests):
        if not is_sha256(digest):
            continue
        try:
            require(envelopes, [Statement(kind, name, version, digest)], keys, what=what)
            signed.append(digest)
        except IntegrityError as error:
            fault = error
    if fault and not signed:
        raise fault
    return signed


def statement_fault(key: str, content: bytes, version: str) -> str | None:
    """Say why a file among the statements of a version is ignored; None if it is a statement about the version."""
    if key != evidence_key(version, "statements", sha256(content)):
        return "its name is not its SHA-256"
    try:
        subject = read_envelope(content, name="it").subject
    except IntegrityError as error:
        return str(error)
    return None if subject == version else f"it is about {subject[:12]}…, another version"


def check_evidence(store: RegistryStore, version: str, key: str) -> bytes:
    """Return a file of a version's evidence, once it matches its key and names that version. Not for statements."""
    kind, _, file = key.removeprefix(f"versions/{version}/").partition("/")
    digest = file.partition(".")[0]
    if kind not in EVIDENCE or not is_sha256(digest) or key != evidence_key(version, kind, digest):
        raise IntegrityError(f"{key} has no place beside a version")
    content = fetch(store, key, digest)
    of = version
    if kind == "verdicts":
        of = Verdict.from_json(content, name=key).set
    elif kind == "predictions":
        try:
            of = Predictions.from_parquet(content, name=key).set
        except MeasurementError as error:
            raise IntegrityError(str(error)) from None
    else:
        read_provenance(content, name=key)
    if of != version:
        raise IntegrityError(f"{key} is of {of[:12]}…, not of the version it lies beside")
    return content
