"""IAM policies of roles: they allow exactly the keys that the commands of the role use, and nothing else."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from places import Bucket
from small_attempts import numbered, take
from small_erasures import erase, made_from, ship_with_units
from small_registry import NAME, NOW, enter, package, promote, publish, ship
from small_workspace import run

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import sha256
from fair_distill.registry import release, retraction
from fair_distill.registry.access import ROLES, iam_policy, iam_policy_json
from fair_distill.registry.actor import Actor
from fair_distill.registry.client import load
from fair_distill.registry.garbage_collection import GarbageRecord, Head, KnownHeads, check_ledgers, garbage, remove
from fair_distill.registry.layout import object_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.regate_record import write_regate
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.verify import verify
from fair_distill.storage import s3_client
from fair_distill.storage.schemes import open_store
from fair_distill.storage.store import Absent

ONE, TWO = package(1), package(2)
POLICIES = Path(__file__).parents[2] / "examples" / "registry"
ACTIONS = {
    "PutObject": "s3:PutObject",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "DeleteObject": "s3:DeleteObject",
}


def permits(policy: dict[str, Any], name: str, parameters: dict[str, Any]) -> bool:
    """Return whether a policy permits an S3 call, by the rules of IAM: a statement allows it, and none denies it."""
    key = parameters.get("Key")
    resource = f"arn:aws:s3:::{parameters['Bucket']}" + (f"/{key}" if key is not None else "")
    context = {"s3:prefix": parameters.get("Prefix"), "s3:if-none-match": parameters.get("IfNoneMatch")}

    def matches(statement: dict[str, Any]) -> bool:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        conditions = statement.get("Condition", {})
        like = conditions.get("StringLike", {}).items()
        null = conditions.get("Null", {}).items()
        return (
            ACTIONS[name] in actions
            and any(_like(pattern, resource) for pattern in statement["Resource"])
            and all(context[key] is not None and _like(pattern, context[key]) for key, pattern in like)
            and all((context[key] is None) == (value == "true") for key, value in null)
        )

    effects = [statement["Effect"] for statement in policy["Statement"] if matches(statement)]
    return "Allow" in effects and "Deny" not in effects


def _like(pattern: str, text: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text) is not None


@dataclass
class Enforced:
    """Which role's policy is applied to the calls of the clients, and the calls that it denied."""

    policy: dict[str, Any] | None = None
    denied: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@pytest.fixture
