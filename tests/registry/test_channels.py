"""What is in force, read off entries. v1, v2, … stand for versions in the order of their publishing."""

import pytest
from small_registry import NAME, MemoryStore

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.registry.channels import (
    Withdrawn,
    channels,
    current,
    holds,
    previous,
    published,
    refuse_revoked,
    resolve,
    version_number,
)
from fair_distill.registry.entry import Draft, Entry
from fair_distill.registry.ledger import append, read_ledger

VERSIONS = {"v1": "a" * 64, "v2": "a" * 20 + "b" * 44, "v3": "c" * 64}


def entries(history: str) -> tuple[Entry, ...]:
    """Return the ledger of a history: `+v1` publishes, `v1>prod` promotes, `v1<prod` rolls back to it,
    `v1!prod` demotes, `-v1` revokes."""
    store = MemoryStore()
    for i, step in enumerate(history.split()):
        if step[0] in "+-":
            event, version, channel = {"+": "publish", "-": "revoke"}[step[0]], step[1:], None
        else:
            version, sign, channel = step[:2], step[2], step[3:]
            event = {">": "promote", "<": "rollback", "!": "demote"}[sign]
        entry = Draft(
            event=event,
            version=VERSIONS[version],
            channel=channel,
            verdict="d" * 64 if event in ("promote", "rollback") else None,
            reason="skewed after all",
            who="ada",
            time="2026-03-03T12:00:00Z",
            nonce=str(i),
        )
        append(store, NAME, lambda _, entry=entry: entry)
    return read_ledger(store, NAME)


@pytest.mark.parametrize(
    ("history", "in_force"),
    [
        ("+v1", None),
        ("+v1 v1>prod", "v1"),
        ("+v1 v1>test", None),
        ("+v1 +v2 v1>prod v2>prod", "v2"),
        ("+v1 +v2 v1>prod v2>prod v1<prod", "v1"),
        ("+v1 +v2 v1>prod v2>prod v1<prod v2>prod", "v2"),
        ("+v1 +v2 +v3 v1>prod v2>prod v3>prod v2<prod v1<prod", "v1"),
        ("+v1 +v2 v1>prod v2>test v2>prod v1<prod", "v1"),
        ("+v1 v1>prod v1!prod", None),
        ("+v1 +v2 v1>prod v2>prod v2!prod", None),
        ("+v1 +v2 v1>prod v2>prod v2!prod v1<prod", "v1"),
        ("+v1 v1>prod v1!prod v1>prod", "v1"),
        ("+v1 v1>prod -v1", "v1"),  # consumers are refused it, with the reason; it is not quietly replaced
    ],
)
def test_the_version_in_force_follows_from_the_entries(history: str, in_force: str | None):
    assert current(entries(history), "prod") == (VERSIONS[in_force] if in_force else None)


@pytest.mark.parametrize(
    ("history", "back_to"),
    [
        ("+v1", None),
        ("+v1 v1>prod", None),
        ("+v1 +v2 v1>prod v2>prod", "v1"),
        ("+v1 +v2 v1>prod v2>prod -v1", None),
        ("+v1 +v2 +v3 v1>prod v2>prod v3>prod -v2", "v1"),
        ("+v1 +v2 v1>prod v2>prod v1<prod", None),
        ("+v1 +v2 +v3 v1>prod v2>prod v1<prod v3>prod", "v1"),
        ("+v1 +v2 v1>prod v2>prod v2!prod", "v1"),
        ("+v1 +v2 v1>prod v2>prod v1>prod v1!prod", "v2"),
        ("+v1 +v2 +v3 v1>prod v2>prod v2!prod v3>prod", "v1"),
    ],
)
def test_a_rollback_goes_to_the_last_version_that_may_still_be_used(history: str, back_to: str | None):
    entry = previous(entries(history), "prod")

    assert (entry.version if entry else None) == (VERSIONS[back_to] if back_to else None)


def test_versions_are_numbered_in_the_order_of_their_publishing():
    ledger = entries("+v1 v1>prod +v2 +v3")

    assert published(ledger) == tuple(VERSIONS.values())
    assert [version_number(ledger, version) for version in VERSIONS.values()] == [1, 2, 3]
    with pytest.raises(ConfigError, match="not published"):
        version_number(ledger, "e" * 64)


def test_a_version_holds_a_channel_until_it_is_demoted_from_it():
    ledger = entries("+v1 +v2 v1>prod v2>prod v1<prod v1!prod")

    assert not holds(ledger, VERSIONS["v1"], "prod")
    assert holds(ledger, VERSIONS["v2"], "prod")
    assert not holds(ledger, VERSIONS["v2"], "test")


@pytest.mark.parametrize(
    ("selector", "version"),
    [
        ("prod", "v2"),
        ("v1", "v1"),
        ("v3", "v3"),
        (f"sha256:{'c' * 12}", "v3"),
        (f"sha256:{'a' * 64}", "v1"),
        (f"sha256:{'a' * 20}b", "v2"),
    ],
)
def test_a_selector_names_one_version(selector: str, version: str):
    assert resolve(entries("+v1 +v2 +v3 v2>prod"), selector) == VERSIONS[version]


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("v4", "digits@v4 does not exist; the newest version is v3"),
        ("v0", "digits@v0 does not exist; use a channel"),
        ("v01", "digits@v01 does not exist"),
        (f"v{'9' * 5000}", "digits@v999"),
        ("staging", r"digits@staging does not exist; use a channel \(prod\), v1 to v3"),
        (f"sha256:{'a' * 12}", "2 of 3 versions start with"),
        (f"sha256:{'e' * 12}", "0 of 3 versions start with"),
        (f"sha256:{'c' * 11}", "use a channel"),
        (f"sha256:{'C' * 12}", "use a channel"),
        ("", "use a channel"),
    ],
)
def test_a_selector_that_names_none_or_two_says_what_there_is(selector: str, message: str):
    with pytest.raises(ConfigError, match=message):
        resolve(entries("+v1 +v2 +v3 v2>prod"), selector)


def test_a_channel_whose_version_was_demoted_says_why_it_has_none():
    with pytest.raises(
        Withdrawn, match=r"digits@prod .*v2 was demoted at 2026-03-03T12:00:00Z by ada: skewed after all"
    ):
        resolve(entries("+v1 +v2 v1>prod v2>prod v2!prod"), "prod")


def test_a_revoked_version_is_refused_with_the_reason():
    ledger = entries("+v1 +v2 -v2")

    refuse_revoked(ledger, VERSIONS["v1"])
    with pytest.raises(Withdrawn, match="v2 of digits was revoked at 2026-03-03T12:00:00Z by ada: skewed after all"):
        refuse_revoked(ledger, VERSIONS["v2"])


def test_channels_come_in_the_order_of_their_first_use():
    assert channels(entries("+v1 v1>test v1>prod v1>test")) == ("test", "prod")


@pytest.mark.parametrize(
    "history", ["+v1 v1<prod", "+v1 v1!prod", "+v1 +v2 v1>prod v2!prod", "+v1 +v2 v1>prod v2<prod"]
)
def test_an_entry_that_does_not_fit_the_ones_before_it_is_refused_by_its_number(history: str):
    with pytest.raises(IntegrityError, match=f"entry {len(history.split())}"):
        current(entries(history), "prod")


def test_a_channel_of_a_version_that_was_never_published_is_refused():
    with pytest.raises(IntegrityError, match="never published"):
        resolve(entries("+v1 v2>prod"), "prod")
