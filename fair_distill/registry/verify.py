"""Check everything that a registry has of a dataset (`verify`), and return the head of a ledger to keep elsewhere.

`client` checks what a consumer loads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fair_distill.config import Approvals
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import sha256
from fair_distill.registry.admission import admit
from fair_distill.registry.attempt_checks import check_record, promotion_fault
from fair_distill.registry.attempts import attempts_of, read_record
from fair_distill.registry.channels import published, revocation
from fair_distill.registry.entry import Entry, check_name, entry_key
from fair_distill.registry.erasures import RECORD, Erasures, erased_note, read_erasures
from fair_distill.registry.integrity import (
    check_dvc_files,
    check_evidence,
    files_of,
    grounds_of,
    late,
    manifest_of,
    read,
    set_of,
    statement_fault,
)
from fair_distill.registry.layout import erasure_list_key, evidence_key, manifest_key, object_key, units_key
from fair_distill.registry.lookup import open_ledger, parse_reference, select_version, trusted_keys
from fair_distill.registry.snapshots import check_snapshots
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.training_units import units_of
from fair_distill.registry.version_contents import left_over
from fair_distill.statements import Statement, read_envelope, signed_by


@dataclass(frozen=True)
class CheckedFile:
    """A file of the registry that was checked.

    Attributes
    ----------
    kind : what the file is, such as "manifest" or "ledger entry"
    remark : information about it, such as why it is ignored; usually empty
    """

    kind: str
    key: str
    size: int
    sha256: str
    remark: str = ""

    def to_dict(self) -> dict[str, str | int]:
        """Return the row of `verify --json`."""
        return {
            "what": self.kind,
            "key": self.key,
            "size": self.size,
            "sha256": self.sha256,
            "remark": self.remark,
        }


def verify(
    reference: str,
    *,
    registry: str | None = None,
    trust: Sequence[str] | None = None,
    approvals: Mapping[str, Approvals] | None = None,
    anchor: Path | None = None,
    revoked: bool = False,
) -> list[CheckedFile]:
    """Check a version, or all versions of a dataset, and return the files that were checked.

    It checks what `load` checks, in the registry and not in a cache. It also checks every verdict, prediction file,
    provenance and statement that is stored with the version, used or not. It compares the attempt of each promotion
    with the record of attempts. For a dataset it checks revoked versions and the whole record too.

    Some faults are remarks and not errors, because no later entry can remove them: a promotion whose waiver had
    expired, a promotion that no declared key signed, a promotion of a version without any recorded attempt, and files
    among the statements that are not statements about the version. If the reference names a channel whose promotion in
    force has one of the first two, it is refused, as by `load`.

    Contents that were removed for erased people have a remark with the day. Such a content must not be in the registry.

    Parameters
    ----------
    reference : a reference as for `load`, or the name of a dataset for all of its versions
    trust, approvals : as for `load`
    anchor : a file with a head of the ledger that was kept elsewhere (see `head`); with `trust`, a signed one
    revoked : accept a reference to a version that was revoked

    Raises what `load` raises.
    """
    name, selector = parse_reference(reference)
    keys = trusted_keys(trust)
    store, entries = open_ledger(name, registry, cached=False)
    if anchor is not None:
        remembered = read_anchor(anchor, keys)
        if remembered.name != name:
            raise IntegrityError(f"the anchor {anchor} has a head of the ledger of {remembered.name}, not of {name}")
        check_head(remembered, entries, source=str(anchor))
    checked: list[CheckedFile] = []
    remarks: dict[int, str] = {}
    attempts = attempts_of(read_record(store))
    erasures = _checked_erasures(store)
    for version in published(entries) if selector is None else (select_version(entries, selector, revoked=revoked),):
        subject = f"{name}@sha256:{version[:12]}"
        if version in erasures.of_version:
            checked += _erased(store, entries, version, erased_note(erasures.of_version[version]))
            continue
        admission = admit(store, entries, version, selector or "", keys=keys, approvals=approvals, subject=subject)
        signed = {entry.number for entry, _ in admission.grounds}
        for entry, verdict in grounds_of(store, entries, version):
            fault = promotion_fault(attempts, verdict)
            unsigned = "" if entry.number in signed else "ignored: not signed"
            remarks[entry.number] = late(entry, verdict) or unsigned or fault
            key = evidence_key(version, "predictions", verdict.predictions)
            if key in erasures.of_key:
                checked.append(CheckedFile("predictions", key, 0, "", erased_note(erasures.of_key[key])))
            elif not store.exists(key):
                raise IntegrityError(f"{key} is missing from the registry, although a promotion is based on it")
        checked += _contents(store, version, keys, subject=subject)
    ledger = [
        _checked("ledger entry", entry_key(name, entry.number), entry.to_json(), remarks.get(entry.number, ""))
        for entry in entries
    ]
    if selector is None:
        ledger += [_checked("attempt", key, content) for key, content in check_record(store)]
        for erasure, removal in zip(erasures.entries, erasures.lists, strict=True):
            ledger.append(_checked("erasure", RECORD.key(erasure.number), erasure.to_json()))
            ledger.append(_checked("erasure", erasure_list_key(erasure.contents), removal.to_json()))
    ledger += [_checked("snapshot", key, content) for key, content in check_snapshots(store, name, entries)]
    # A file that several versions share is listed once.
    return list({file.key: file for file in [*ledger, *checked]}.values())


def _checked_erasures(store: RegistryStore) -> Erasures:
    """Return the record of erasures. Raises IntegrityError if an erased content is in the registry."""
    erasures = read_erasures(store, snapshots=False)
    left = left_over(store, erasures)
    if left:
        raise IntegrityError(
            f"{left[0]} was {erased_note(erasures.of_key[left[0]])} and is in the registry; so are {len(left) - 1} "
            "others. Run the `fair-distill erase` command again, which removes them"
        )
    return erasures


def _contents(store: RegistryStore, version: str, keys: Sequence[str], *, subject: str) -> list[CheckedFile]:
    """Check the manifest, the files, the training units and all evidence of a version."""
    checked = []
    manifest = manifest_of(store, version)
    files = files_of(store, manifest)
    set_of(manifest, files, name=subject)
    checked.append(_checked("manifest", manifest_key(version), manifest.to_json()))
    checked += [_checked(entry.path, object_key(entry.md5), files[entry.path]) for entry in manifest.files]
    units = units_of(store, manifest)
    if units is not None:
        checked.append(_checked("training units", units_key(units.sha256), units.to_bytes()))
    for key in store.list(f"versions/{version}/"):
        if key == manifest_key(version):
            continue
        if key.startswith(f"versions/{version}/statements/"):
            checked.append(_statement(store, version, key, keys))
            continue
        kind, content = key.split("/")[2], check_evidence(store, version, key)
        checked.append(_checked(kind, key, content))
        if kind == "provenance":
            checked += [_checked("for DVC", *file) for file in check_dvc_files(store, manifest, content)]
    return checked


def _erased(store: RegistryStore, entries: Sequence[Entry], version: str, note: str) -> list[CheckedFile]:
    """Check what remains of an erased version: its manifest, its verdicts and its signatures.

    Raises IntegrityError if one of them is damaged, or the ledger has no revocation of the version.
    """
    if revocation(entries, version) is None:
        raise IntegrityError(
            f"the version {version[:12]}… was {note}, and the ledger does not revoke it. Run the `fair-distill erase` "
            "command again, which does"
        )
    checked = [_checked("manifest", manifest_key(version), manifest_of(store, version).to_json(), note)]
    for key in store.list(f"versions/{version}/verdicts/"):
        checked.append(_checked("verdicts", key, check_evidence(store, version, key), note))
    for key in store.list(f"versions/{version}/statements/"):
        checked.append(_statement(store, version, key, ()))
    return checked


def log(name: str, *, registry: str | None = None) -> tuple[Entry, ...]:
    """Return the ledger of a dataset, oldest entry first, after checking its chain."""
    return open_ledger(check_name(name), registry)[1]


def head(name: str, *, registry: str | None = None) -> Statement:
    """Return the number and digest of a ledger's newest entry, to keep in another place, for example a git tag."""
    _, entries = open_ledger(check_name(name), registry, cached=False)
    return Statement("head", name, entries[-1].digest, str(entries[-1].number))


