"""Everything that a registry has of a dataset, held against the digests that name it: `verify`, and the head to keep.

Not for: what a consumer loads, which is checked as it is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fair_distill.config import Approvals
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import sha256
from fair_distill.registry.admission import admit
from fair_distill.registry.channels import published
from fair_distill.registry.entry import Entry, check_name, entry_key
from fair_distill.registry.integrity import (
    check_beside,
    check_evidence,
    files_of,
    grounds_of,
    late,
    manifest_of,
    read,
    set_of,
    statement_fault,
)
from fair_distill.registry.layout import evidence_key, manifest_key, object_key
from fair_distill.registry.lookup import opened, parse, selected, trusted
from fair_distill.registry.snapshots import check_snapshots
from fair_distill.registry.store import RegistryStore
from fair_distill.statements import Statement, read_envelope, signed_by


@dataclass(frozen=True)
class Checked:
    """Something in the registry that is what it should be.

    Attributes
    ----------
    remark : what a reader should know of it, such as why it is ignored; empty if there is nothing
    """

    what: str
    key: str
    size: int
    sha256: str
    remark: str = ""


def verify(
    reference: str,
    *,
    registry: str | None = None,
    trust: Sequence[str] | None = None,
    approvals: Mapping[str, Approvals] | None = None,
    anchor: Path | None = None,
    revoked: bool = False,
) -> list[Checked]:
    """Return everything that was checked of a version, or of all versions of a dataset (`name` alone); or refuse.

    Checks what `load` checks, from the registry and not from a cache, and every verdict, prediction file, provenance
    and statement that lies beside the version, used or not. Of a dataset, revoked versions are checked too.

    Facts that no later entry can change are remarks, not errors: a promotion on a waiver that had expired, a promotion
    that no declared key signed, and files among the statements that are no statement about the version. A channel that
    rests on such a promotion now is refused where the reference names it, as by `load`.

    Parameters
    ----------
    trust, approvals : as for `load`
    anchor : a file with a head of the ledger, kept elsewhere (see `head`); with `trust`, a signed one
    revoked : check a version that was revoked too, where one is named

    Raises what `load` raises.
    """
    name, selector = parse(reference)
    keys = trusted(trust)
    store, entries = opened(name, registry, cached=False)
    if anchor is not None:
        kept = read_anchor(anchor, keys)
        if kept.name != name:
            raise IntegrityError(f"the anchor {anchor} is of {kept.name}, not a head of {name}'s ledger")
        check_head(kept, entries, source=str(anchor))
    checked: list[Checked] = []
    remarks: dict[int, str] = {}
    for version in published(entries) if selector is None else (selected(entries, selector, revoked=revoked),):
        what = f"{name}@sha256:{version[:12]}"
        admission = admit(store, entries, version, selector or "", keys=keys, approvals=approvals, what=what)
        signed = {entry.number for entry, _ in admission.grounds}
        for entry, verdict in grounds_of(store, entries, version):
            remarks[entry.number] = late(entry, verdict) or ("" if entry.number in signed else "ignored: not signed")
            key = evidence_key(version, "predictions", verdict.predictions)
            if not store.exists(key):
                raise IntegrityError(f"{key} is missing from the registry, and a promotion rests on it")
        manifest = manifest_of(store, version)
        files = files_of(store, manifest)
        set_of(manifest, files, name=what)
        checked.append(_checked("manifest", manifest_key(version), manifest.to_json()))
        checked += [_checked(entry.path, object_key(entry.md5), files[entry.path]) for entry in manifest.files]
        for key in store.list(f"versions/{version}/"):
            if key == manifest_key(version):
                continue
            if key.startswith(f"versions/{version}/statements/"):
                checked.append(_statement(store, version, key, keys))
                continue
            kind, content = key.split("/")[2], check_evidence(store, version, key)
            checked.append(_checked(kind, key, content))
            if kind == "provenance":
                checked += [_checked("for DVC", *there) for there in check_beside(store, manifest, content)]
    ledger = [
        _checked("ledger entry", entry_key(name, entry.number), entry.to_json(), remarks.get(entry.number, ""))
        for entry in entries
    ]
    ledger += [_checked("snapshot", key, content) for key, content in check_snapshots(store, name, entries)]
    # What two versions have in common lies there once.
    return list({one.key: one for one in [*ledger, *checked]}.values())


def log(name: str, *, registry: str | None = None) -> tuple[Entry, ...]:
    """Return everything that happened to a dataset's versions, oldest first: the ledger, its chain checked."""
    return opened(check_name(name), registry)[1]


def head(name: str, *, registry: str | None = None) -> Statement:
    """Return what to keep elsewhere of a ledger, a git tag say: the number and digest of its newest entry."""
    _, entries = opened(check_name(name), registry, cached=False)
    return Statement("head", name, entries[-1].digest, str(entries[-1].number))


def read_anchor(path: Path, keys: Sequence[str]) -> Statement:
    """Return the head that a file names; with keys, one that one of them signed."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the anchor {path} cannot be read: {error.strerror}") from None
    signed = b'"payloadType"' in content
    anchor = read_envelope(content, name=str(path)) if signed else Statement.from_json(content, name=str(path))
    if anchor.kind != "head":
        raise IntegrityError(f"the anchor {path} is a statement on {anchor.kind}, not the head of a ledger")
    if keys and not (signed and signed_by(content, keys, name=str(path))):
        raise IntegrityError(f"the anchor {path} is signed by none of the keys declared")
    return anchor


def check_head(anchor: Statement, entries: Sequence[Entry], *, source: str) -> None:
    """See that a ledger continues a head. Raises IntegrityError."""
    number, name = int(anchor.about), anchor.name
    if number > len(entries):
        raise IntegrityError(
            f"the ledger of {name} has {len(entries)} entries, and had {number} when {source} was written: "
            "its newest were taken away"
        )
    if number < 1 or entries[number - 1].digest != anchor.subject:
        raise IntegrityError(
            f"entry {number} of {name}'s ledger is not the one {source} names: the ledger was rewritten"
        )


def _statement(store: RegistryStore, version: str, key: str, keys: Sequence[str]) -> Checked:
    """Return a file among a version's statements, with the reason if it is ignored. It is never an error."""
    try:
        content = read(store, key)
    except IntegrityError as error:
        return Checked("statements", key, 0, "", f"ignored: {error}")
    fault = statement_fault(key, content, version)
    if not fault and keys and not signed_by(content, keys, name=key):
        fault = f"it is signed by none of the {len(keys)} keys declared"
    return _checked("statements", key, content, f"ignored: {fault}" if fault else "")


def _checked(what: str, key: str, content: bytes, remark: str = "") -> Checked:
    return Checked(what, key, len(content), sha256(content), remark)
