"""The checks of `verify` on attempts: the record itself, and the promotions that use its fractions of alpha."""

from collections.abc import Sequence

import numpy as np

from fair_distill.errors import IntegrityError
from fair_distill.gate.spending import fraction_of, legacy_fraction
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.attempt_entry import RECORD, AttemptEntry
from fair_distill.registry.attempts import Attempt, Overlaps, attempts_of, find_attempt, read_examples
from fair_distill.registry.layout import examples_key
from fair_distill.registry.ledger import read_chain, read_ledger
from fair_distill.registry.legacy_attempts import attempt_number
from fair_distill.registry.snapshots import check_snapshots
from fair_distill.registry.store import RegistryStore

# Sums of fractions are rounded.
_TOLERANCE = 1e-9


def promotion_fault(attempts: Sequence[Attempt], verdict: Verdict) -> str:
    """Return a remark about the attempt of a verdict that a promotion is based on; empty if there is none.

    A version without any attempt in the record gets a remark and no error: an evidence pack has no record, and earlier
    releases recorded attempts elsewhere.

    Raises
    ------
    IntegrityError
        If the record has other attempts of the version only, or one with a smaller fraction of alpha.
    """
    if verdict.fraction is None:
        return ""  # of an earlier release; `legacy_attempts.check_attempt` checks it
    subject = f"the verdict {verdict.digest[:12]}… on {verdict.set[:12]}…"
    alpha = None if verdict.gate is None else verdict.gate.get("alpha")
    if alpha is not None and verdict.alpha is not None and verdict.alpha > alpha * verdict.fraction * (1 + _TOLERANCE):
        raise IntegrityError(
            f"{subject} uses an alpha of {verdict.alpha:g}; its fraction of the policy's alpha is "
            f"{alpha * verdict.fraction:g}"
        )
    if all(attempt.entry.version != verdict.set for attempt in attempts):
        return "its attempt is not in the record of attempts"
    attempt = find_attempt(attempts, verdict.set, verdict.split, verdict.predictions)
    if attempt is None:
        raise IntegrityError(
            f"{subject} is about the predictions {verdict.predictions[:12]}… on the gate split {verdict.split[:12]}…; "
            "the record of attempts has other attempts of this version only"
        )
    recorded = (attempt.entry.attempt, attempt.entry.fraction)
    if verdict.attempt != recorded[0] or verdict.fraction > recorded[1] * (1 + _TOLERANCE):
        raise IntegrityError(
            f"{subject} is attempt {verdict.attempt} with {verdict.fraction:.6f} of alpha; in the record it is attempt "
            f"{recorded[0]} with {recorded[1]:.6f}"
        )
    return ""


def check_record(store: RegistryStore) -> list[tuple[str, bytes]]:
    """Return the key and content of each entry and file of examples of the record of attempts, after checking them.

    Raises
    ------
    IntegrityError
        If the chain is damaged, a file of examples is missing, or an attempt took more of alpha than was left on its
        examples.
    """
    entries = read_chain(store, RECORD, snapshots=False)
    attempts = attempts_of(entries)
    checked = [(RECORD.key(entry.number), entry.to_json()) for entry in entries]
    for digest in dict.fromkeys(entry.examples for entry in entries):
        examples = read_examples(store, digest)
        checked.append((examples_key(examples.digest), examples.content))
        overlaps = Overlaps(store, examples)
        spent = np.zeros(len(np.unique(examples.cells)))
        for attempt in attempts:
            if attempt.entry.examples == digest:
                _check_fraction(store, attempt.entry, float(spent.max(initial=0.0)))
            spent += attempt.entry.fraction * overlaps.shares(attempt.entry.examples)
    return [*checked, *check_snapshots(store, RECORD.name, entries)]


def _check_fraction(store: RegistryStore, entry: AttemptEntry, spent: float) -> None:
    """Raise IntegrityError if an attempt took more of alpha than earlier attempts had left on its examples."""
    allowed = fraction_of(1.0 - spent, entry.planned)
    if entry.fraction <= allowed + _TOLERANCE:
        return
    legacy = attempt_number(read_ledger(store, entry.dataset), entry.version, entry.split)
    if legacy != entry.attempt or entry.fraction > min(legacy_fraction(legacy), 1.0 - spent) + _TOLERANCE:
        raise IntegrityError(
            f"entry {entry.number} of the record of attempts takes {entry.fraction:.6f} of alpha; earlier attempts at "
            f"the same examples allow {allowed:.6f}"
        )