def read_anchor(path: Path, keys: Sequence[str]) -> Statement:
    """Return the head in a file. If there are keys, one of them must have signed it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the anchor {path} cannot be read: {error.strerror}") from None
    signed = b'"payloadType"' in content
    anchor = read_envelope(content, name=str(path)) if signed else Statement.from_json(content, name=str(path))
    if anchor.kind != "head":
        raise IntegrityError(f"the anchor {path} is a statement about {anchor.kind}, not about the head of a ledger")
    if keys and not (signed and signed_by(content, keys, name=str(path))):
        raise IntegrityError(f"none of the declared keys has signed the anchor {path}")
    return anchor


def check_head(anchor: Statement, entries: Sequence[Entry], *, source: str) -> None:
    """Raise IntegrityError unless a ledger continues a head; `source` is the file of the head, for messages."""
    number, name = int(anchor.about), anchor.name
    if number > len(entries):
        raise IntegrityError(
            f"the ledger of {name} has {len(entries)} entries, and had {number} when {source} was written: "
            "its newest entries were removed"
        )
    if number < 1 or entries[number - 1].digest != anchor.subject:
        raise IntegrityError(f"entry {number} of {name}'s ledger is not the one in {source}: the ledger was rewritten")


def _statement(store: RegistryStore, version: str, key: str, keys: Sequence[str]) -> CheckedFile:
    """Return a file among the statements of a version, with the reason if it is ignored. It is never an error."""
    try:
        content = read(store, key)
    except IntegrityError as error:
        return CheckedFile("statements", key, 0, "", f"ignored: {error}")
    fault = statement_fault(key, content, version)
    if not fault and keys and not signed_by(content, keys, name=key):
        fault = f"none of the {len(keys)} declared keys has signed it"
    return _checked("statements", key, content, f"ignored: {fault}" if fault else "")


def _checked(kind: str, key: str, content: bytes, remark: str = "") -> CheckedFile:
    return CheckedFile(kind, key, len(content), sha256(content), remark)
