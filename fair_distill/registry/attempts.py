"""Attempts: how often the examples of a gate split were used, and which fraction of alpha each use takes.

An attempt is one file of predictions of a version on a gate split. It is reserved before the predictions exist, in one
record for all datasets of the store, and the first predictions are bound to it. Other predictions of the same version,
for example of networks that were trained again, are another attempt. Judging the same predictions again is not.

An attempt takes a fraction of alpha from the examples that it evaluates (`gate.spending`). The registry has a digest
of each example, so any later split that shares examples inherits what was taken from them, in every dataset: the
fraction of an earlier attempt counts in proportion to the share of the split's examples that it evaluated. The cell
with the largest sum decides, so new examples of one group renew nothing for another group.

A registry cannot know attempts that were never recorded in it, for example in another registry.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.gate.spending import check_fraction, fraction_of, legacy_fraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.announcements import announce
from fair_distill.registry.attempt_entry import RECORD, AttemptEntry
from fair_distill.registry.entry import GENESIS, Entry, timestamp
from fair_distill.registry.erasures import Erased, erased_note, read_erasures
from fair_distill.registry.integrity import fetch
from fair_distill.registry.layout import check_writable, examples_key
from fair_distill.registry.ledger import append_to, entry_time, read_chain_to_write, read_to_write
from fair_distill.registry.legacy_attempts import attempt_number, legacy_attempts
from fair_distill.registry.split_examples import (
    SplitExamples,
    are_stated,
    evaluated,
    shares,
    unstated_shares,
)
from fair_distill.registry.store import RegistryStore, ensure_stored

# The fields that an entry which binds predictions repeats.
_BOUND = ("dataset", "version", "split", "examples", "evaluation", "attempt", "planned", "fraction", "left")

# The share of each cell of a split.
Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Request:
    """The attempt that somebody wants to reserve.

    Attributes
    ----------
    dataset, version : the version that is evaluated
    examples : the examples of the gate split
    evaluation : SHA-256 of the declared evaluation
    planned : number of attempts that the policy plans at the same examples
    predictions : SHA-256 of the predictions; None before they exist
    """

    dataset: str
    version: str
    examples: SplitExamples
    evaluation: str
    planned: int = 1
    predictions: str | None = None


@dataclass(frozen=True)
class Attempt:
    """An attempt in the record.

    Attributes
    ----------
    entry : the entry that reserved it
    predictions : SHA-256 of the predictions that are bound to it; None if none are
    recorded : False for an attempt that was only computed, not recorded
    """

    entry: AttemptEntry
    predictions: str | None
    recorded: bool = True

    @property
    def is_plain_first(self) -> bool:
        """Whether it is the attempt that an empty context.json means: nothing was taken from the examples before."""
        first = fraction_of(1.0, self.entry.planned)
        return self.entry.attempt == 1 and self.entry.fraction == first


def read_record(store: RegistryStore) -> tuple[AttemptEntry, ...]:
    """Return the record of attempts of a store, oldest entry first, after checking its chain."""
    return read_chain_to_write(store, RECORD)


def attempts_of(entries: Sequence[AttemptEntry]) -> list[Attempt]:
    """Return the attempts in a record, oldest first, each with the predictions that are bound to it."""
    attempts: dict[int, Attempt] = {}
    for entry in entries:
        if entry.event == "reserve":
            attempts[entry.number] = Attempt(entry, entry.predictions)
            continue
        reserved = attempts.get(entry.reservation)
        if reserved is None or reserved.predictions is not None:
            raise IntegrityError(
                f"entry {entry.number} of the record of attempts binds predictions to entry {entry.reservation}, which "
                f"{'reserves no attempt' if reserved is None else 'has predictions already'}"
            )
        if any(getattr(entry, key) != getattr(reserved.entry, key) for key in _BOUND):
            raise IntegrityError(
                f"entry {entry.number} of the record of attempts differs from entry {entry.reservation}, which it binds"
            )
        attempts[entry.reservation] = replace(reserved, predictions=entry.predictions)
    return list(attempts.values())


def find_attempt(attempts: Sequence[Attempt], version: str, split: str, predictions: str) -> Attempt | None:
    """Return the attempt that predictions are bound to, under whatever name of a dataset; None if there is none."""
    for attempt in attempts:
        if (attempt.entry.version, attempt.entry.split, attempt.predictions) == (version, split, predictions):
            return attempt
    return None


def reserve(
    store: RegistryStore, request: Request, *, fresh: str = "", refuse_exhausted: bool = True, actor: Actor
) -> Attempt:
    """Reserve an attempt, or return the one that is reserved for the same predictions.

    Without predictions, the newest attempt of the same version, split and evaluation is returned. With predictions,
    an attempt of the same evaluation that has none yet is bound to them.

    Parameters
    ----------
    fresh : why the attempts in the ledger, which have no list of examples, did not evaluate these examples
    refuse_exhausted : whether to raise Undecided if earlier attempts have used up alpha. Otherwise an attempt with the
        fraction 0 is recorded

    Raises
    ------
    ConfigError
        If `fresh` is given and the examples are not.
    Undecided
        If earlier attempts have used up alpha.
    """
    overlaps = Overlaps(store, request.examples)
    ledger = read_to_write(store, request.dataset)
    stored = False

    def make(entries: tuple[AttemptEntry, ...]) -> AttemptEntry | None:
        nonlocal stored
        attempts = attempts_of(entries)
        if fresh:
            _check_fresh(attempts, ledger, request, overlaps)
        existing, is_bound = _existing(attempts, request)
        if existing is not None and is_bound:
            return None
        if existing is not None:
            assert request.predictions is not None
            return _following(
                replace(existing.entry, event="bind", predictions=request.predictions, reason=""), entries, actor
            )
        entry = _reservation(attempts, ledger, request, overlaps, fresh=fresh)
        if refuse_exhausted:
            check_fraction(entry.fraction, split=entry.split)
        if not stored:
            _store_examples(store, request, entries, actor=actor)
            stored = True
        entry = _following(entry, entries, actor)
        return replace(entry, reservation=entry.number)

    append_to(store, RECORD, make)
    attempt, _ = _existing(attempts_of(read_record(store)), request)
    assert attempt is not None
    if refuse_exhausted:
        check_fraction(attempt.entry.fraction, split=attempt.entry.split)
    return attempt


def _store_examples(store: RegistryStore, request: Request, entries: Sequence[AttemptEntry], *, actor: Actor) -> None:
    """Write the file of a request's examples, unless it is there already. Raises Erased if it was erased."""
    key, content = examples_key(request.examples.digest), request.examples.content
    is_named = any(entry.examples == request.examples.digest for entry in entries)
    erased = read_erasures(store).of_key.get(key) if is_named else None
    if erased is not None:
        raise Erased(
            f"the gate split {request.examples.split[:12]}… has examples of people who were {erased_note(erased)}. "
            "Update blocklist.json and params.yaml from git, and run `fair-distill run`"
        )
    if not is_named:
        check_writable(key, content)
        if store.create(key, content):
            return
        # A crashed attempt left the file, and `gc` may be removing it.
        announce(store, request.dataset, request.version, [key], actor=actor)
    ensure_stored(store, key, content)


