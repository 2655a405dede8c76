"""Publish a version and promote it to a channel. `retraction` has the commands that take a version back.

Each command writes the contents first and the ledger entry last, under keys that were free. After a crash between any
two steps, the registry has its previous state and perhaps contents that no entry names. The same command, run again,
does the missing steps and repeats none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from types import MappingProxyType

from fair_distill.config import Approvals
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import ConfigError, DataError, IntegrityError, Refused, Undecided
from fair_distill.files import parse_json, sha256, to_json
from fair_distill.gate.judge import Verdict
from fair_distill.gate.predictions import Predictions
from fair_distill.registry.actor import Actor
from fair_distill.registry.announcements import announce
from fair_distill.registry.approvals import check_approvals
from fair_distill.registry.channels import (
    holds,
    in_force,
    published,
    refuse_revoked,
    version_number,
    written_by,
)
from fair_distill.registry.dvc_layout import dvc_files
from fair_distill.registry.entry import Draft, Entry
from fair_distill.registry.erasures import Erased, erased_note, read_erasures
from fair_distill.registry.integrity import check_signatures, fetch, ground_fault, waived_until
from fair_distill.registry.layout import evidence_key, manifest_key, object_key
from fair_distill.registry.ledger import append, read_ledger, read_to_write
from fair_distill.registry.manifest import SET_FILE, Manifest, check_file
from fair_distill.registry.store import RegistryStore, ensure_stored
from fair_distill.registry.training_units import units_to_store
from fair_distill.statements import PREDICATES, Statement


@dataclass(frozen=True)
class Publication:
    """A published version. `number` is N of its short name vN; `new` is False if it was published before."""

    version: str
    number: int
    new: bool


@dataclass(frozen=True)
class Promotion:
    """A version in a channel, and the entries that this operation wrote: none if it was there already."""

    version: str
    number: int
    channel: str
    entries: tuple[Entry, ...]

    @property
    def new(self) -> bool:
        """Whether this operation changed a channel."""
        return bool(self.entries)


def publish(
    store: RegistryStore,
    name: str,
    manifest: Manifest,
    files: Mapping[str, bytes],
    *,
    predictions: bytes | None = None,
    verdicts: Sequence[bytes] = (),
    provenance: bytes | None = None,
    attestation: bytes | None = None,
    units: bytes | None = None,
    reason: str = "",
    actor: Actor,
) -> Publication:
    """Publish a version permanently, under the SHA-256 of its manifest.

    If the version is published already, only missing evidence is written: predictions and verdicts of another day are
    stored with the same version. Nothing is written that `load` would refuse.

    Parameters
    ----------
    name : the dataset
    files : the files of the manifest, by path
    predictions, verdicts, provenance : evidence that is stored with the version
    attestation : an evaluator's signed statement about the predictions
    units : the file of training units that the manifest names; None if the registry has it or the manifest names none
    reason : the reason that the ledger records with the publication
    actor : who publishes. Its `sign` signs a statement about the predictions, the provenance and each verdict

    Raises
    ------
    DataError
        If the files are not those of the manifest, or are not a distilled set.
    IntegrityError
        If the evidence is of another version, or the registry has other bytes under one of the keys.
    """
    version = manifest.version
    _check_package(manifest, files)
    evidence = _check_evidence(version, predictions=predictions, verdicts=verdicts, provenance=provenance)
    if attestation is not None:
        evidence.append(("statements", attestation))
    if actor.sign is not None:
        evidence += [
            ("statements", actor.sign(Statement(kind, name, version, sha256(content))))
            for kind, content in evidence
            if kind in PREDICATES
        ]
    entries = read_to_write(store, name)
    refuse_revoked(entries, version)

    objects = {object_key(entry.md5): files[entry.path] for entry in manifest.files}
    objects |= units_to_store(store, manifest, units)
    if provenance is not None:
        objects |= dvc_files(manifest, provenance)
    evidence_contents = {evidence_key(version, kind, sha256(content)): content for kind, content in evidence}
    contents = {**objects, **evidence_contents, manifest_key(version): manifest.to_json()}
    _refuse_erased(store, contents)
    is_new = version not in published(entries)
    if is_new:
        announce(store, name, version, contents, actor=actor)
    for key, content in contents.items():
        # `regate` publishes evidence of a published version, and has no right to write anything else.
        ensure_stored(store, key, content, read_first=not is_new and key not in evidence_contents)

    def make(entries: tuple[Entry, ...]) -> Draft | None:
        if version in published(entries):
            return None
        return actor.draft("publish", version, reason=reason)

    written = append(store, name, make)
    return Publication(version, version_number(read_ledger(store, name), version), written is not None)


def promote(
    store: RegistryStore,
    name: str,
    version: str,
    channel: str,
    *,
    order: Sequence[str],
    verdict: Verdict,
    verdict_bytes: bytes,
    actor: Actor,
    reason: str = "",
    signed_by: Sequence[str] = (),
    approvals: Mapping[str, Approvals] = MappingProxyType({}),
) -> Promotion:
    """Put a version in a channel, and before that in each earlier channel of `order` that it never had; one entry each.

    If the version is in force in the channel and its waiver has expired, it is promoted again on the new verdict. An
    operation (`actor.nonce`) that was done before writes nothing. If the channel was changed afterwards, it is refused.

    Parameters
    ----------
    order : the channels of the dataset, in the order of promotion
    verdict, verdict_bytes : the verdict that allows the promotion, and its file
    actor : who promotes. Its `sign` signs a statement about the verdict
    reason : the reason that the ledger records
    signed_by : public keys; if there are any, one of them must have signed the verdict and the provenance
    approvals : the approvals that each channel needs; those of the earlier channels apply too

    Raises
    ------
    Refused, Undecided
        If the verdict did not pass or approvals are missing; the message has the reasons. No channel changes.
    IntegrityError
        If the verdict is of another version, the version was revoked, or a required signature is missing.
    """
    if channel not in order:
        raise ConfigError(
            f"channel is {channel!r}; params.yaml: release.channels has {', '.join(order)}. Use one of these, or add it"
        )
    entries = read_to_write(store, name)
    number = version_number(entries, version)
    refuse_revoked(entries, version)
    earlier = written_by(entries, actor.nonce, event="promote", channel=channel, version=version)
    if earlier is not None:
        return Promotion(version, number, channel, (earlier,))
    subject = f"v{number} of {name} is not promoted to {channel}"
    _check_verdict(store, version, verdict, verdict_bytes, today=actor.now.date(), subject=subject)
    faults: dict[int, str | None] = {}

    def draft(entries: tuple[Entry, ...], step: str) -> Draft | None:
        refuse_revoked(entries, version)
        if step != channel and holds(entries, version, step):
            return None
        present = in_force(entries, step)
        if present is not None and present.version == version:
            if present.number not in faults:
                faults[present.number] = ground_fault(store, entries, present, actor.now.date())
            # A version whose waiver has expired is promoted again on a valid verdict.
            if present.nonce == actor.nonce or not faults[present.number]:
                return None
        return actor.draft("promote", version, channel=step, verdict=sha256(verdict_bytes), reason=reason)

    if draft(entries, channel) is None:
        return Promotion(version, number, channel, ())
    digest = sha256(verdict_bytes)
    ensure_stored(store, evidence_key(version, "verdicts", digest), verdict_bytes)
    if actor.sign is not None:
        envelope = actor.sign(Statement("verdicts", name, version, digest))
        ensure_stored(store, evidence_key(version, "statements", sha256(envelope)), envelope)
    if signed_by:
        check_signatures(store, name, version, [digest], signed_by, subject=subject)
    steps = order[: order.index(channel) + 1]
    due = [step for step in steps if draft(entries, step)]
    check_approvals(store, name, version, due, approvals, policy=verdict.policy, subject=subject)

    written = [append(store, name, partial(draft, step=step)) for step in steps]
    return Promotion(version, number, channel, tuple(entry for entry in written if entry))


def _refuse_erased(store: RegistryStore, keys: Iterable[str]) -> None:
    """Raise Erased if a publication contains predictions or training units that were removed for erased people."""
    erased = read_erasures(store).of_key
    for key in sorted(keys):
        if key in erased and not key.startswith("objects/"):
            raise Erased(
                f"{key} was {erased_note(erased[key])}, so it is not published again. Run `fair-distill run` with the "
                "current blocklist.json, and publish the new set"
            )


def _check_package(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Raise DataError or IntegrityError unless the files are those of the manifest and are a distilled set."""
    paths = {entry.path for entry in manifest.files}
    if paths != set(files):
        raise DataError(f"the manifest names the files {sorted(paths)}, got {sorted(files)}; make the set again")
    if SET_FILE not in paths:
        raise DataError(f"a version needs {SET_FILE}, and {manifest.card.name!r} has none; publish a distilled set")
    for entry in manifest.files:
        check_file(entry, files[entry.path], name=entry.path)
    Manifest.from_json(manifest.to_json())
    card = DistilledSet.from_parquet(files[SET_FILE], name=SET_FILE).card
    if to_json(card.to_dict()) != to_json(manifest.card.to_dict()):
        raise IntegrityError(f"the card in {SET_FILE} is not the card of its manifest; make the set again")


