"""What one backend alone can do wrong: every failure is a message of one line that says what to change."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.core import set_initial_no_auth_action_count

from fair_distill.errors import ConfigError, FairDistillError
from fair_distill.storage.s3 import S3Store
from fair_distill.storage.schemes import open_store
from fair_distill.storage.store import Unanswered

SOURCE = "--checkpoints"


def test_a_folder_is_cleared_of_what_a_crash_left(tmp_path: Path) -> None:
    objects = open_store(str(tmp_path), source=SOURCE)
    objects.put("runs/1", b"1")
    (tmp_path / "runs" / ".2.abc.part").write_bytes(b"half")

    assert objects.list("runs/") == ["runs/1"]
    objects.clear("runs")
    assert list(tmp_path.iterdir()) == []


def test_a_listing_longer_than_a_page_is_whole(bucket: str) -> None:
    objects = open_store(bucket, source=SOURCE)
    assert isinstance(objects, S3Store)
    for i in range(5):
        objects.put(f"runs/{i}", b"")
    # S3 answers a thousand at a time; here, two.
    asked: list[object] = []
    objects.client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: asked.append(params) or {**params, "MaxKeys": 2}
    )

    assert objects.list("runs/") == [f"runs/{i}" for i in range(5)]
    assert len(asked) == 3


def test_the_endpoint_may_stand_in_the_address(bucket: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(bucket, source=SOURCE).put("a", b"here")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    assert open_store(f"{bucket}?endpoint={s3}", source=SOURCE).read("a") == b"here"


@pytest.mark.parametrize(
    "url", ["gs://bucket/x", "s3://", "s3:///x", "s3://bucket?region=mars", "file://elsewhere/x", "s3://me:word@b/x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(
        ConfigError,
        match=r"^--checkpoints is .*(s3://bucket/prefix|file:///path|pass credentials in AWS_PROFILE)",
    ) as refusal:
        open_store(url, source=SOURCE)

    assert "word" not in str(refusal.value)


def one_line(url: str, *, wanted: str, error: type[FairDistillError] = ConfigError) -> None:
    with pytest.raises(error, match=wanted) as refusal:
        open_store(url, source=SOURCE).list("runs/")
    line = str(refusal.value)
    assert "\n" not in line
    assert "Change --checkpoints, or AWS_ENDPOINT_URL, or the credentials" in line


def test_a_bucket_that_is_not_there_is_one_line(bucket: str, s3: str) -> None:
    one_line("s3://nobodys/x", wanted=rf"cannot list s3://nobodys/x/runs/: the bucket does not exist \(at {s3}\)")


def test_a_server_that_does_not_answer_is_one_line(bucket: str) -> None:
    one_line(f"{bucket}?endpoint=http://127.0.0.1:1", wanted="Could not connect to the endpoint URL", error=Unanswered)


def test_no_credentials_are_one_line(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    one_line(bucket, wanted="Unable to locate credentials")


def test_wrong_credentials_are_one_line(bucket: str) -> None:
    @set_initial_no_auth_action_count(0)
    def asked() -> None:
        one_line(bucket, wanted="the credentials are wrong")

    asked()


@pytest.mark.parametrize("endpoint", ["nowhere", "http://"])
def test_an_endpoint_that_is_none_is_refused(bucket: str, endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"--checkpoints: the endpoint of .* write the URL of a server, http"):
        open_store(f"{bucket}?endpoint={endpoint}", source=SOURCE)


def test_a_folder_needs_no_boto3() -> None:
    code = (
        "import sys; from fair_distill.storage.schemes import open_store\n"
        "open_store('nowhere', source='').list('x/'); print({'boto3', 'botocore'} & set(sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_listing_of_one_key_does_not_walk_through_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = open_store(str(tmp_path), source=SOURCE)
    for key in ("faces.csv", "faces.d/a", "other/faces.csv"):
        objects.put(key, b"1")
    walked: list[Path] = []
    scandir = os.scandir

    def record(folder: Path) -> Iterator[os.DirEntry[str]]:
        walked.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", record)

    assert [entry.key for page in objects.pages("faces.") for entry in page] == ["faces.csv", "faces.d/a"]
    assert walked == [tmp_path, tmp_path / "faces.d"]


def test_a_link_without_a_target_is_not_listed_with_its_size(tmp_path: Path) -> None:
    objects = open_store(str(tmp_path), source=SOURCE)
    objects.put("faces/1.png", b"1")
    (tmp_path / "faces" / "2.png").symlink_to(tmp_path / "missing")

    assert [entry.key for page in objects.pages("faces/") for entry in page] == ["faces/1.png"]