def look_up(store: RegistryStore, request: Request) -> Attempt:
    """Return the attempt that is recorded for a request, or the one that it would get, without recording anything.

    Raises Undecided if earlier attempts have used up alpha.
    """
    attempts = attempts_of(read_record(store))
    existing, is_bound = _existing(attempts, request)
    if existing is None:
        ledger = read_to_write(store, request.dataset)
        entry = _reservation(attempts, ledger, request, Overlaps(store, request.examples), fresh="")
        existing = Attempt(entry, request.predictions)
    check_fraction(existing.entry.fraction, split=request.examples.split)
    return replace(existing, recorded=is_bound)


def record_publication(store: RegistryStore, request: Request, *, actor: Actor) -> None:
    """Record predictions that are published as an attempt, unless they are recorded already.

    Published predictions can be compared before one of them is promoted, so each publication counts. The promotion of
    published predictions uses the attempt of their publication. A publication is never refused because alpha is used
    up: the attempt then has the fraction 0, and no verdict can be based on it.
    """
    assert request.predictions is not None
    reserve(store, request, refuse_exhausted=False, actor=actor)


def stored_examples(store: RegistryStore, split: str) -> SplitExamples | None:
    """Return the examples of a split that an earlier attempt recorded; None if no attempt did."""
    for entry in read_record(store):
        if entry.split == split:
            return read_examples(store, entry.examples)
    return None


