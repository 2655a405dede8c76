"""What a server can do to a promotion: it is asked again, or the command says one line; never a wrong channel."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from faulty import LASTING, PASSING, Plan, proxy
from places import REAL, Bucket
from small_registry import NAME, ORDER, Package, events, package, promote, publish, ship

from fair_distill.errors import ConfigError, FairDistillError
from fair_distill.registry.channels import current
from fair_distill.registry.client import load
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import CheckedStore, open_registry
from fair_distill.registry.verify import verify
from fair_distill.storage.s3 import Patience, S3Store
from fair_distill.storage.store import Unanswered

OLD, NEW = package(1), package(2)
ATTEMPTS = 4
# Cut where nothing was to come but the news that it is written, which the first line brought.
ANSWERED = {("PUT", "truncated body"), ("PUT", "reset in mid-body")}


@pytest.fixture
def faulty(server: Bucket) -> Iterator[tuple[CheckedStore, Plan, list[float]]]:
    """A store behind a proxy, the plan of what goes wrong, and the waits of the store, which take no time."""
    with proxy(server.client.meta.endpoint_url) as (address, plan):
        config = Config(
            read_timeout=0.3,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        client = boto3.Session().client("s3", endpoint_url=address, config=config)
        waits: list[float] = []
        patience = Patience(attempts=ATTEMPTS, wait=waits.append, jitter=lambda: 1.0)
        storage = S3Store(server.bucket, server.prefix, client, source="--registry", patience=patience)
        yield CheckedStore(storage, {}), plan, waits


def shipped(made: Package) -> list[tuple[str, str | None, str]]:
    return [("publish", None, made.version), *(("promote", channel, made.version) for channel in ORDER)]


@pytest.mark.parametrize("fault", PASSING)
def test_a_release_of_which_every_request_goes_wrong_once_is_a_release(
    server: Bucket, faulty: tuple[CheckedStore, Plan, list[float]], fault: str
):
    store, plan, waits = faulty
    plan.fault, plan.spoils = fault, lambda number, method, path: (method, path) not in plan.asked[:-1]

    ship(store, OLD)

    assert events(read_ledger(server.store(), NAME)) == shipped(OLD)
    assert load(f"{NAME}@production", registry=server.url).images.tobytes() == OLD.set.images.tobytes()
    assert len(waits) >= 3
    # Entries are asked for together: a reset may also meet a connection that the next request was to have.
    assert {0.2} <= set(waits) <= {0.2, 0.4}


@pytest.mark.parametrize(
    ("at", "fault"), [case for case in product(["PUT", "GET"], [*PASSING, *LASTING]) if case not in ANSWERED]
)
def test_what_stays_is_one_line_and_the_channel_is_as_it_was(
    server: Bucket,
    faulty: tuple[CheckedStore, Plan, list[float]],
    at: str,
    fault: str,
    caplog: pytest.LogCaptureFixture,
):
    ship(server.store(), OLD)
    publish(server.store(), NEW)
    before = server.files()
    store, plan, waits = faulty
    caplog.set_level("DEBUG")
    plan.fault = fault
    plan.spoils = lambda number, method, path: method == at

    with pytest.raises(FairDistillError) as refusal:
        promote(store, NEW)

    assert refusal.value.exit_code == 2
    line = str(refusal.value)
    assert "\n" not in line
    assert "secret-of-tester" not in line + caplog.text
    assert "s3://" in line
    assert len(waits) <= 2 * (ATTEMPTS - 1)
    if fault in LASTING:
        assert waits == []
    after = server.files()
    assert {key: after[key] for key in before} == before
    assert current(read_ledger(server.store(), NAME), "production") == OLD.version
    promote(server.store(), NEW)
    assert current(read_ledger(server.store(), NAME), "production") == NEW.version
    assert verify(NAME, registry=server.url)


def test_a_put_whose_answer_is_always_lost_was_written_once(
    server: Bucket, faulty: tuple[CheckedStore, Plan, list[float]]
):
    store, plan, _ = faulty
    store.create("a/probe", b"")
    plan.fault, plan.spoils = "lost answer", lambda number, method, path: method == "PUT"

    with pytest.raises(Unanswered, match=r"may have been written; repeat the command"):
        store.create("a/b", b"mine")

    plan.spoils = lambda number, method, path: False
    assert store.read("a/b") == b"mine"


def test_a_lost_answer_is_not_taken_for_a_win_where_another_won(
    server: Bucket, faulty: tuple[CheckedStore, Plan, list[float]]
):
    store, plan, _ = faulty
    server.store().create("a/b", b"another's")
    store.create("a/probe", b"")
    first = len(plan.asked) + 1
    plan.fault, plan.spoils = "lost answer", lambda number, method, path: number == first

    assert store.create("a/b", b"mine") is False
    assert store.read("a/b") == b"another's"


def test_waits_grow_and_are_bounded(faulty: tuple[CheckedStore, Plan, list[float]]):
    store, plan, waits = faulty
    store.storage.patience = replace(store.storage.patience, attempts=8)
    plan.fault, plan.spoils = "503", lambda number, method, path: True

    with pytest.raises(Unanswered, match=r"503 SlowDown.*\(8 attempts\)"):
        store.read("a/b")

    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert len(plan.asked) == 8


def test_a_store_that_writes_a_key_twice_is_refused_before_anything_is_written(server: Bucket):
    store = server.store()
    # A server that knows no conditions does not see the header.
    store.storage.client.meta.events.register(
        "before-sign.s3.PutObject", lambda request, **_: request.headers.__delitem__("If-None-Match")
    )

    for _ in range(2):
        with pytest.raises(ConfigError, match=r"was written twice.*ignores `If-None-Match"):
            publish(store, OLD)

    assert server.files() == {}


def test_the_probe_is_made_once_a_command(server: Bucket):
    store = server.store()
    asked: list[str] = []
    store.storage.client.meta.events.register(
        "provide-client-params.s3.PutObject", lambda params, **_: asked.append(params["Key"])
    )

    store.create("a/b", b"")
    store.create("a/c", b"")

    assert [key.rpartition("/")[2] for key in asked] == [".create-only", ".create-only", "b", "c"]


@pytest.mark.skipif(not REAL, reason="moto checks no secrets; FAIR_DISTILL_S3 names a server that does (make test-s3)")
def test_a_wrong_key_is_one_line(server: Bucket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")

    with pytest.raises(ConfigError, match="the credentials are wrong") as refusal:
        load(f"{NAME}@production", registry=server.url)
    assert "another" not in str(refusal.value)


def test_an_endpoint_with_a_password_in_it_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="credentials are not allowed in a URL") as refusal:
        open_registry("s3://sets/registry?endpoint=https://ada:word@s3.example.org")
    assert "word" not in str(refusal.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://ada:word@s3.example.org")
    with pytest.raises(ConfigError, match="credentials are not allowed in a URL") as refusal:
        open_registry("s3://sets/registry")
    assert "word" not in str(refusal.value)


def test_a_bucket_that_is_gone_is_one_line(server: Bucket):
    with pytest.raises(ConfigError, match="the bucket does not exist"):
        load(f"{NAME}@production", registry="s3://nobodys-bucket/x")


CLUSTER = os.environ.get("FAIR_DISTILL_CEPH")
CEPH = Path(__file__).parents[1] / "s3" / "ceph.sh"


@pytest.mark.skipif(not CLUSTER, reason="FAIR_DISTILL_CEPH names no cluster to kill; make test-s3 does")
def test_a_server_that_is_killed_in_mid_promotion_and_started_again_lost_nothing(
    server: Bucket, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    store = server.store()
    ship(store, OLD)
    publish(store, NEW)
    puts = 0

    def kill(params: dict, **_: object) -> None:
        nonlocal puts
        puts += 1
        if puts == 3:  # the verdict, the entry for candidate, and then
            subprocess.run([CEPH, "kill", CLUSTER], check=True)

    store.storage.client.meta.events.register("provide-client-params.s3.PutObject", kill)
    with pytest.raises(FairDistillError, match=r"cannot write .*2 attempts"):
        promote(store, NEW)
    subprocess.run([CEPH, "start", CLUSTER], check=True)

    whole = [*shipped(OLD), *shipped(NEW)]
    done = events(read_ledger(server.store(), NAME))
    assert len(shipped(OLD)) + 2 <= len(done) < len(whole)
    assert done == whole[: len(done)]
    assert load(f"{NAME}@production", registry=server.url).images.tobytes() == OLD.set.images.tobytes()
    promote(server.store(), NEW)
    assert events(read_ledger(server.store(), NAME)) == whole
    assert verify(NAME, registry=server.url)