def enforced(server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Enforced:
    """Apply a policy to every call of a client of the package: a call that it denies fails as on S3."""
    from botocore.exceptions import ClientError

    state, client_of = Enforced(), s3_client._client

    def check(params: dict[str, Any], model: Any, **_: Any) -> None:
        if state.policy is not None and not permits(state.policy, model.name, params):
            state.denied.append((model.name, params))
            answer = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
            raise ClientError(answer, model.name)

    def checked(*arguments: Any) -> Any:
        client = client_of(*arguments)
        client.meta.events.register("provide-client-params.s3", check)
        return client

    monkeypatch.setattr(s3_client, "_client", checked)
    monkeypatch.setenv("FAIR_DISTILL_CACHE", "")
    return state


@pytest.mark.parametrize("role", ROLES)
def test_the_files_that_ship_are_what_the_command_prints(tmp_path: Path, role: str):
    expected = (POLICIES / f"iam-{role}.json").read_text()

    assert run(tmp_path, "registry", "iam", role, "--registry", "s3://BUCKET/PREFIX").out == expected


@pytest.mark.parametrize(
    ("role", "registry", "dataset", "message"),
    [
        ("admin", "s3://sets/vision", "*", "choose one of read, publish, promote, regate, erase, collect"),
        ("read", "s3://sets", "*", "IAM policies are for s3://bucket/prefix"),
        ("read", "registry", "*", "IAM policies are for s3://bucket/prefix"),
        ("read", "s3://sets/vision", "vision/../speech", "the dataset name"),
        ("read", "s3://sets/vision", "*/*", "the dataset name"),
        ("read", "s3://sets/vision", "vi*", "the dataset name"),
        ("read", "s3://sets/vision", "", "the dataset name"),
    ],
)
def test_a_policy_that_would_be_too_wide_is_refused(role: str, registry: str, dataset: str, message: str):
    with pytest.raises(ConfigError, match=re.escape(message)):
        iam_policy(role, registry, dataset=dataset)


def regate(store: RegistryStore) -> None:
    """Write what `regate` writes: other predictions of a published version, their verdict, a record and a demotion."""
    actor = Actor("nightly", NOW, "regate")
    take(store, numbered(range(50)))
    release.publish(
        store, NAME, ONE.manifest, ONE.files, predictions=ONE.predictions, verdicts=[ONE.verdict_bytes], actor=actor
    )
    verdict = sha256(ONE.verdict_bytes)
    write_regate(
        store, NAME, version=ONE.version, verdict=verdict, split=sha256(b""), outcome="fail", who="nightly", now=NOW
    )
    retraction.demote(store, NAME, ONE.version, "production", reason="drift", actor=actor)


def take_back(store: RegistryStore) -> None:
    for made in (ONE, TWO):
        promote(store, made)
    retraction.rollback(store, NAME, "production", reason="worse", actor=Actor("ada", NOW, "back"))
    retraction.revoke(store, NAME, TWO.version, reason="labels", actor=Actor("ada", NOW, "gone"))


def publish_both(store: RegistryStore) -> None:
    take(store, numbered(range(50)))
    for made in (ONE, TWO):
        publish(store, made)


def read_all(store: RegistryStore) -> None:
    del store
    load(f"{NAME}@v1")
    verify(NAME)


ACTS: dict[str, Callable[[RegistryStore], None]] = {
    "publish": publish_both,
    "promote": take_back,
    "read": read_all,
    "regate": regate,
}
# The roles that cannot do the work of another one. `regate` stores verdicts, so only keys keep it from promoting.
DENIED = {
    "publish": ("read", "promote", "regate", "collect"),
    "promote": ("read", "publish", "collect"),
    "read": (),
    "regate": ("read", "publish", "promote", "collect"),
}


def test_each_role_can_do_its_work_and_no_other_role_s(
    server: Bucket, enforced: Enforced, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FAIR_DISTILL_REGISTRY", server.url)
    for work, others in DENIED.items():  # in this order, each finds what the earlier ones wrote
        for role in others:
            enforced.policy = iam_policy(role, server.url, dataset=NAME)
            with pytest.raises(ConfigError, match="the credentials do not allow it"):
                ACTS[work](server.store())
        enforced.policy = iam_policy(work, server.url, dataset=NAME)
        ACTS[work](server.store())
        enforced.policy = None

    assert [entry.event for entry in read_ledger(server.store(), NAME)].count("revoke") == 1


def test_a_publisher_cannot_store_the_verdict_that_a_promotion_needs(server: Bucket, enforced: Enforced):
    enforced.policy = iam_policy("publish", server.url, dataset=NAME)
    publish(server.store(), ONE)

    with pytest.raises(ConfigError, match="the credentials do not allow it"):
        promote(server.store(), ONE)

    # The ledger cannot be denied to a publisher. An entry without a verdict is refused by every reader.
    enforced.policy = None
    enter(server.store(), event="promote", version=ONE.version, channel="production", verdict=sha256(b"invented"))
    with pytest.raises(IntegrityError):
        load(f"{NAME}@production", registry=server.url)


def test_a_role_of_one_dataset_changes_no_other_ledger_of_the_registry(server: Bucket, enforced: Enforced):
    enforced.policy = iam_policy("publish", server.url, dataset="vision/*")

    publish(server.store(), ONE, name="vision/digits")
    for name in (NAME, "speech/digits"):
        with pytest.raises(ConfigError, match="the credentials do not allow it"):
            publish(server.store(), ONE, name=name)

    enforced.policy = None
    assert read_ledger(server.store(), NAME) == read_ledger(server.store(), "speech/digits") == ()


def test_the_erase_role_erases_a_person_and_no_other_role_can(server: Bucket, enforced: Enforced):
    made = made_from([1, 2, 3], seed=1)
    ship_with_units(server.store(), made, [1, 2, 3])
    take(server.store(), numbered(range(20)))
    people = (2, int(numbered(range(20)).contents[0]))
    for role in ("read", "publish", "promote", "regate", "collect"):
        enforced.policy = iam_policy(role, server.url, dataset=NAME)
        store = server.store()
        with pytest.raises(ConfigError, match="the credentials do not allow it"):
            erase(store, *people)

    enforced.policy = iam_policy("erase", server.url, dataset=NAME)
    store = server.store()
    removed = erase(store, *people)

    assert {key.split("/")[0] for key in removed} == {"attempts", "objects", "units", "versions"}
    with pytest.raises(IntegrityError, match="revoked"):
        load(f"{NAME}@v1", registry=server.url)


def test_gc_has_the_rights_that_it_needs_and_cannot_remove_the_history(server: Bucket, enforced: Enforced):
    ship(server.store(), ONE)
    lost = object_key("0" * 32)
    server.put(lost, b"left by a publication that crashed")
    entries = read_ledger(server.store(), NAME)
    known = KnownHeads(server.url, confirmed={NAME: Head(len(entries), entries[-1].digest)})
    enforced.policy = iam_policy("collect", server.url)
    store, day = server.store(), NOW + timedelta(days=1)

    record = GarbageRecord(day, garbage(store, now=day), check_ledgers(store, known, now=day))
    assert remove(store, record, now=NOW + timedelta(days=2), delete=store.remove) == (lost,)

    for role in ("collect", "erase"):
        enforced.policy = iam_policy(role, server.url)
        for key in ("ledger/digits/000000000001.json", "attempts/record/000000000001.json", "erasures/lists/a.json"):
            with pytest.raises(ConfigError, match="the credentials do not allow it"):
                server.store().remove(key)
    with pytest.raises(ConfigError, match="the credentials do not allow it"):
        server.store().remove(f"versions/{ONE.version}/manifest.json")


@pytest.mark.parametrize("role", ROLES)
def test_no_role_replaces_a_content_or_leaves_its_prefix(role: str):
    policy = iam_policy(role, "s3://sets/vision")
    here, elsewhere = {"Bucket": "sets", "Key": "vision/ledger/digits/1.json"}, {"Bucket": "sets", "Key": "speech/a"}

    assert permits(policy, "GetObject", here)
    assert not permits(policy, "PutObject", here)  # without `If-None-Match`
    assert not any(permits(policy, name, elsewhere | {"IfNoneMatch": "*"}) for name in ACTIONS if "List" not in name)
    for prefix in ("", "speech/", "vision"):
        assert not permits(policy, "ListObjectsV2", {"Bucket": "sets", "Prefix": prefix})
    assert permits(policy, "ListObjectsV2", {"Bucket": "sets", "Prefix": "vision/ledger/"})


def test_policies_are_small_enough_for_iam():
    for role in ROLES:
        content = iam_policy_json(role, "s3://a-bucket-with-a-long-name/teams/vision", dataset="vision/digits")
        assert len(re.sub(r"\s", "", content.decode())) < 6144  # the quota of a managed policy
        assert json.loads(content)["Version"] == "2012-10-17"


@pytest.mark.parametrize("listing", ["absent", "present", "denied"])
def test_a_denied_read_of_an_absent_key_is_absent_if_the_listing_shows_it(
    server: Bucket, enforced: Enforced, listing: str
):
    """S3 answers 403 for an absent key if the credentials may list only a prefix of the bucket."""
    if listing == "present":
        server.put("ledger/a", b"1")
        server.put("ledger/a.json", b"1")
    server.put("ledger/ab", b"1")
    policy = iam_policy("read", server.url)
    policy["Statement"] = [one for one in policy["Statement"] if one["Sid"] == "List" and listing != "denied"]
    enforced.policy = policy
    store = open_store(server.url, source="--registry")

    if listing == "absent":
        assert not store.exists("ledger/a")
        with pytest.raises(Absent):
            store.read("ledger/a")
    else:
        for act in (store.exists, store.read):
            with pytest.raises(ConfigError, match="the credentials do not allow it"):
                act("ledger/a")