@dataclass
class Overlaps:
    """The shares of a split's examples that earlier attempts evaluated. Each file of examples is read once."""

    store: RegistryStore
    current: SplitExamples
    _examples: dict[str, SplitExamples] = field(default_factory=dict)
    _shares: dict[str, Shares] = field(default_factory=dict)

    def shares(self, examples: str) -> Shares:
        """Return the share of each cell that an attempt at the examples with this digest evaluated."""
        if examples not in self._shares:
            self._shares[examples] = shares(self.current, self._read(examples))
        return self._shares[examples]

    def count(self, examples: str, *, stated: Sequence[str] = ()) -> int:
        """Return the number of kept examples of the split that an attempt evaluated, and that are not in `stated`."""
        hits = evaluated(self.current, self._read(examples))
        return int((hits & ~are_stated(self.current, [self._read(digest) for digest in stated])).sum())

    def unstated_shares(self, stated: Sequence[str]) -> Shares:
        """Return the share of each cell that is not in `stated`, the splits that somebody stated to be fresh."""
        return unstated_shares(self.current, [self._read(digest) for digest in stated])

    def _read(self, digest: str) -> SplitExamples:
        if digest == self.current.digest:
            return self.current
        if digest not in self._examples:
            self._examples[digest] = read_examples(self.store, digest)
        return self._examples[digest]


def read_examples(store: RegistryStore, digest: str) -> SplitExamples:
    """Return the examples with a digest, after checking it; after an erasure, those of the file that replaces it."""
    key = examples_key(digest)
    try:
        content = fetch(store, key, digest)
    except Erased:
        replacement = read_erasures(store).redacted.get(digest)
        if replacement is None:
            raise
        key = examples_key(replacement)
        content = fetch(store, key, replacement)
    return SplitExamples.from_bytes(content, name=key)


def _largest_sum(earlier: Sequence[tuple[Shares, float]]) -> float:
    if not earlier:
        return 0.0
    return float(np.sum([fraction * cell_shares for cell_shares, fraction in earlier], axis=0).max())


def _existing(attempts: Sequence[Attempt], request: Request) -> tuple[Attempt | None, bool]:
    """Return the attempt of a request, and whether its predictions are bound; (None, False) if it has none."""
    same = [
        attempt
        for attempt in attempts
        if (attempt.entry.version, attempt.entry.split) == (request.version, request.examples.split)
    ]
    declared = [attempt for attempt in same if attempt.entry.evaluation == request.evaluation]
    if request.predictions is None:
        return (declared[-1], True) if declared else (None, False)
    bound = next((attempt for attempt in same if attempt.predictions == request.predictions), None)
    if bound is not None:
        return bound, True
    return next((attempt for attempt in declared if attempt.predictions is None), None), False


def _reservation(
    attempts: Sequence[Attempt], ledger: Sequence[Entry], request: Request, overlaps: Overlaps, *, fresh: str
) -> AttemptEntry:
    """Return the entry that reserves an attempt, without its place in the chain."""
    earlier = [(overlaps.shares(attempt.entry.examples), attempt.entry.fraction) for attempt in attempts]
    if not fresh:
        earlier += _legacy(attempts, ledger, request, overlaps)
    left = max(0.0, 1.0 - _largest_sum(earlier))
    number = 1 + sum(bool(share.any()) for share, _ in earlier)
    fraction = fraction_of(left, request.planned)
    own = attempt_number(ledger, request.version, request.examples.split)
    is_recorded = any(_is_of(attempt, request.version, request.examples.split) for attempt in attempts)
    if own is not None and not is_recorded and legacy_fraction(own, request.planned) <= left:
        # An earlier release reserved this attempt in the ledger. It keeps its number and its fraction, unless the
        # attempts in the record have left less: an old client can write such entries at any time.
        number, fraction = own, legacy_fraction(own, request.planned)
    return AttemptEntry(
        number=1,
        prev=GENESIS,
        event="reserve",
        reservation=1,
        dataset=request.dataset,
        version=request.version,
        split=request.examples.split,
        examples=request.examples.digest,
        evaluation=request.evaluation,
        predictions=request.predictions,
        attempt=number,
        planned=request.planned,
        fraction=fraction,
        left=max(0.0, left - fraction),
        reason=fresh,
        who="-",
        time="2000-01-01T00:00:00Z",
        nonce="-",
    )


