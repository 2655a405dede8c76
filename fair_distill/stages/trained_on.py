"""The version in a registry that a model was trained on, and what the ledger says about this version.

A model may have been trained on the set before the set was revoked or its waiver expired. The set is therefore looked
up without refusing it, and its verdict states its status.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from fair_distill.card import DatasetCard
from fair_distill.errors import ConfigError
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.channels import channels, holds, revocation, version_number
from fair_distill.registry.entry import Entry
from fair_distill.registry.integrity import check_signatures, grounds_of, manifest_of, waived_until
from fair_distill.registry.lookup import open_ledger, parse_reference, select_version, trusted_keys


@dataclass(frozen=True)
class TrainedOn:
    """A published version and its status.

    Attributes
    ----------
    name : the version for people, as in `faces@v3`
    source : SHA-256 of the training split that the version was distilled from
    splits : SHA-256 of the gate splits on which the version was promoted
    revoked : why, when and by whom the version was revoked; empty if it was not
    notes : sentences about its promotions: none, demoted, or with a waiver that has expired
    """

    name: str
    dataset: str
    version: str
    card: DatasetCard
    source: str
    splits: tuple[str, ...]
    engine: int
    revoked: str
    notes: tuple[str, ...]


def look_up_trained_on(reference: str, *, registry: str | None, today: date) -> TrainedOn:
    """Return the version that a reference names, as in `faces@v3`.

    Raises
    ------
    ConfigError
        If the reference names no version that exists.
    IntegrityError
        If the ledger, the manifest or a verdict is damaged, or if none of the trusted keys signed the version.
    """
    dataset, selector = parse_reference(reference)
    if selector is None:
        raise ConfigError(f"--set is {reference!r}; name a version, such as {reference}@v1 or {reference}@production")
    store, entries = open_ledger(dataset, registry)
    version = select_version(entries, selector, revoked=True)
    keys = trusted_keys(None)
    if keys:
        check_signatures(store, dataset, version, [], keys, subject=reference)
    manifest = manifest_of(store, version)
    name = f"{dataset}@v{version_number(entries, version)}"
    grounds = grounds_of(store, entries, version)
    tombstone = revocation(entries, version)
    revoked = ""
    if tombstone is not None:
        revoked = f"{name} was revoked at {tombstone.time} by {tombstone.who}: {tombstone.reason}"
    return TrainedOn(
        name=name,
        dataset=dataset,
        version=version,
        card=manifest.card,
        source=manifest.source,
        splits=tuple(dict.fromkeys(verdict.split for _, verdict in grounds)),
        engine=manifest.engine,
        revoked=revoked,
        notes=tuple(_notes(entries, grounds, version, name, today)),
    )


def _notes(
    entries: Sequence[Entry], grounds: Sequence[tuple[Entry, Verdict]], version: str, name: str, today: date
) -> list[str]:
    if not grounds:
        return [f"{name} was never promoted: no verdict on the set itself allowed it"]
    notes = []
    expires = waived_until(grounds[-1][1])
    if expires:
        ended = "expired on" if str(today) > expires else "is valid until"
        notes.append(f"{name} was promoted with a waiver, which {ended} {expires}")
    for channel in channels(entries):
        about = [entry for entry in entries if (entry.version, entry.channel) == (version, channel)]
        if about and not holds(entries, version, channel):
            last = about[-1]
            notes.append(f"{name} was demoted from {channel} at {last.time} by {last.who}: {last.reason}")
    return notes
