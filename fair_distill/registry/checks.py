"""Reading a registry without trusting it: all is held against the digest, the ledger or the key that names it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from fair_distill.artifacts import is_sha256, parse_json, sha256, to_json
from fair_distill.distilled import DistilledSet
from fair_distill.errors import DataError, IntegrityError, MeasurementError
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.attempts import check_attempt
from fair_distill.registry.channels import Withdrawn
from fair_distill.registry.ledger import ON_GROUNDS, Entry
from fair_distill.registry.manifest import SET_FILE, Manifest, check_file
from fair_distill.registry.remote import beside_files
from fair_distill.registry.store import EVIDENCE, Absent, Store, evidence_key, manifest_key, object_key
from fair_distill.statements import Statement, read_envelope, require

_WAIVED = re.compile(r"waived until ([0-9]{4}-[0-9]{2}-[0-9]{2}) ")


def read(store: Store, key: str, *, at_most: int | None = None) -> bytes:
    try:
        return store.read(key, at_most=at_most)
    except Absent:
        raise IntegrityError(f"{key} is missing from the registry, and the ledger or a manifest names it") from None


def fetch(store: Store, key: str, digest: str) -> bytes:
    """Return what lies under a key that is named by its SHA-256."""
    content = read(store, key)
    if sha256(content) != digest:
        raise IntegrityError(
            f"{key} has SHA-256 {sha256(content)[:12]}…, not {digest[:12]}…; it was damaged or exchanged"
        )
    return content


def manifest_of(store: Store, version: str) -> Manifest:
    key = manifest_key(version)
    return Manifest.from_json(fetch(store, key, version), name=key)


def read_provenance(content: bytes, *, name: str) -> dict[str, Any]:
    """Return a provenance. What is read of it has its type; the rest is for people, and nothing rests on it."""
    value = parse_json(content, name=name, error=IntegrityError)
    if not isinstance(value.get("data") or {}, dict):
        raise IntegrityError(f"{name}: data is {str(value['data'])[:80]!r}; expected an object")
    return value


def files_of(store: Store, manifest: Manifest) -> dict[str, bytes]:
    files = {}
    for entry in manifest.files:
        key = object_key(entry.md5)
        files[entry.path] = read(store, key, at_most=entry.size)
        check_file(entry, files[entry.path], name=f"{key} ({entry.path})")
    return files


def check_beside(store: Store, manifest: Manifest, provenance: bytes) -> list[tuple[str, bytes]]:
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
    return replace(loaded, own=manifest.own)


def grounds_of(store: Store, entries: Sequence[Entry], version: str) -> list[tuple[Entry, Verdict]]:
    """Return the entries that put a version in a channel, each with the verdict it gives as its ground, checked."""
    grounds = []
    contents: dict[str, bytes] = {}
    for entry in entries:
        if entry.version != version or entry.event not in ON_GROUNDS or entry.verdict is None:
            continue
        key = evidence_key(version, "verdicts", entry.verdict)
        if key not in contents:
            contents[key] = fetch(store, key, entry.verdict)
        verdict = Verdict.from_json(contents[key], name=key)
        if verdict.set != version:
            raise IntegrityError(f"{key} is a verdict on {verdict.set[:12]}…, not on this version")
        if not verdict.lets_pass:
            raise IntegrityError(f"{key} says {verdict.outcome}, and the ledger gives it as ground for a promotion")
        check_attempt(entries, verdict)
        if _until(verdict) and entry.time[:10] > _until(verdict):
            raise IntegrityError(
                f"entry {entry.number} of {entry.name}'s ledger is of {entry.time}, and the waiver it rests on was "
                f"good until {_until(verdict)}"
            )
        grounds.append((entry, verdict))
    return grounds


def refuse_expired(entry: Entry, verdict: Verdict, today: date) -> None:
    """Raise Withdrawn if what is in force rests on a waiver whose day has passed."""
    if _until(verdict) and str(today) > _until(verdict):
        raise Withdrawn(
            f"{entry.name}@{entry.channel} rests on a waiver that expired on {_until(verdict)}; "
            "another version, another verdict or another waiver is needed"
        )


def _until(verdict: Verdict) -> str:
    """Return the first day on which one of a verdict's waivers ends; empty if it needs none."""
    if verdict.outcome != "waived":
        return ""
    days = [_WAIVED.match(finding.waiver) for finding in verdict.findings if finding.waiver]
    if not days or None in days:
        raise IntegrityError("a verdict says waived, and not by whom and until when")
    return min(day[1] for day in days if day)


def check_signatures(
    store: Store, name: str, version: str, verdicts: Sequence[str], keys: Sequence[str], *, what: str
) -> None:
    """See that provenance and verdicts of a version are signed by one of the keys. Raises IntegrityError."""
    provenance = [key.rpartition("/")[2].partition(".")[0] for key in store.list(f"versions/{version}/provenance/")]
    if not provenance:
        raise IntegrityError(f"{what} has no provenance, and a signed one is required")
    envelopes = [(key, read(store, key)) for key in store.list(f"versions/{version}/statements/")]
    wanted = [Statement("provenance", name, version, digest) for digest in provenance]
    wanted += [Statement("verdicts", name, version, digest) for digest in dict.fromkeys(verdicts)]
    require(envelopes, wanted, keys, what=what)
    for digest in provenance:
        fetch(store, evidence_key(version, "provenance", digest), digest)


def check_evidence(store: Store, version: str, key: str) -> bytes:
    """Return what lies beside a version, once it is what its key says and of that version."""
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
    elif kind == "statements":
        of = read_envelope(content, name=key).subject
    else:
        read_provenance(content, name=key)
    if of != version:
        raise IntegrityError(f"{key} is of {of[:12]}…, not of the version it lies beside")
    return content
