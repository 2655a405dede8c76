"""Remove everything that a registry has of erased people: revoke, record, remove. Every step can be repeated.

A version is erased if its training units contain an erased person. Its files, predictions, provenance and training
units are removed; its manifest and its verdicts stay, because they have no data about single people. Of other versions,
the predictions on a gate split with an erased person are removed, and the version stays in force.

The steps are: store the replacements of files of examples and the list of removals, append the list to the record of
erasures, revoke, and remove. After a crash, the same erasure finds what is left, and `finish` removes what earlier
entries of the record name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fair_distill.errors import IntegrityError, MeasurementError
from fair_distill.files import sha256
from fair_distill.formats.unit_digests import UnitDigests
from fair_distill.gate.predictions import read_header
from fair_distill.registry.actor import Actor
from fair_distill.registry.announcements import GRACE_PERIOD, announcements, plan
from fair_distill.registry.attempt_entry import RECORD as ATTEMPTS
from fair_distill.registry.attempts import read_examples
from fair_distill.registry.channels import channels, current, published, version_number
from fair_distill.registry.entry import GENESIS, Entry, timestamp
from fair_distill.registry.erasures import RECORD, ErasureEntry, ErasureList, Erasures, erased_note, read_erasures
from fair_distill.registry.integrity import fetch, manifest_of
from fair_distill.registry.layout import erasure_list_key, examples_key, units_key
from fair_distill.registry.ledger import append_to, entry_time, names, read_chain, read_to_write
from fair_distill.registry.manifest import Manifest
from fair_distill.registry.retraction import revoke
from fair_distill.registry.split_examples import SplitExamples
from fair_distill.registry.store import RegistryStore, ensure_stored
from fair_distill.registry.training_units import training_units_digest
from fair_distill.registry.version_contents import contents_of, contents_of_versions, left_over

Digests = NDArray[np.uint64]
# The kinds of evidence of an erased version that are removed. Manifest, verdicts and signatures stay.
_REMOVED = ("predictions", "provenance")


@dataclass(frozen=True, eq=False)
class Traces:
    """The digests by which a registry recognises erased people.

    Attributes
    ----------
    units : the names of their units
    contents, names : the digests of the contents and of the names of their examples, as in `SplitExamples`
    people : the digests of the names of their clusters or pairs, as in `SplitExamples.units`
    train_splits, gate_splits : SHA-256 of the split files that contain them
    """

    units: UnitDigests
    contents: Digests
    names: Digests
    people: Digests = field(default_factory=lambda: np.empty(0, np.uint64))
    train_splits: frozenset[str] = frozenset()
    gate_splits: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ErasedVersion:
    """A version that is erased: its name, its number, the channels that it is in, and why."""

    version: str
    number: int
    channels: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class RegistryPlan:
    """What an erasure removes from a registry.

    Attributes
    ----------
    versions : the versions that are revoked and erased
    removed : the keys that are removed
    redacted : the replacement of each file of examples, by its SHA-256
    unknown : sentences about versions and splits that cannot be checked
    """

    dataset: str
    versions: tuple[ErasedVersion, ...] = ()
    removed: tuple[str, ...] = ()
    redacted: dict[str, SplitExamples] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the registry has nothing of the people."""
        return not (self.versions or self.removed or self.redacted)

    def as_list(self) -> ErasureList:
        """Return the list for the record of erasures."""
        redacted = {old: new.digest for old, new in self.redacted.items()}
        removed = {*self.removed, *map(examples_key, redacted)}
        return ErasureList(self.dataset, tuple(row.version for row in self.versions), tuple(sorted(removed)), redacted)


def plan_erasure(
    store: RegistryStore, name: str, traces: Traces, *, include_unknown: bool, rng: np.random.Generator
) -> RegistryPlan:
    """Return what the registry has of the people, without changing anything.

    Parameters
    ----------
    name : the dataset
    include_unknown : also erase versions whose training units are not recorded, and predictions on unknown splits
    rng : draws the digests that replace those of erased examples

    Raises
    ------
    IntegrityError
        If the ledger, a manifest or a file of examples is damaged.
    """
    entries, erased = read_to_write(store, name), read_erasures(store)
    versions, unknown = _versions(store, entries, erased, traces, include_unknown=include_unknown)
    redacted, splits = _redactions(store, name, traces, rng)
    gone = {row.version for row in versions}
    removed: set[str] = set()
    for version in dict.fromkeys(published(entries)):
        keys = store.list(f"versions/{version}/predictions/")
        if version in gone or version in erased.of_version:
            continue
        for key in keys:
            split = _split_of(store, key)
            if splits.get(split, split in traces.gate_splits or include_unknown):
                removed.add(key)
            elif split not in splits:
                unknown.append(
                    f"{name}@v{version_number(entries, version)}: its predictions are on the gate split {split[:12]}…, "
                    "whose examples are not recorded. Pass --include-unknown to remove them"
                )
    others = contents_of_versions(store, without={*gone, *erased.of_version}) if gone else set()
    for version in sorted(gone):
        removed |= {key for key in contents_of(store, manifest_of(store, version)) - others if store.exists(key)}
        for kind in _REMOVED:
            removed |= set(store.list(f"versions/{version}/{kind}/"))
    return RegistryPlan(name, tuple(versions), tuple(sorted(removed)), redacted, tuple(unknown))


