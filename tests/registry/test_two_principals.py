"""Two teams with one bucket on a real Ceph: each does its work, and no forbidden write or read succeeds.

Run with `make test-s3`, which starts Ceph. The policies are those that `fair-distill registry iam` prints, as a bucket
policy with one principal for each role. Ceph 16 does not know the condition `s3:if-none-match`, so `NeverOverwrite` is
left out: on Ceph, a writer is kept from replacing a content only by the client.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from places import REAL
from small_registry import NOW, package
from small_registry import promote as promote_package
from small_registry import publish as publish_package

from fair_distill.files import sha256
from fair_distill.registry import release, retraction
from fair_distill.registry.access import iam_policy
from fair_distill.registry.actor import Actor
from fair_distill.registry.client import load
from fair_distill.registry.regate_record import write_regate
from fair_distill.registry.store import RegistryStore, open_registry

CLUSTER = os.environ.get("FAIR_DISTILL_CEPH")
pytestmark = pytest.mark.skipif(not (REAL and CLUSTER), reason="needs Ceph; run `make test-s3`")
BUCKET = "teams"
ONE, TWO = package(1), package(2)
TEAMS = {"vision": "vision/digits", "speech": "speech/words"}


@dataclass(frozen=True)
class Principal:
    """A user of the server with the policy of one role for the registry of one team."""

    team: str
    role: str
    client: Any

    @property
    def name(self) -> str:
        return f"{self.team}-{self.role}"

    @property
    def registry(self) -> str:
        return f"s3://{BUCKET}/{self.team}"


def _client(name: str) -> Any:
    import boto3

    session = boto3.Session(aws_access_key_id=name, aws_secret_access_key=f"secret-of-{name}", region_name="us-east-1")
    return session.client("s3", endpoint_url=REAL)


@pytest.fixture(scope="module")
def principals() -> Iterator[dict[str, Principal]]:
    """Create the users and a bucket of `tester`, whose policy has the statements of all roles."""
    assert CLUSTER
    environment = os.environ | {"CEPH_CONF": str(Path(CLUSTER).resolve() / "ceph.conf")}
    made, statements = {}, []
    for team, dataset in TEAMS.items():
        for role in ("read", "publish", "promote", "regate", "erase"):
            principal = Principal(team, role, _client(f"{team}-{role}"))
            name = principal.name
            create = ["radosgw-admin", "user", "create", "--uid", name, "--display-name", name]
            keys = ["--access-key", name, "--secret-key", f"secret-of-{name}"]
            subprocess.run([*create, *keys], env=environment, check=True, capture_output=True, timeout=60)
            for statement in iam_policy(role, principal.registry, dataset=dataset)["Statement"]:
                if statement["Sid"] != "NeverOverwrite":
                    who = {"Sid": f"{name}{statement['Sid']}", "Principal": {"AWS": [f"arn:aws:iam:::user/{name}"]}}
                    statements.append(statement | who)
            made[name] = principal
    owner = _client("tester")
    owner.create_bucket(Bucket=BUCKET)
    owner.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    yield made
    for page in owner.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for entry in page.get("Contents", ()):
            owner.delete_object(Bucket=BUCKET, Key=entry["Key"])
    owner.delete_bucket(Bucket=BUCKET)
    for name in made:
        remove = ["radosgw-admin", "user", "rm", "--uid", name, "--purge-data"]
        subprocess.run(remove, env=environment, check=True, capture_output=True, timeout=60)


@pytest.fixture
def store_as(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Principal], RegistryStore]:
    """Return a function that opens the registry of a principal with its credentials, as a command would."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", REAL or "")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("FAIR_DISTILL_CACHE", "")

    def open_as(principal: Principal) -> RegistryStore:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", principal.name)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"secret-of-{principal.name}")
        return open_registry(principal.registry)

    return open_as


def _regate(store: RegistryStore, dataset: str) -> None:
    actor = Actor("nightly", NOW, "regate")
    evidence = {"predictions": ONE.predictions, "verdicts": [ONE.verdict_bytes]}
    release.publish(store, dataset, ONE.manifest, ONE.files, **evidence, actor=actor)
    verdict = {"verdict": sha256(ONE.verdict_bytes), "split": sha256(b""), "outcome": "pass"}
    write_regate(store, dataset, version=ONE.version, **verdict, who="nightly", now=NOW)


def test_every_role_of_two_teams_does_its_work_on_ceph(
    principals: dict[str, Principal], store_as: Callable[[Principal], RegistryStore]
):
    for team, dataset in TEAMS.items():
        for made in (ONE, TWO):
            publish_package(store_as(principals[f"{team}-publish"]), made, name=dataset)
        for made in (ONE, TWO):
            promote_package(store_as(principals[f"{team}-promote"]), made, name=dataset)
        _regate(store_as(principals[f"{team}-regate"]), dataset)
        actor = Actor("ada", NOW, "back")
        promoter = store_as(principals[f"{team}-promote"])
        retraction.rollback(promoter, dataset, "production", reason="worse", actor=actor)
        reader = principals[f"{team}-read"]
        store_as(reader)
        loaded = load(f"{dataset}@production", registry=reader.registry)
        assert loaded.images.tobytes() == ONE.set.images.tobytes()
        eraser = store_as(principals[f"{team}-erase"])
        provenance = eraser.list(f"versions/{TWO.version}/provenance/")
        eraser.remove(provenance[0])  # type: ignore[attr-defined]
        assert eraser.list(f"versions/{TWO.version}/provenance/") == []


