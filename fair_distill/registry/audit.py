"""Everything that a registry has of a dataset, held against the digests that name it: `verify`, and the head to keep.

Not for: what a consumer loads, which is checked as it is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fair_distill.artifacts import sha256
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.registry.channels import published
from fair_distill.registry.checks import (
    check_beside,
    check_evidence,
    check_signatures,
    files_of,
    grounds_of,
    manifest_of,
    set_of,
)
from fair_distill.registry.ledger import Entry, check_name, entry_key
from fair_distill.registry.opening import opened, parse, selected, trusted
from fair_distill.registry.snapshots import check_snapshots
from fair_distill.registry.store import evidence_key, manifest_key, object_key
from fair_distill.statements import Statement, read_envelope, signed_by


@dataclass(frozen=True)
class Checked:
    """Something in the registry that is what it should be."""

    what: str
    key: str
    size: int
    sha256: str


def verify(
    reference: str,
    *,
    registry: str | None = None,
    trust: Sequence[str] | None = None,
    anchor: Path | None = None,
    revoked: bool = False,
) -> list[Checked]:
    """Return everything that was checked of a version, or of all versions of a dataset (`name` alone); or refuse.

    Checks what `load` checks, from the registry and not from a cache, and every verdict, prediction file, provenance
    and statement that lies beside the version, used or not. Of a dataset, revoked versions are checked too.

    Parameters
    ----------
    anchor : a file with a head of the ledger, kept elsewhere (see `head`); with `trust`, a signed one
    revoked : check a version that was revoked too, where one is named

    Raises what `load` raises.
    """
    name, selector = parse(reference)
    keys = trusted(trust)
    store, entries = opened(name, registry, cached=False)
    if anchor is not None:
        _check_anchor(anchor, name, entries, keys)
    checked = [_checked("ledger entry", entry_key(name, entry.number), entry.to_json()) for entry in entries]
    snapshots = check_snapshots(store, name, entries)
    checked += [_checked("snapshot", key, content) for key, content in snapshots]
    for version in published(entries) if selector is None else (selected(entries, selector, revoked=revoked),):
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


def log(name: str, *, registry: str | None = None) -> tuple[Entry, ...]:
    """Return everything that happened to a dataset's versions, oldest first: the ledger, its chain checked."""
    return opened(check_name(name), registry)[1]


def head(name: str, *, registry: str | None = None) -> Statement:
    """Return what to keep elsewhere of a ledger, a git tag say: the number and digest of its newest entry."""
    _, entries = opened(check_name(name), registry, cached=False)
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


def _checked(what: str, key: str, content: bytes) -> Checked:
    return Checked(what, key, len(content), sha256(content))
