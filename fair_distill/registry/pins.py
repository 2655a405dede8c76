"""The lock file: which version each reference meant when it was pinned, so that a run is the same next year.

A pin names a version by its SHA-256, so nobody who has the registry can make it mean something else. It does not
outlive a revocation: a pinned version that was withdrawn is refused like any other.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fair_distill.errors import ConfigError, FairDistillError
from fair_distill.files import is_sha256, parse_json, to_json, write_bytes
from fair_distill.registry.channels import published, resolve, revocation, version_number
from fair_distill.registry.lookup import opened
from fair_distill.registry.store import open_registry, same_location

LOCK_FILE = "fair-distill.lock"
_FORMAT = 1


@dataclass(frozen=True)
class Pin:
    """What a reference meant, and in which registry."""

    reference: str
    registry: str
    version: str


@dataclass(frozen=True)
class Outdated:
    """A pin, and what its reference means now: `now` is None where it names nothing or the pin was revoked."""

    pin: Pin
    number: int
    now: int | None
    why: str


def read_pins(path: Path) -> tuple[Pin, ...]:
    """Return the pins of a lock file; none if there is no such file."""
    if not path.exists():
        return ()
    value = parse_json(path.read_bytes(), name=str(path), error=ConfigError)
    try:
        pins = tuple(Pin(**row) for row in value["pins"])
        sound = value["format"] == _FORMAT and all(is_sha256(pin.version) for pin in pins)
    except (KeyError, TypeError):
        sound = False
    if not sound:
        raise ConfigError(f"{path} is not a lock file of format {_FORMAT}; remove it and pin again")
    return pins


def pin(path: Path, reference: str, version: str, *, registry: str) -> Pin:
    """Write a pin into the lock file, in place of an earlier one for the same reference; return it."""
    made = Pin(reference, registry, version)
    others = [old for old in read_pins(path) if not (old.reference == reference and _same(old.registry, registry))]
    pins = sorted([*others, made], key=lambda one: (one.registry, one.reference))
    write_bytes(path, to_json({"format": _FORMAT, "pins": [asdict(one) for one in pins]}))
    return made


def pinned(path: Path, reference: str, *, registry: str) -> str:
    """Return the version that a lock file has for a reference. Raises ConfigError if it has none."""
    for one in read_pins(path):
        if one.reference == reference and _same(one.registry, registry):
            return one.version
    raise ConfigError(f"{path} pins no {reference} of {registry}; `fair-distill registry pin {reference}` does")


def _same(registry: str, other: str) -> bool:
    """Say whether two addresses name one registry, however they are spelled."""
    return registry == other or same_location(registry, open_registry(other).identity)


def outdated(pins: Sequence[Pin]) -> list[Outdated]:
    """Return the pins whose reference means another version now, or whose version was revoked."""
    found = []
    for one in pins:
        name, _, selector = one.reference.partition("@")
        _, entries = opened(name, one.registry)
        if one.version not in published(entries):
            raise ConfigError(f"{one.registry} has no version {one.version[:12]}… of {name}; change the lock file")
        number = version_number(entries, one.version)
        stone = revocation(entries, one.version)
        try:
            now = resolve(entries, selector)
        except FairDistillError as error:  # a channel that has nothing now says why
            found.append(Outdated(one, number, None, str(error)))
            continue
        if stone:
            found.append(Outdated(one, number, version_number(entries, now), f"revoked: {stone.reason}"))
        elif now != one.version:
            found.append(Outdated(one, number, version_number(entries, now), ""))
    return found
