"""Which version is in force where, read off the ledger's entries and nothing else. Pure functions.

A channel is a pile of entries. Promotion lays a version on top; rollback takes off what lies above the version
it returns to; demotion takes the top version off and leaves a tombstone, so that the channel says why it has
nothing rather than quietly giving what was there before. Revocation is about a version, in every channel.
"""

import re
from collections.abc import Callable, Sequence

from fair_distill.errors import ConfigError, IntegrityError, Refused
from fair_distill.registry.entry import Entry, Event

_NUMBER = re.compile(r"v([1-9][0-9]{0,11})")
_DIGEST = re.compile(r"sha256:([0-9a-f]{12,64})")


class Withdrawn(IntegrityError):
    """The version was revoked, or demoted from the channel it is asked for. The message gives the reason."""


def published(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the versions in the order of their publishing: v1, v2, …"""
    return tuple(entry.version for entry in entries if entry.event == "publish")


def version_number(entries: Sequence[Entry], version: str) -> int:
    """Return N of the version's short name vN."""
    versions = published(entries)
    if version not in versions:
        raise ConfigError(f"version {version[:12]}… is not published here; there are {len(versions)} versions")
    return versions.index(version) + 1


def channels(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the channels that were ever used, in the order of their first use."""
    return tuple(dict.fromkeys(entry.channel for entry in entries if entry.channel is not None))


def in_force(entries: Sequence[Entry], channel: str) -> Entry | None:
    """Return the entry that put the channel's present version there: a promotion or a rollback."""
    pile = _pile(entries, channel)
    return pile[-1] if pile and pile[-1].event != "demote" else None


def last_in_force(entries: Sequence[Entry], channel: str) -> Entry | None:
    """Return the entry in force in a channel; where that was demoted, the one that was in force before it."""
    put = [entry for entry in entries if entry.channel == channel and entry.event in ("promote", "rollback")]
    return in_force(entries, channel) or (put[-1] if put else None)


def current(entries: Sequence[Entry], channel: str) -> str | None:
    """Return the version in force in a channel, revoked or not; None if there is none."""
    entry = in_force(entries, channel)
    return entry.version if entry else None


def holds(entries: Sequence[Entry], version: str, channel: str) -> bool:
    """Say whether the version is or was in the channel, and has not been demoted from it since."""
    events = [entry.event for entry in entries if (entry.version, entry.channel) == (version, channel)]
    return bool(events) and events[-1] != "demote"


def previous(
    entries: Sequence[Entry], channel: str, *, usable: Callable[[Entry], bool] = lambda entry: True
) -> Entry | None:
    """Return the entry a rollback goes back to: the last below the top whose version may still be used.

    Parameters
    ----------
    usable : says whether the ground of an entry holds; entries alone do not show it, since waivers expire
    """
    there = current(entries, channel)
    for entry in reversed(_pile(entries, channel)[:-1]):
        if entry.version == there:  # promoted again, on another verdict
            continue
        if holds(entries, entry.version, channel) and not revocation(entries, entry.version) and usable(entry):
            return entry
    return None


def revocation(entries: Sequence[Entry], version: str) -> Entry | None:
    """Return the entry that revoked a version."""
    return next((entry for entry in entries if (entry.event, entry.version) == ("revoke", version)), None)


def last_about(entries: Sequence[Entry], channel: str) -> int:
    """Return the number of the last entry about a channel, 0 if there is none."""
    return max((entry.number for entry in entries if entry.channel == channel), default=0)


def written_by(
    entries: Sequence[Entry], nonce: str, *, event: Event, channel: str, version: str | None = None
) -> Entry | None:
    """Return the entry that an operation wrote about a channel (and a version, if given); None if it wrote none.

    Raises
    ------
    Refused
        If later entries changed the channel: then the channel is not as the operation left it.
    """
    wanted = [one for one in entries if (one.nonce, one.event, one.channel) == (nonce, event, channel)]
    entry = next((one for one in wanted if version in (None, one.version)), None)
    if entry is not None and last_about(entries, channel) != entry.number:
        raise Refused(
            f"{entry.name}: the operation {nonce} was done, as entry {entry.number}, and entry "
            f"{last_about(entries, channel)} changed {channel} since; nothing was written. Run the command again, "
            "without --operation, if it is still wanted"
        )
    return entry


def refuse_revoked(entries: Sequence[Entry], version: str) -> None:
    """Raise Withdrawn, with the reason, if the version was revoked."""
    stone = revocation(entries, version)
    if stone:
        raise Withdrawn(
            f"v{version_number(entries, version)} of {stone.name} was revoked at {stone.time} by {stone.who}: "
            f"{stone.reason}"
        )


def resolve(entries: Sequence[Entry], selector: str) -> str:
    """Return the version that a selector names: a channel, `v12`, or `sha256:` and 12 or more hex digits.

    Raises
    ------
    ConfigError
        If there is no such version or channel, or the digits fit more than one version.
    Withdrawn
        If the channel's version was demoted and nothing followed it.
    """
    if not entries:
        raise ConfigError("nothing is published under this name")
    versions, reference = published(entries), f"{entries[0].name}@{selector}"
    number, digest = _NUMBER.fullmatch(selector), _DIGEST.fullmatch(selector)
    if number:
        if int(number[1]) > len(versions):
            raise ConfigError(f"there is no {reference}; the newest version is v{len(versions)}")
        return versions[int(number[1]) - 1]
    if digest:
        found = [version for version in versions if version.startswith(digest[1])]
        if len(found) != 1:
            raise ConfigError(f"{reference} fits {len(found)} of {len(versions)} versions; give more digits, or others")
        return found[0]
    if selector not in channels(entries):
        raise ConfigError(
            f"there is no {reference}; ask for a channel ({', '.join(channels(entries)) or 'none is used yet'}), "
            f"for v1 to v{len(versions)}, or for sha256: and 12 or more digits"
        )
    entry = in_force(entries, selector)
    if entry is None:
        stone = _pile(entries, selector)[-1]
        raise Withdrawn(
            f"{reference} is nothing at present: v{version_number(entries, stone.version)} was demoted at {stone.time} "
            f"by {stone.who}: {stone.reason}"
        )
    if entry.version not in versions:
        raise IntegrityError(f"entry {entry.number} puts {entry.version[:12]}… at {reference}; it was never published")
    return entry.version


def _pile(entries: Sequence[Entry], channel: str) -> list[Entry]:
    pile: list[Entry] = []
    for entry in entries:
        if entry.channel != channel:
            continue
        if entry.event == "rollback":
            while pile and (pile[-1].event == "demote" or pile[-1].version != entry.version):
                pile.pop()
        replaces = entry.event in ("rollback", "demote")
        if replaces and (not pile or pile.pop().version != entry.version):
            raise IntegrityError(f"entry {entry.number}: {entry.event} of a version that {channel} does not have then")
        pile.append(entry)
    return pile
