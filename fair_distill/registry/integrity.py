"""Read a registry without trusting it: each content is checked against the digest, entry or key that names it."""

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
from fair_distill.registry.channels import Withdrawn
from fair_distill.registry.dvc_layout import dvc_files
from fair_distill.registry.entry import BETWEEN_WRITERS, ON_GROUNDS, Entry, parse_time
from fair_distill.registry.erasures import Erased, erased_note, read_erasures
from fair_distill.registry.layout import EVIDENCE, evidence_key, key_fault, manifest_key, object_key
from fair_distill.registry.legacy_attempts import check_attempt
from fair_distill.registry.manifest import SET_FILE, Manifest, check_file
from fair_distill.registry.store import RegistryStore
from fair_distill.statements import Statement, read_envelope, require
from fair_distill.storage.store import Absent

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_WAIVED = re.compile(r"waived until ([0-9]{4}-[0-9]{2}-[0-9]{2}) ")


def read(store: RegistryStore, key: str, *, at_most: int | None = None) -> bytes:
    """Return the content of a key that the ledger or a manifest names.

    Raises
    ------
    IntegrityError
        If it is missing. Its subclass Erased means that it was removed because a person was erased.
    """
    try:
        return store.read(key, at_most=at_most)
    except Absent:
        erasure = read_erasures(store).of_key.get(key)
        if erasure is not None:
            raise Erased(f"{key} was {erased_note(erasure)} and cannot be restored; use a later version") from None
        raise IntegrityError(
            f"{key} is missing from the registry, although the ledger or a manifest names it"
        ) from None


def fetch(store: RegistryStore, key: str, digest: str) -> bytes:
    """Return the content of a key, after checking its SHA-256."""
    content = read(store, key)
    if sha256(content) != digest:
        raise IntegrityError(
            f"{key} has SHA-256 {sha256(content)[:12]}…, not {digest[:12]}…; it was damaged or replaced"
        )
    return content


def manifest_of(store: RegistryStore, version: str) -> Manifest:
    """Return the manifest of a version, after checking its digest."""
    key = manifest_key(version)
    return Manifest.from_json(fetch(store, key, version), name=key)


def read_provenance(content: bytes, *, name: str) -> dict[str, Any]:
    """Return a provenance. Only the type of `data` is checked: the rest is information for people."""
    value = parse_json(content, name=name, error=IntegrityError)
    if not isinstance(value.get("data") or {}, dict):
        raise IntegrityError(f"{name}: data is {str(value['data'])[:80]!r}; expected an object")
    return value


def files_of(store: RegistryStore, manifest: Manifest) -> dict[str, bytes]:
    """Return the files of a version by path, after checking their digests."""
    files = {}
    for entry in manifest.files:
        key = object_key(entry.md5)
        files[entry.path] = read(store, key, at_most=entry.size)
        check_file(entry, files[entry.path], name=f"{key} ({entry.path})")
    return files


def check_dvc_files(store: RegistryStore, manifest: Manifest, provenance: bytes) -> list[tuple[str, bytes]]:
    """Return key and content of the other files of a version that DVC needs, after comparing them with the manifest."""
    expected = dvc_files(manifest, provenance)
    for key, content in expected.items():
        if read(store, key, at_most=len(content)) != content:
            raise IntegrityError(f"{key} has other bytes than were written there; it was damaged or replaced")
    return list(expected.items())


def set_of(manifest: Manifest, files: dict[str, bytes], *, name: str) -> DistilledSet:
    """Return the set in the files of a version, after comparing its card with the manifest; `name` is for messages."""
    try:
        loaded = DistilledSet.from_parquet(files[SET_FILE], name=name)
    except KeyError:
        raise IntegrityError(f"{name}: its manifest names no {SET_FILE}") from None
    except DataError as error:
        raise IntegrityError(str(error)) from None
    if to_json(loaded.card.to_dict()) != to_json(manifest.card.to_dict()):
        raise IntegrityError(f"{name}: the card in {SET_FILE} is not the card of its manifest")
    return replace(loaded, custom_digests=manifest.own)