def _check_evidence(
    version: str, *, predictions: bytes | None, verdicts: Sequence[bytes], provenance: bytes | None
) -> list[tuple[str, bytes]]:
    """Return the evidence of a version as (kind, content), after checking that each piece names the version."""
    evidence = [("verdicts", content) for content in verdicts]
    named = [Verdict.from_json(content).set for content in verdicts]
    if predictions is not None:
        evidence.append(("predictions", predictions))
        named.append(Predictions.from_parquet(predictions).set)
    if provenance is not None:
        parse_json(provenance, name="provenance")
        evidence.append(("provenance", provenance))
    for named_version in named:
        if named_version != version:
            raise IntegrityError(
                f"predictions or verdict name the version {named_version[:12]}…, not {version[:12]}…; evaluate again"
            )
    return evidence


def _check_verdict(
    store: RegistryStore, version: str, verdict: Verdict, content: bytes, *, today: date, subject: str
) -> None:
    if Verdict.from_json(content) != verdict:
        raise IntegrityError(f"{subject}: the verdict's file differs from the verdict")
    if verdict.set != version:
        raise IntegrityError(f"{subject}: the verdict is of version {verdict.set[:12]}…, not of {version[:12]}…")
    if not verdict.lets_pass:
        refusal = Refused if verdict.outcome == "fail" else Undecided
        raise refusal(f"{subject}: {'; '.join(verdict.reasons) or verdict.outcome}")
    expires = waived_until(verdict)
    if expires and str(today) > expires:
        raise Refused(f"{subject}: the waiver of its verdict expired on {expires}; judge it again")
    key = evidence_key(version, "predictions", verdict.predictions)
    if not store.exists(key):
        raise DataError(f"{subject}: the predictions of its verdict are not in the registry; publish them with it")
    fetch(store, key, verdict.predictions)
