"""People who must agree: how many, by whose keys, to which version, under which policy."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pydantic import ValidationError
from small_registry import NAME, NOW, ORDER, MemoryStore, local_registry, package, ship

from fair_distill.config import Approvals
from fair_distill.errors import ConfigError, IntegrityError, Undecided
from fair_distill.registry.actor import Actor
from fair_distill.registry.admission import required
from fair_distill.registry.approvals import approve, approved_by
from fair_distill.registry.channels import current
from fair_distill.registry.client import load, look_up
from fair_distill.registry.export.evidence_bundle import evidence
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.pins import pin
from fair_distill.registry.release import promote, publish
from fair_distill.registry.retraction import revoke
from fair_distill.registry.verify import verify
from fair_distill.statements import Signer, new_key, signer

ONE, TWO = package(1), package(2)
POLICY = ONE.verdict.policy
Key = tuple[Signer, str]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[Key]:
    """Three people's."""
    found = []
    for name in ("ann", "ben", "eve"):
        private, public = new_key()
        path = tmp_path_factory.mktemp("keys") / name
        path.write_bytes(private)
        found.append((signer(path), public))
    return found


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    for made in (ONE, TWO):
        said = {"predictions": made.predictions, "verdicts": [made.verdict_bytes], "provenance": made.provenance}
        publish(store, NAME, made.manifest, made.files, **said, actor=Actor("ann", NOW, made.version))
    return store


def promoted(store: MemoryStore, channel: str, **rules: Approvals) -> str | None:
    grounds = {"verdict": ONE.verdict, "verdict_bytes": ONE.verdict_bytes, "approvals": rules}
    promote(store, NAME, ONE.version, channel, order=ORDER, **grounds, actor=Actor("ann", NOW, channel))
    return current(read_ledger(store, NAME), channel)


def rule(at_least: int, keys: list[Key]) -> Approvals:
    return Approvals(at_least=at_least, by=[public for _, public in keys])


def test_a_channel_is_had_once_enough_have_agreed(store: MemoryStore, keys: list[Key]) -> None:
    for given in range(2):
        with pytest.raises(Undecided, match=f"production needs 2 approvals .* it has {given}"):
            promoted(store, "production", production=rule(2, keys))
        assert all(current(read_ledger(store, NAME), channel) is None for channel in ORDER)
        approve(store, NAME, ONE.version, policy=POLICY, sign=keys[given][0])

    assert promoted(store, "production", production=rule(2, keys)) == ONE.version


def test_channels_on_the_way_ask_too_and_others_do_not(store: MemoryStore, keys: list[Key]) -> None:
    with pytest.raises(Undecided, match="staging needs"):
        promoted(store, "production", staging=rule(1, keys))

    assert promoted(store, "candidate", staging=rule(1, keys)) == ONE.version


def test_one_person_counts_once_and_twice_is_nothing_new(store: MemoryStore, keys: list[Key]) -> None:
    give = partial(approve, store, NAME, ONE.version, policy=POLICY, sign=keys[0][0])
    give()
    before = dict(store.content)
    give()

    assert store.content == before
    assert approved_by(store, NAME, ONE.version, policy=POLICY, keys=[k for _, k in keys]) == (keys[0][1],)


@pytest.mark.parametrize("which", ["another version", "another policy", "another person", "another data set"])
def test_what_was_approved_is_this_version_under_this_policy_by_these_people(
    which: str, store: MemoryStore, keys: list[Key]
) -> None:
    if which == "another version":
        approve(store, NAME, TWO.version, policy=POLICY, sign=keys[0][0])
        for key, content in list(store.content.items()):  # carried over to where it does not belong
            store.content[key.replace(TWO.version, ONE.version)] = content
    elif which == "another policy":
        approve(store, NAME, ONE.version, policy="0" * 64, sign=keys[0][0])
    elif which == "another person":
        approve(store, NAME, ONE.version, policy=POLICY, sign=keys[2][0])
    else:
        publish(store, "faces", ONE.manifest, ONE.files, actor=Actor("ann", NOW, "faces"))
        approve(store, "faces", ONE.version, policy=POLICY, sign=keys[0][0])

    with pytest.raises(Undecided, match="it has 0"):
        promoted(store, "production", production=rule(1, keys[:2]))


