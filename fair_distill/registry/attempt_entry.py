"""One entry of the record of attempts: a reserved attempt, or the predictions that a reserved attempt is bound to."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from fair_distill.files import is_sha256
from fair_distill.gate.policy import MOST_ATTEMPTS
from fair_distill.registry.entry import is_name, is_text, is_time
from fair_distill.registry.layout import RECORD_NAME
from fair_distill.registry.ledger import Chain
from fair_distill.registry.sealed_entry import SealedEntry

AttemptEvent = Literal["reserve", "bind"]


@dataclass(frozen=True, kw_only=True)
class AttemptEntry(SealedEntry):
    """An entry of the record of attempts.

    Attributes
    ----------
    number, prev : as in the entries of a ledger
    event : `reserve` reserves an attempt. `bind` names its predictions and repeats its other fields
    reservation : number of the entry that reserved the attempt; its own number for `reserve`
    dataset, version, split : what is evaluated: the version of a dataset, on the gate split with this SHA-256
    examples : SHA-256 of the digests of the split's examples
    evaluation : SHA-256 of the declared evaluation: networks with options, seeds, recipe, seed and engine
    predictions : SHA-256 of the predictions; None as long as the attempt has none
    attempt : number of the attempt at these examples, from 1
    planned : number of attempts at the same examples that the policy planned
    fraction : the fraction of alpha that the attempt takes
    left : the fraction of alpha that it and earlier attempts leave on these examples
    reason : why earlier attempts without a list of examples did not evaluate these; usually empty
    """

    name: ClassVar[str] = RECORD_NAME
    record: ClassVar[str] = "the record of attempts"

    event: AttemptEvent
    reservation: int
    dataset: str
    version: str
    split: str
    examples: str
    evaluation: str
    predictions: str | None
    attempt: int
    planned: int
    fraction: float
    left: float
    reason: str

    def fault(self) -> str | None:
        return _fault(self)


RECORD = Chain(RECORD_NAME, "attempts/record/", AttemptEntry.record, AttemptEntry.from_json)


def _fault(entry: AttemptEntry) -> str | None:
    """Return which field of an entry is not valid; None if all are. Checks types too, because files have any type."""
    rules = {
        "event": (entry.event in get_args(AttemptEvent), f"one of {', '.join(get_args(AttemptEvent))}"),
        "number": (_is_whole(entry.number, 10**12), "a whole number"),
        "reservation": (_is_whole(entry.reservation, 10**12), "a whole number"),
        "attempt": (_is_whole(entry.attempt, MOST_ATTEMPTS), "a whole number"),
        "planned": (_is_whole(entry.planned, MOST_ATTEMPTS), "a whole number"),
        "prev": (is_sha256(entry.prev), "a SHA-256"),
        "dataset": (is_name(entry.dataset), "the name of a dataset"),
        "version": (is_sha256(entry.version), "the SHA-256 of a manifest"),
        "split": (is_sha256(entry.split), "the SHA-256 of a gate split"),
        "examples": (is_sha256(entry.examples), "the SHA-256 of a file of examples"),
        "evaluation": (is_sha256(entry.evaluation), "a SHA-256"),
        "predictions": (
            is_sha256(entry.predictions) or (entry.predictions is None and entry.event == "reserve"),
            "the SHA-256 of predictions; only `reserve` may have null",
        ),
        "fraction": (_is_fraction(entry.fraction), "a number from 0.0 to 1.0"),
        "left": (_is_fraction(entry.left), "a number from 0.0 to 1.0"),
        "reason": (entry.reason == "" or is_text(entry.reason), "a text, which may be empty"),
        "who": (is_text(entry.who), "a text"),
        "time": (is_time(entry.time), "UTC as in 2026-03-03T12:00:00Z"),
        "nonce": (is_text(entry.nonce), "a text"),
    }
    for field, (valid, expected) in rules.items():
        if not valid:
            return f"{field} is {getattr(entry, field)!r}; expected {expected}"
    if (entry.event == "reserve") != (entry.reservation == entry.number) or entry.reservation > entry.number:
        return f"reservation is {entry.reservation}; expected the number of the entry that reserved the attempt"
    return None


def _is_whole(value: object, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _is_fraction(value: object) -> bool:
    return type(value) is float and 0 <= value < 1