def _forbidden() -> Iterator[tuple[str, str, str, str]]:
    """Yield principal, action and key of calls that the policies forbid, and the reason."""
    version, digest = ONE.version, "0" * 64
    other = f"speech/versions/{version}/manifest.json"
    entry = "000000000099.json"
    # Another team: 11.
    yield "vision-publish", "get", other, "read a version of another team"
    yield "vision-publish", "list", "speech/", "list the registry of another team"
    yield "vision-publish", "list", "", "list the bucket"
    yield "vision-publish", "put", "speech/objects/files/md5/00/0", "write files to another team"
    yield "vision-publish", "put", f"speech/ledger/speech/words/{entry}", "publish for another team"
    yield "vision-promote", "put", f"speech/versions/{version}/verdicts/{digest}.json", "judge for another team"
    yield "vision-promote", "put", f"speech/ledger/speech/words/{entry}", "promote for another team"
    yield "vision-regate", "get", f"speech/ledger/speech/words/{entry}", "read the ledger of another team"
    yield "vision-erase", "delete", other, "erase for another team"
    yield "speech-publish", "get", f"vision/versions/{version}/manifest.json", "read a version of another team"
    yield "speech-promote", "put", f"vision/ledger/vision/digits/{entry}", "promote for another team"
    # Another role or dataset of the same team: 14.
    yield "vision-publish", "put", f"vision/versions/{version}/verdicts/{digest}.json", "store a verdict as publisher"
    yield "vision-publish", "put", f"vision/ledger/vision/faces/{entry}", "publish another dataset"
    yield "vision-publish", "delete", f"vision/versions/{version}/manifest.json", "remove a version"
    yield "vision-promote", "put", "vision/objects/files/md5/00/0", "add files as promoter"
    yield "vision-promote", "put", f"vision/versions/{digest}/manifest.json", "add a version as promoter"
    yield "vision-promote", "put", f"vision/versions/{version}/predictions/{digest}.parquet", "add predictions"
    yield "vision-regate", "put", f"vision/versions/{digest}/manifest.json", "add a version as regate"
    yield "vision-regate", "put", "vision/objects/files/md5/00/0", "add files as regate"
    yield "vision-read", "put", f"vision/ledger/vision/digits/{entry}", "write as reader"
    yield "vision-read", "put", "vision/.create-only", "write as reader"
    yield "vision-erase", "delete", "vision/ledger/vision/digits/000000000001.json", "remove the history"
    yield "vision-erase", "delete", f"vision/versions/{version}/manifest.json", "remove a manifest"
    yield "vision-erase", "put", f"vision/versions/{version}/verdicts/{digest}.json", "store a verdict as eraser"
    yield "vision-erase", "put", "vision/objects/files/md5/00/0", "add files as eraser"


def test_no_forbidden_write_or_read_succeeds_on_ceph(principals: dict[str, Principal]):
    from botocore.exceptions import ClientError

    owner = _client("tester")
    # What is to be read or removed exists, so that a denial is not the answer for an absent key.
    for key in ("vision", "speech"):
        owner.put_object(Bucket=BUCKET, Key=f"{key}/versions/{ONE.version}/manifest.json", Body=b"kept")
    owner.put_object(Bucket=BUCKET, Key="vision/ledger/vision/digits/000000000001.json", Body=b"kept")
    owner.put_object(Bucket=BUCKET, Key="speech/ledger/speech/words/000000000099.json", Body=b"kept")
    before = _contents(owner)
    rows = list(_forbidden())

    answers = []
    for name, action, key, reason in rows:
        client = principals[name].client
        try:
            if action == "list":
                client.list_objects_v2(Bucket=BUCKET, Prefix=key)
            elif action == "put":
                client.put_object(Bucket=BUCKET, Key=key, Body=b"forged", IfNoneMatch="*")
            else:
                getattr(client, f"{action}_object")(Bucket=BUCKET, Key=key)
            answers.append((name, reason, "succeeded"))
        except ClientError as error:
            answers.append((name, reason, error.response["Error"]["Code"]))

    assert [answer for answer in answers if answer[2] != "AccessDenied"] == []
    assert _contents(owner) == before
    assert len(rows) >= 20
    assert len({(name, action, key) for name, action, key, _ in rows}) == len(rows)


def _contents(owner: Any) -> dict[str, str]:
    pages = owner.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", ())}