def test_what_was_revoked_is_not_approved(store: MemoryStore, keys: list[Key]) -> None:
    revoke(store, NAME, ONE.version, reason="a leak", actor=Actor("ann", NOW, "r"))

    with pytest.raises(IntegrityError, match="a leak"):
        approve(store, NAME, ONE.version, policy=POLICY, sign=keys[0][0])


def test_a_rule_that_nobody_can_meet_is_none(keys: list[Key]) -> None:
    with pytest.raises(ValidationError, match="at_least is 4"):
        rule(4, keys)
    with pytest.raises(ValidationError, match="twice"):
        Approvals(at_least=1, by=[keys[0][1]] * 2)


# Consumers, who may require approvals too: a registry whose publisher did not ask for any is refused.


@pytest.fixture
def shipped(root: Path) -> str:
    """v1 in every channel, approved by nobody."""
    ship(local_registry(root), ONE)
    return str(root)


@pytest.mark.parametrize("call", [load, look_up, verify, evidence])
def test_a_consumer_takes_a_channel_only_once_enough_have_agreed(
    shipped: str, keys: list[Key], call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = f"production=2 {' '.join(public for _, public in keys)}"
    monkeypatch.setenv("FAIR_DISTILL_APPROVALS", rules)
    for given in range(2):
        with pytest.raises(IntegrityError, match=f"digits@production has {given} of the 2 approvals required here"):
            call(f"{NAME}@production", registry=shipped)
        approve(local_registry(Path(shipped)), NAME, ONE.version, policy=POLICY, sign=keys[given][0])

    assert call(f"{NAME}@production", registry=shipped)


def test_what_a_consumer_requires_is_of_a_channel_and_may_be_given_in_the_call(
    shipped: str, keys: list[Key], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = {"production": rule(1, keys)}
    lock = tmp_path / "lock"
    pin(lock, f"{NAME}@production", ONE.version, registry=shipped)

    for where in ({}, {"lock": lock}):
        with pytest.raises(IntegrityError, match="0 of the 1 approvals"):
            load(f"{NAME}@production", registry=shipped, approvals=asks, **where)
    assert load(f"{NAME}@staging", registry=shipped, approvals=asks)
    assert load(f"{NAME}@v1", registry=shipped, approvals=asks)  # a number promises the bytes alone

    approve(local_registry(Path(shipped)), NAME, ONE.version, policy="0" * 64, sign=keys[0][0])
    with pytest.raises(IntegrityError, match=f"under the policy {POLICY[:12]}"):
        load(f"{NAME}@production", registry=shipped, approvals=asks)
    approve(local_registry(Path(shipped)), NAME, ONE.version, policy=POLICY, sign=keys[0][0])
    for where in ({}, {"lock": lock}):
        assert load(f"{NAME}@production", registry=shipped, approvals=asks, **where)

    monkeypatch.setenv("FAIR_DISTILL_APPROVALS", f"production=3 {' '.join(public for _, public in keys)}")
    assert load(f"{NAME}@production", registry=shipped, approvals={})  # the argument counts, not the environment


def test_the_environment_names_rules_by_channel(keys: list[Key], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (public for _, public in keys)
    monkeypatch.setenv("FAIR_DISTILL_APPROVALS", f"production = 2 {first},{second} ; staging=1 {third};")

    assert required(None) == {
        "production": Approvals(at_least=2, by=[first, second]),
        "staging": Approvals(at_least=1, by=[third]),
    }
    monkeypatch.delenv("FAIR_DISTILL_APPROVALS")
    assert required(None) == {}


@pytest.mark.parametrize(
    "text", ["production", "production=", "production=two ed25519:00", "production=1", "=1 x", ",", ";", " ; "]
)
def test_rules_that_are_none_are_one_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIR_DISTILL_APPROVALS", text)

    with pytest.raises(ConfigError, match=r"FAIR_DISTILL_APPROVALS(:| is) ") as refusal:
        required(None)
    assert "\n" not in str(refusal.value)
