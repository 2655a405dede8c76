"""Compute which version is in force in each channel from the ledger's entries. All functions are pure.

A channel is a stack of entries. Promotion pushes a version. Rollback pops the entries above the version that it returns
to. Demotion replaces the top entry by a tombstone, so that the channel reports why it has no version and does not
silently return to the previous one. Revocation applies to a version in every channel.
"""

import re
from collections.abc import Callable, Sequence

from fair_distill.errors import ConfigError, IntegrityError, Refused
from fair_distill.registry.entry import Entry, Event

_NUMBER = re.compile(r"v([1-9][0-9]{0,11})")
_DIGEST = re.compile(r"sha256:([0-9a-f]{12,64})")


class Withdrawn(IntegrityError):
    """The version was revoked, or demoted from the requested channel. The message gives the reason."""


def published(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the published versions in the order of publication: v1, v2, …"""
    return tuple(entry.version for entry in entries if entry.event == "publish")


def version_number(entries: Sequence[Entry], version: str) -> int:
    """Return N of the version's short name vN. Raises ConfigError if the version is not published."""
    versions = published(entries)
    if version not in versions:
        raise ConfigError(f"version {version[:12]}… is not published here; there are {len(versions)} versions")
    return versions.index(version) + 1


def channels(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the channels that were used, in the order of their first use."""
    return tuple(dict.fromkeys(entry.channel for entry in entries if entry.channel is not None))


def in_force(entries: Sequence[Entry], channel: str) -> Entry | None:
    """Return the promotion or rollback that put the current version in a channel; None if it has no version."""
    stack = _stack(entries, channel)
    return stack[-1] if stack and stack[-1].event != "demote" else None


def last_in_force(entries: Sequence[Entry], channel: str) -> Entry | None:
    """Return the entry in force in a channel; after a demotion, the entry that was in force before it."""
    put = [entry for entry in entries if entry.channel == channel and entry.event in ("promote", "rollback")]
    return in_force(entries, channel) or (put[-1] if put else None)


def current(entries: Sequence[Entry], channel: str) -> str | None:
    """Return the version in force in a channel, even if it was revoked; None if the channel is empty."""
    entry = in_force(entries, channel)
    return entry.version if entry else None


def holds(entries: Sequence[Entry], version: str, channel: str) -> bool:
    """Return whether a version is or was in a channel and was not demoted from it afterwards."""
    events = [entry.event for entry in entries if (entry.version, entry.channel) == (version, channel)]
    return bool(events) and events[-1] != "demote"


def previous(
    entries: Sequence[Entry], channel: str, *, usable: Callable[[Entry], bool] = lambda entry: True
) -> Entry | None:
    """Return the entry that a rollback returns to: the newest one below the top whose version may still be used.

    Parameters
    ----------
    usable : returns whether the ground of an entry is valid. The entries do not show it, because waivers expire
    """
    version = current(entries, channel)
    for entry in reversed(_stack(entries, channel)[:-1]):
        if entry.version == version:  # it was promoted again, on another verdict
            continue
        if holds(entries, entry.version, channel) and not revocation(entries, entry.version) and usable(entry):
            return entry
    return None


def revocation(entries: Sequence[Entry], version: str) -> Entry | None:
    """Return the entry that revoked a version; None if it was not revoked."""
    return next((entry for entry in entries if (entry.event, entry.version) == ("revoke", version)), None)


def last_about(entries: Sequence[Entry], channel: str) -> int:
    """Return the number of the last entry about a channel; 0 if the channel was never used."""
    return max((entry.number for entry in entries if entry.channel == channel), default=0)


def written_by(
    entries: Sequence[Entry], nonce: str, *, event: Event, channel: str, version: str | None = None
) -> Entry | None:
    """Return the entry that an operation wrote about a channel and, if given, a version; None if it wrote none.

    Raises
    ------
    Refused
        If later entries changed the channel, so that it no longer has the state after the operation.
    """
    matches = [entry for entry in entries if (entry.nonce, entry.event, entry.channel) == (nonce, event, channel)]
    entry = next((match for match in matches if version in (None, match.version)), None)
    if entry is not None and last_about(entries, channel) != entry.number:
        raise Refused(
            f"{entry.name}: the operation {nonce} is entry {entry.number}, and entry {last_about(entries, channel)} "
            f"changed {channel} afterwards; nothing was written. To repeat the change, run the command again without "
            "--operation"
        )
    return entry


def refuse_revoked(entries: Sequence[Entry], version: str) -> None:
    """Raise Withdrawn, with the reason, if the version was revoked."""
    tombstone = revocation(entries, version)
    if tombstone:
        raise Withdrawn(
            f"v{version_number(entries, version)} of {tombstone.name} was revoked at {tombstone.time} by "
            f"{tombstone.who}: {tombstone.reason}"
        )


def resolve(entries: Sequence[Entry], selector: str) -> str:
    """Return the version that a selector names.

    Parameters
    ----------
    selector : a channel, `v12`, or `sha256:` and 12 or more hex digits

    Raises
    ------
    ConfigError
        If the version or channel does not exist, or several versions start with the digits.
    Withdrawn
        If the channel's version was demoted and the channel is empty.
    """
    if not entries:
        raise ConfigError("nothing is published under this name")
    versions, reference = published(entries), f"{entries[0].name}@{selector}"
    number, digest = _NUMBER.fullmatch(selector), _DIGEST.fullmatch(selector)
    if number:
        if int(number[1]) > len(versions):
            raise ConfigError(f"{reference} does not exist; the newest version is v{len(versions)}")
        return versions[int(number[1]) - 1]
    if digest:
        matches = [version for version in versions if version.startswith(digest[1])]
        if len(matches) != 1:
            raise ConfigError(
                f"{len(matches)} of {len(versions)} versions start with the digits of {reference}; pass others"
            )
        return matches[0]
    if selector not in channels(entries):
        raise ConfigError(
            f"{reference} does not exist; use a channel ({', '.join(channels(entries)) or 'none has a version yet'}), "
            f"v1 to v{len(versions)}, or sha256: and 12 or more digits"
        )
    entry = in_force(entries, selector)
    if entry is None:
        tombstone = _stack(entries, selector)[-1]
        raise Withdrawn(
            f"{reference} has no version now: v{version_number(entries, tombstone.version)} was demoted at "
            f"{tombstone.time} by {tombstone.who}: {tombstone.reason}"
        )
    if entry.version not in versions:
        raise IntegrityError(
            f"entry {entry.number} puts {entry.version[:12]}… at {reference}; that version was never published"
        )
    return entry.version


def _stack(entries: Sequence[Entry], channel: str) -> list[Entry]:
    """Return the stack of a channel: the entries that rollback has not popped, oldest first."""
    stack: list[Entry] = []
    for entry in entries:
        if entry.channel != channel:
            continue
        if entry.event == "rollback":
            while stack and (stack[-1].event == "demote" or stack[-1].version != entry.version):
                stack.pop()
        replaces = entry.event in ("rollback", "demote")
        if replaces and (not stack or stack.pop().version != entry.version):
            raise IntegrityError(
                f"entry {entry.number}: {entry.event} of a version that {channel} did not have at that point"
            )
        stack.append(entry)
    return stack
