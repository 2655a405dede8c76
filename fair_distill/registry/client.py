"""What a consumer calls: `load` a set by name, checked to the last byte; `verify` everything a registry has on it.

A reference is `name@production` (or another channel), `name@v12`, or `name@sha256:…`. Light: no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fair_distill.artifacts import parse_json, sha256, to_json
from fair_distill.distilled import DistilledSet
from fair_distill.errors import ConfigError, DataError, IntegrityError, MeasurementError
from fair_distill.gate.judge import Verdict
from fair_distill.gate.predictions import Predictions
from fair_distill.registry.channels import published, refuse_revoked, resolve
from fair_distill.registry.ledger import ON_GROUNDS, Entry, check_name, entry_key, names, read_ledger
from fair_distill.registry.manifest import SET_FILE, Manifest, check_file
from fair_distill.registry.store import (
    ENVIRONMENT,
    EVIDENCE,
    Absent,
    Store,
    evidence_key,
    is_sha256,
    locate,
    manifest_key,
    object_key,
    open_store,
)


@dataclass(frozen=True)
class Checked:
    """Something in the registry that is what it should be."""

    what: str
    key: str
    size: int
    sha256: str


def load(reference: str, *, registry: str | None = None) -> DistilledSet:
    """Return the distilled set that a reference names, or refuse.

    Checked are the ledger's numbers and chain, that the version was not withdrawn, the manifest against the
    version, each file against the manifest, and that every verdict the ledger gives for the version's
    promotions is there, is of this version, and is a pass. A version named by number or digest may never have
    been promoted: then there is no verdict to check, and none is claimed.

    Parameters
    ----------
    registry : a folder or file:// URL; else FAIR_DISTILL_REGISTRY, else the folder `registry` here

    Raises
    ------
    ConfigError
        If there is no such registry, dataset, channel or version.
    IntegrityError
        If anything does not belong together; Withdrawn, a kind of it, if the version was revoked or demoted.
    """
    name, selector = _parse(reference)
    if selector is None:
        raise ConfigError(f"which version of {name}? Ask for {name}@production, {name}@v1 or {name}@sha256:…")
    store, entries = _open(name, registry)
    version = _select(entries, selector)
    _promotions(store, entries, version)
    manifest = _manifest(store, version)
    return _set(manifest, _files(store, manifest), name=reference)


def verify(reference: str, *, registry: str | None = None) -> list[Checked]:
    """Return everything that was checked of a version, or of all versions of a dataset (`name` alone); or refuse.

    Checks what `load` checks, and every verdict, prediction file and provenance that lies beside the version,
    used or not. Of a dataset, revoked versions are checked too. Raises what `load` raises.
    """
    name, selector = _parse(reference)
    store, entries = _open(name, registry)
    checked = [_checked("ledger entry", entry_key(name, entry.number), entry.to_json()) for entry in entries]
    for version in published(entries) if selector is None else (_select(entries, selector),):
        for verdict in _promotions(store, entries, version):
            key = evidence_key(version, "predictions", verdict.predictions)
            if not store.exists(key):
                raise IntegrityError(f"{key} is missing from the registry, and a promotion rests on it")
        manifest = _manifest(store, version)
        files = _files(store, manifest)
        _set(manifest, files, name=f"{name}@sha256:{version[:12]}")
        checked.append(_checked("manifest", manifest_key(version), manifest.to_json()))
        checked += [_checked(entry.path, object_key(entry.sha256), files[entry.path]) for entry in manifest.files]
        checked += [
            _evidence(store, version, key) for key in store.list(f"versions/{version}/") if key != manifest_key(version)
        ]
    return checked


def provenance(reference: str, *, registry: str | None = None) -> tuple[Manifest, list[dict[str, Any]]]:
    """Return the manifest of a version, and what lies beside it about how it came to be; no digest rests on that.

    Raises what `load` raises.
    """
    name, selector = _parse(reference)
    if selector is None:
        raise ConfigError(f"which version of {name}? Ask for {name}@production, {name}@v1 or {name}@sha256:…")
    store, entries = _open(name, registry)
    version = _select(entries, selector)
    keys = [key for key in store.list(f"versions/{version}/") if key.startswith(f"versions/{version}/provenance/")]
    found = []
    for key in keys:
        digest = key.rpartition("/")[2].partition(".")[0]
        found.append(parse_json(_fetch(store, key, digest), name=key, error=IntegrityError))
    return _manifest(store, version), found


def _checked(what: str, key: str, content: bytes) -> Checked:
    return Checked(what, key, len(content), sha256(content))


def _parse(reference: str) -> tuple[str, str | None]:
    name, at, selector = reference.partition("@")
    if at and not selector:
        raise ConfigError(f"{reference!r} ends in '@'; a channel, v1 or sha256:… was wanted after it")
    return check_name(name), selector or None


def _open(name: str, registry: str | None) -> tuple[Store, tuple[Entry, ...]]:
    url = locate(registry)
    store = open_store(url)
    entries = read_ledger(store, name)
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


def _read(store: Store, key: str) -> bytes:
    try:
        return store.read(key)
    except Absent:
        raise IntegrityError(f"{key} is missing from the registry, and the ledger or a manifest names it") from None


def _fetch(store: Store, key: str, digest: str) -> bytes:
    content = _read(store, key)
    if sha256(content) != digest:
        raise IntegrityError(
            f"{key} has SHA-256 {sha256(content)[:12]}…, not {digest[:12]}…; it was damaged or exchanged"
        )
    return content


def _manifest(store: Store, version: str) -> Manifest:
    key = manifest_key(version)
    return Manifest.from_json(_fetch(store, key, version), name=key)


def _files(store: Store, manifest: Manifest) -> dict[str, bytes]:
    files = {}
    for entry in manifest.files:
        key = object_key(entry.sha256)
        files[entry.path] = _read(store, key)
        check_file(entry, files[entry.path], name=f"{key} ({entry.path})")
    return files


def _set(manifest: Manifest, files: dict[str, bytes], *, name: str) -> DistilledSet:
    try:
        loaded = DistilledSet.from_parquet(files[SET_FILE], name=name)
    except KeyError:
        raise IntegrityError(f"{name}: its manifest names no {SET_FILE}") from None
    except DataError as error:
        raise IntegrityError(str(error)) from None
    if to_json(loaded.card.to_dict()) != to_json(manifest.card.to_dict()):
        raise IntegrityError(f"{name}: the card in {SET_FILE} is not the card of its manifest")
    return loaded


def _promotions(store: Store, entries: Sequence[Entry], version: str) -> list[Verdict]:
    """Return the verdicts that the ledger gives as grounds for the version's place in its channels, checked."""
    verdicts = []
    grounds = {entry.verdict for entry in entries if entry.version == version and entry.event in ON_GROUNDS}
    for digest in sorted(filter(None, grounds)):
        key = evidence_key(version, "verdicts", digest)
        verdict = Verdict.from_json(_fetch(store, key, digest), name=key)
        if verdict.set != version:
            raise IntegrityError(f"{key} is a verdict on {verdict.set[:12]}…, not on this version")
        if verdict.outcome != "pass":
            raise IntegrityError(f"{key} says {verdict.outcome}, and the ledger gives it as ground for a promotion")
        verdicts.append(verdict)
    return verdicts


def _evidence(store: Store, version: str, key: str) -> Checked:
    kind, _, file = key.removeprefix(f"versions/{version}/").partition("/")
    digest = file.partition(".")[0]
    if kind not in EVIDENCE or not is_sha256(digest) or key != evidence_key(version, kind, digest):
        raise IntegrityError(f"{key} has no place beside a version")
    content = _fetch(store, key, digest)
    of = version
    if kind == "verdicts":
        of = Verdict.from_json(content, name=key).set
    elif kind == "predictions":
        try:
            of = Predictions.from_parquet(content, name=key).set
        except MeasurementError as error:
            raise IntegrityError(str(error)) from None
    else:
        parse_json(content, name=key, error=IntegrityError)
    if of != version:
        raise IntegrityError(f"{key} is of {of[:12]}…, not of the version it lies beside")
    return _checked(kind, key, content)
