"""The lock file: the version that each reference named when it was pinned, so that a run can be repeated next year.

A pin names a version by its SHA-256, so a change of the registry cannot change what it means. A pinned version that was
revoked is refused like any other.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fair_distill.errors import ConfigError, FairDistillError
from fair_distill.files import is_sha256, parse_json, to_json, write_bytes
from fair_distill.registry.channels import published, resolve, revocation, version_number
from fair_distill.registry.lookup import open_ledger
from fair_distill.registry.store import open_registry, same_location

LOCK_FILE = "fair-distill.lock"
_FORMAT = 1


@dataclass(frozen=True)
class Pin:
    """The version that a reference named, and the registry."""

    reference: str
    registry: str
    version: str


@dataclass(frozen=True)
class Outdated:
    """A pin whose version is no longer the one of its reference, or was revoked.

    Attributes
    ----------
    number : N of the pinned version's short name vN
    now : N of the version that the reference names now; None if it names none
    why : the reason, if the version was revoked or the reference names none
    """

    pin: Pin
    number: int
    now: int | None
    why: str


def read_pins(path: Path) -> tuple[Pin, ...]:
    """Return the pins of a lock file. A file that does not exist has no pins. Raises ConfigError for a damaged file."""
    if not path.exists():
        return ()
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"cannot read the lock file {path}: {reason}; make it readable, or remove it") from None
    value = parse_json(content, name=str(path), error=ConfigError)
    try:
        pins = tuple(Pin(**row) for row in value["pins"])
        texts = [text for pin in pins for text in (pin.reference, pin.registry)]
        valid = value["format"] == _FORMAT and all(is_sha256(pin.version) for pin in pins)
        valid = valid and all(isinstance(text, str) for text in texts)
    except (KeyError, TypeError):
        valid = False
    if not valid:
        raise ConfigError(f"{path} is not a lock file of format {_FORMAT}; remove it and pin again")
    return pins


def pin(path: Path, reference: str, version: str, *, registry: str) -> Pin:
    """Write a pin into the lock file and return it. It replaces an earlier pin of the same reference."""
    new = Pin(reference, registry, version)
    remaining = [old for old in read_pins(path) if not (old.reference == reference and _same(old.registry, registry))]
    pins = sorted([*remaining, new], key=lambda pin: (pin.registry, pin.reference))
    write_bytes(path, to_json({"format": _FORMAT, "pins": [asdict(pin) for pin in pins]}))
    return new


def pinned_version(path: Path, reference: str, *, registry: str) -> str:
    """Return the version that a lock file has for a reference. Raises ConfigError if it has none."""
    for pin in read_pins(path):
        if pin.reference == reference and _same(pin.registry, registry):
            return pin.version
    raise ConfigError(f"{path} has no pin for {reference} of {registry}; run `fair-distill registry pin {reference}`")


def _same(url_a: str, url_b: str) -> bool:
    """Return whether two URLs name one registry, whatever their spelling."""
    return url_a == url_b or same_location(url_a, open_registry(url_b).identity)


def outdated(pins: Sequence[Pin]) -> list[Outdated]:
    """Return the pins whose reference names another version now, or whose version was revoked."""
    rows = []
    for pin in pins:
        name, _, selector = pin.reference.partition("@")
        _, entries = open_ledger(name, pin.registry)
        if pin.version not in published(entries):
            raise ConfigError(f"{pin.registry} has no version {pin.version[:12]}… of {name}; change the lock file")
        number = version_number(entries, pin.version)
        tombstone = revocation(entries, pin.version)
        try:
            now = resolve(entries, selector)
        except FairDistillError as error:  # a channel without a version gives the reason
            rows.append(Outdated(pin, number, None, str(error)))
            continue
        if tombstone:
            rows.append(Outdated(pin, number, version_number(entries, now), f"revoked: {tombstone.reason}"))
        elif now != pin.version:
            rows.append(Outdated(pin, number, version_number(entries, now), ""))
    return rows