def execute(
    store: RegistryStore, plan_: RegistryPlan, *, delete: Callable[[str], None], actor: Actor
) -> tuple[str, ...]:
    """Record the erasure, revoke its versions, and remove its contents; return the keys that were removed.

    Raises
    ------
    MeasurementError
        If a publication that is running needs one of the keys. Run the erasure again when it has ended.
    """
    removal = plan_.as_list()
    content = removal.to_json()
    for examples in plan_.redacted.values():
        ensure_stored(store, examples_key(examples.digest), examples.content)
    if not plan_.is_empty:
        ensure_stored(store, erasure_list_key(sha256(content)), content)
        append_to(store, RECORD, lambda entries: _entry(entries, plan_.dataset, sha256(content), actor))
    return finish(store, delete=delete, actor=actor)


def finish(store: RegistryStore, *, delete: Callable[[str], None], actor: Actor) -> tuple[str, ...]:
    """Do what the record of erasures says and a crash prevented: revoke versions and remove keys. Return the keys."""
    erasures = read_erasures(store)
    for number, (entry, removal) in enumerate(zip(erasures.entries, erasures.lists, strict=True), 1):
        for version in removal.versions:
            reason = f"{erased_note(entry)}: it was made from data of people who were erased"
            revoke(
                store,
                entry.dataset,
                version,
                reason=reason,
                actor=replace(actor, nonce=f"{actor.nonce}-{number}-{version[:12]}"),
            )
    left = left_over(store, erasures)
    if not left:
        return ()
    planned = plan(store, left)
    try:
        # The plan is written first, so a publication that announces itself after this point sees the plan.
        since = actor.now - GRACE_PERIOD
        live = {version for name in names(store) for version in published(read_to_write(store, name))}
        running = [each for each in announcements(store).values() if each.time > since and each.version not in live]
        needed = {key for each in running for key in each.keys}
        for key in left:
            if key not in needed:
                delete(key)
    finally:
        delete(planned)
    if not needed.isdisjoint(left):
        raise MeasurementError(
            f"a publication is running that needs {min(needed.intersection(left))}, which is to be erased. Run the "
            "same command again when it has ended; if it crashed, a day later"
        )
    return left


def _entry(entries: Sequence[ErasureEntry], dataset: str, contents: str, actor: Actor) -> ErasureEntry | None:
    if any((entry.dataset, entry.contents) == (dataset, contents) for entry in entries):
        return None
    number, prev, time = 1, GENESIS, timestamp(actor.now)
    if entries:
        number, prev, time = len(entries) + 1, entries[-1].digest, entry_time(time, entries[-1].time)
    return ErasureEntry(
        number=number, prev=prev, dataset=dataset, contents=contents, who=actor.who, time=time, nonce=actor.nonce
    )


def _versions(
    store: RegistryStore, entries: Sequence[Entry], erased: Erasures, traces: Traces, *, include_unknown: bool
) -> tuple[list[ErasedVersion], list[str]]:
    """Return the versions to erase, and a sentence about each version that cannot be checked."""
    versions, unknown = [], []
    for number, version in enumerate(published(entries), 1):
        if version in erased.of_version:
            continue
        manifest = manifest_of(store, version)
        in_channels = tuple(channel for channel in channels(entries) if current(entries, channel) == version)
        reason = _reason(store, manifest, traces)
        if reason is None:
            unknown.append(
                f"{entries[0].name}@v{number}: its training units are not recorded, so it cannot be checked. If it was "
                "made from data of the people, run the command again with --include-unknown, which erases it"
            )
        if reason or (reason is None and include_unknown):
            reason = reason or "its training units are not recorded"
            versions.append(ErasedVersion(version, number, in_channels, reason))
    return versions, [] if include_unknown else unknown


def _reason(store: RegistryStore, manifest: Manifest, traces: Traces) -> str | None:
    """Return why a version is erased; empty if it was not made from the people, None if that is unknown."""
    if manifest.source in traces.train_splits:
        return "its training split contains them"
    digest = training_units_digest(manifest)
    if digest is None or not store.exists(units_key(digest)):
        return None
    units = UnitDigests.from_bytes(fetch(store, units_key(digest), digest), name=units_key(digest))
    return "its training units contain them" if units.shared(traces.units) else ""


def _split_of(store: RegistryStore, key: str) -> str:
    content = fetch(store, key, key.rpartition("/")[2].partition(".")[0])
    try:
        return read_header(content, name=key).split
    except MeasurementError as error:
        raise IntegrityError(str(error)) from None


def _redactions(
    store: RegistryStore, name: str, traces: Traces, rng: np.random.Generator
) -> tuple[dict[str, SplitExamples], dict[str, bool]]:
    """Return the replacement of each file of examples with the people, and whether each recorded split has them."""
    renamed: dict[int, int] = {}
    redacted: dict[str, SplitExamples] = {}
    splits: dict[str, bool] = {}
    for entry in read_chain(store, ATTEMPTS):
        if entry.dataset != name or entry.split in splits:
            continue
        examples = read_examples(store, entry.examples)
        rows = examples.holds(traces.contents, traces.names, traces.people)
        splits[entry.split] = bool(rows.any()) or entry.split in traces.gate_splits
        if not rows.any():
            continue
        for value in examples.digests_in(rows) - renamed.keys():
            # In the lowest part of the range, so that a sample of a large split may contain it.
            renamed[value] = int(rng.integers(0, 2 ** (64 - examples.bits), dtype=np.uint64))
        redacted[examples.digest] = examples.replaced(renamed, rows)
    return redacted, splits
