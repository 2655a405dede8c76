"""Folders and buckets behave the same as object stores. Each error is one line that names the setting to change."""

import subprocess
import sys
from pathlib import Path

import pytest
from moto.core import set_initial_no_auth_action_count

from fair_distill.errors import ConfigError
from fair_distill.storage.objects import Objects, open_objects
from fair_distill.storage.s3 import Bucket

SAID_BY = "--checkpoints"


@pytest.fixture(params=["folder", "file", "bucket", "bucket/and/prefix"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    kind, _, prefix = request.param.partition("/")
    if kind == "bucket":
        bucket = request.getfixturevalue("bucket")
        return open_objects(f"{bucket}/{prefix}", said_by=SAID_BY)
    return open_objects(str(tmp_path / "x") if kind == "folder" else (tmp_path / "x").as_uri(), said_by=SAID_BY)


def test_get_returns_the_content_of_the_last_put(objects: Objects) -> None:
    objects.put("runs/1", b"\x00first\n")
    assert objects.get("runs/1") == b"\x00first\n"

    objects.put("runs/1", b"")

    assert objects.get("runs/1") == b""
    assert objects.list("runs") == ["runs/1"]


def test_a_listing_contains_the_keys_of_one_folder_in_order(objects: Objects) -> None:
    for key in ("runs/2", "runs/10", "run", "runs2/1"):
        objects.put(key, b"")

    assert objects.list("runs") == ["runs/10", "runs/2"]
    assert objects.list("nobody") == []


def test_a_removed_content_can_be_removed_again(objects: Objects) -> None:
    objects.put("runs/1", b"1")
    objects.put("runs/2", b"2")

    objects.delete("runs/1")
    objects.delete("runs/1")

    assert objects.list("runs") == ["runs/2"]
    with pytest.raises(ConfigError, match=r"cannot read .*runs/1"):
        objects.get("runs/1")
    objects.clear("runs")
    objects.clear("runs")
    assert objects.list("runs") == []


def test_clearing_a_folder_removes_the_files_of_a_crashed_writer(tmp_path: Path) -> None:
    objects = open_objects(str(tmp_path), said_by=SAID_BY)
    objects.put("runs/1", b"1")
    (tmp_path / "runs" / ".2.abc.part").write_bytes(b"half")

    assert objects.list("runs") == ["runs/1"]
    objects.clear("runs")
    assert list(tmp_path.iterdir()) == []


def test_a_listing_of_several_pages_is_complete(bucket: str) -> None:
    objects = open_objects(bucket, said_by=SAID_BY)
    assert isinstance(objects, Bucket)
    for i in range(5):
        objects.put(f"runs/{i}", b"")
    # S3 returns a thousand keys in a page; this test reduces it to two.
    requests: list[object] = []
    objects.client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2",
        lambda params, **_: requests.append(params) or {**params, "MaxKeys": 2},
    )

    assert objects.list("runs") == [f"runs/{i}" for i in range(5)]
    assert len(requests) == 3


def test_the_endpoint_can_be_part_of_the_address(bucket: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_objects(bucket, said_by=SAID_BY).put("a", b"here")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    assert open_objects(f"{bucket}?endpoint={s3}", said_by=SAID_BY).get("a") == b"here"


@pytest.mark.parametrize(
    "url", ["gs://bucket/x", "s3://", "s3:///x", "s3://bucket?region=mars", "file://elsewhere/x", "s3://me:word@b/x"]
)
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^--checkpoints is .*(; a folder or s3://bucket/prefix|give credentials by AWS_PROFILE)"
    ) as refusal:
        open_objects(url, said_by=SAID_BY)

    assert "word" not in str(refusal.value)


def one_line(url: str, *, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        open_objects(url, said_by=SAID_BY).list("runs")
    line = str(refusal.value)
    assert "\n" not in line
    assert "Change --checkpoints, or AWS_ENDPOINT_URL, or the credentials" in line


def test_a_missing_bucket_is_reported_in_one_line(bucket: str, s3: str) -> None:
    one_line("s3://nobodys/x", message=rf"cannot list s3://nobodys/x/runs: there is no such bucket \(at {s3}\)")


def test_a_server_that_does_not_answer_is_reported_in_one_line(bucket: str) -> None:
    one_line(f"{bucket}?endpoint=http://127.0.0.1:1", message="Could not connect to the endpoint URL")


def test_missing_credentials_are_reported_in_one_line(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    one_line(bucket, message="Unable to locate credentials")


def test_wrong_credentials_are_reported_in_one_line(bucket: str) -> None:
    @set_initial_no_auth_action_count(0)
    def refuse() -> None:
        one_line(bucket, message="the credentials are wrong")

    refuse()


@pytest.mark.parametrize("endpoint", ["nowhere", "http://"])
def test_an_invalid_endpoint_is_refused(bucket: str, endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"--checkpoints: the endpoint of .* the address of a server, http"):
        open_objects(f"{bucket}?endpoint={endpoint}", said_by=SAID_BY)


def test_a_folder_does_not_import_boto3() -> None:
    code = (
        "import sys; from fair_distill.storage.objects import open_objects\n"
        "open_objects('nowhere', said_by='').list('x'); print({'boto3', 'botocore'} & set(sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