def grounds_of(store: RegistryStore, entries: Sequence[Entry], version: str) -> list[tuple[Entry, Verdict]]:
    """Return the entries that put a version in a channel, each with the verdict that it gives as its ground, checked.

    The result includes entries whose waiver had expired when they were written. No later entry can remove such an
    entry, so it must not make every read of the version fail. Instead, `refuse_late` refuses to load through the
    channel while the entry is in force, and `verify` reports it. A promotion, a rollback or a revocation repairs the
    channel.
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
    """Return the verdict that an entry gives as its ground. Raises IntegrityError if it does not allow the entry."""
    assert entry.verdict is not None
    key = evidence_key(entry.version, "verdicts", entry.verdict)
    verdict = Verdict.from_json(content, name=key)
    if verdict.set != entry.version:
        raise IntegrityError(f"{key} is a verdict on {verdict.set[:12]}…, not on this version")
    if verdict.model is not None:
        raise IntegrityError(f"{key} is a verdict on a model, which allows no promotion of a set")
    if not verdict.lets_pass:
        raise IntegrityError(
            f"{key} has the outcome {verdict.outcome!r}, but the ledger gives it as the ground of a promotion"
        )
    check_attempt(entries, verdict)
    waived_until(verdict)
    return verdict


def ground_fault(store: RegistryStore, entries: Sequence[Entry], entry: Entry, today: date) -> str | None:
    """Return why the ground of an entry is not valid on a day; None if it is valid."""
    if entry.verdict is None:
        return None
    try:
        content = fetch(store, evidence_key(entry.version, "verdicts", entry.verdict), entry.verdict)
        expires = waived_until(_ground(entry, content, entries))
    except IntegrityError as error:
        return str(error)
    return f"its waiver expired on {expires}" if expires and str(today) > expires else None


def late(entry: Entry, verdict: Verdict) -> str | None:
    """Return a sentence if the waiver of an entry had expired when the entry was written; None otherwise.

    The entry may be dated later than it was written, by at most the difference that is allowed between two clocks.
    """
    expires, time = waived_until(verdict), parse_time(entry.time)
    earliest = max(time, _EARLIEST + BETWEEN_WRITERS) - BETWEEN_WRITERS
    if not expires or str(earliest.date()) <= expires:
        return None
    return (
        f"entry {entry.number} of {entry.name}'s ledger is dated {entry.time}, and its waiver was valid until {expires}"
    )


def refuse_late(entry: Entry, verdict: Verdict) -> None:
    """Raise Withdrawn if the waiver of the entry in force had expired when the entry was written."""
    fault = late(entry, verdict)
    if fault:
        raise Withdrawn(
            f"{entry.name}@{entry.channel} is not loaded: {fault}. Promote a version on a current verdict, or roll "
            f"{entry.channel} back"
        )


def refuse_expired(entry: Entry, verdict: Verdict, today: date) -> None:
    """Raise Withdrawn if the waiver of the entry in force has expired today."""
    expires = waived_until(verdict)
    if expires and str(today) > expires:
        raise Withdrawn(
            f"the waiver of {entry.name}@{entry.channel} expired on {expires}; promote another version, or "
            "judge this one again with a new waiver"
        )


def waived_until(verdict: Verdict) -> str:
    """Return the last day on which all waivers of a verdict are valid; empty if it needs none."""
    if verdict.outcome != "waived":
        return ""
    days = [_WAIVED.match(finding.waiver) for finding in verdict.findings if finding.waiver]
    if not days or None in days:
        raise IntegrityError(
            "a verdict has the outcome 'waived' and does not name the approver and the last day of the waiver"
        )
    return min(day[1] for day in days if day)


def envelopes_of(store: RegistryStore, version: str) -> list[tuple[str, bytes]]:
    """Return the key and content of each file among the statements of a version that can be read."""
    envelopes = []
    for key in store.list(f"versions/{version}/statements/"):
        with suppress(IntegrityError):
            if key_fault(key) is None:
                envelopes.append((key, read(store, key)))
    return envelopes


def check_signatures(
    store: RegistryStore, name: str, version: str, verdicts: Sequence[str], keys: Sequence[str], *, subject: str
) -> None:
    """Raise IntegrityError unless one of the keys signed a provenance and the given verdicts of a version.

    One signed provenance is enough: a version that was made on several machines has several, and anyone who can write
    to the store can add one.
    """
    envelopes = envelopes_of(store, version)
    provenance = [key.rpartition("/")[2].partition(".")[0] for key in store.list(f"versions/{version}/provenance/")]
    if not provenance:
        raise IntegrityError(
            f"{subject} has no provenance, and a signed one is required; publish it with its provenance and --key"
        )
    for digest in _signed(envelopes, "provenance", name, version, provenance, keys, subject=subject)[:1]:
        fetch(store, evidence_key(version, "provenance", digest), digest)
    statements = [Statement("verdicts", name, version, digest) for digest in dict.fromkeys(verdicts)]
    require(envelopes, statements, keys, subject=subject)


def signed_verdicts(
    store: RegistryStore, name: str, version: str, verdicts: Sequence[str], keys: Sequence[str], *, subject: str
) -> list[str]:
    """Return those of the verdicts that one of the keys signed. Raises IntegrityError if none is signed."""
    return _signed(envelopes_of(store, version), "verdicts", name, version, verdicts, keys, subject=subject)


def _signed(
    envelopes: Sequence[tuple[str, bytes]],
    kind: str,
    name: str,
    version: str,
    digests: Sequence[str],
    keys: Sequence[str],
    *,
    subject: str,
) -> list[str]:
    signed, fault = [], None
    for digest in dict.fromkeys(digests):
        if not is_sha256(digest):
            continue
        try:
            require(envelopes, [Statement(kind, name, version, digest)], keys, subject=subject)
            signed.append(digest)
        except IntegrityError as error:
            fault = error
    if fault and not signed:
        raise fault
    return signed


def statement_fault(key: str, content: bytes, version: str) -> str | None:
    """Return why a file among the statements of a version is ignored; None if it is a statement about the version."""
    if key != evidence_key(version, "statements", sha256(content)):
        return "its name is not its SHA-256"
    try:
        subject = read_envelope(content, name="it").subject
    except IntegrityError as error:
        return str(error)
    return None if subject == version else f"it is about {subject[:12]}…, another version"


def check_evidence(store: RegistryStore, version: str, key: str) -> bytes:
    """Return a piece of evidence of a version, after checking that it matches its key and names the version.

    Statements are checked by `statement_fault`.
    """
    kind, _, file = key.removeprefix(f"versions/{version}/").partition("/")
    digest = file.partition(".")[0]
    if kind not in EVIDENCE or not is_sha256(digest) or key != evidence_key(version, kind, digest):
        raise IntegrityError(f"{key} is not evidence of a version; remove the file")
    content = fetch(store, key, digest)
    named = version
    if kind == "verdicts":
        named = Verdict.from_json(content, name=key).set
    elif kind == "predictions":
        try:
            named = Predictions.from_parquet(content, name=key).set
        except MeasurementError as error:
            raise IntegrityError(str(error)) from None
    else:
        read_provenance(content, name=key)
    if named != version:
        raise IntegrityError(f"{key} names the version {named[:12]}…, not the version that it is stored with")
    return content