def _legacy(
    attempts: Sequence[Attempt], ledger: Sequence[Entry], request: Request, overlaps: Overlaps
) -> list[tuple[Shares, float]]:
    """Return shares and fraction of each attempt in the dataset's ledger that counts for a split.

    Their examples are unknown unless the record has an attempt at the same split; known examples count by their share.
    Unknown examples count for related splits, except for the share of a split that reservations stated to be fresh. An
    attempt that the record has too is counted there.
    """
    split = request.examples.split
    is_in_ledger = any(entry.split == split for entry in ledger)
    unknown = overlaps.unstated_shares([] if is_in_ledger else _stated(attempts, request.dataset))
    recorded = {(attempt.entry.version, attempt.entry.split) for attempt in attempts} | {(request.version, split)}
    examples = {attempt.entry.split: attempt.entry.examples for attempt in attempts}
    counted = []
    for legacy in legacy_attempts(ledger, split):
        entry, fraction = legacy.entry, legacy_fraction(legacy.number)
        if (entry.version, entry.split) in recorded:
            continue
        known = examples.get(str(entry.split))
        if known:
            counted.append((overlaps.shares(known), fraction))
        elif legacy.is_related:
            counted.append((unknown, fraction))
    return counted


def _stated(attempts: Sequence[Attempt], dataset: str) -> list[str]:
    """Return the digests of the splits of a dataset that reservations stated to be fresh."""
    stated = (attempt.entry for attempt in attempts if attempt.entry.dataset == dataset and attempt.entry.reason)
    return list(dict.fromkeys(entry.examples for entry in stated))


def _is_of(attempt: Attempt, version: str, split: str) -> bool:
    return (attempt.entry.version, attempt.entry.split) == (version, split)


def _check_fresh(attempts: Sequence[Attempt], ledger: Sequence[Entry], request: Request, overlaps: Overlaps) -> None:
    """Raise ConfigError if an attempt has evaluated examples of the split that were not stated to be fresh before.

    The request's own attempt does not count.
    """
    for attempt in attempts:
        if _is_of(attempt, request.version, request.examples.split) and attempt.entry.reason:
            return
    stated = _stated(attempts, request.dataset)
    for attempt in attempts:
        entry, count = attempt.entry, overlaps.count(attempt.entry.examples, stated=stated)
        if count:
            raise ConfigError(
                f"the split {request.examples.split[:12]}… is not fresh: {count:,} of its {len(request.examples):,} "
                f"examples were evaluated by {entry.who} for {entry.dataset} at {entry.time}. Remove --fresh: examples "
                "that are new renew the error budget without it"
            )
    for old in ledger:
        if old.event == "attempt" and old.split and old.split == request.examples.split:
            raise ConfigError(
                f"the split {old.split[:12]}… is not fresh: {old.who} used it at {old.time}. Remove --fresh"
            )


def _following(entry: AttemptEntry, entries: Sequence[AttemptEntry], actor: Actor) -> AttemptEntry:
    """Return an entry as the next one of the chain, written by an actor."""
    time = timestamp(actor.now)
    number, prev = 1, GENESIS
    if entries:
        number, prev, time = len(entries) + 1, entries[-1].digest, entry_time(time, entries[-1].time)
    return replace(entry, number=number, prev=prev, who=actor.who, time=time, nonce=actor.nonce)
