"""A DVC remote is read by digest. Only its address comes from the configuration, and no program runs."""

import hashlib
from pathlib import Path

import pytest

from fair_distill.errors import ConfigError, DataError, IntegrityError, MeasurementError
from fair_distill.versioning.dvc_remote import DvcRemote, open_remote

CONTENT = b"predictions" * 100
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
KEY = f"files/md5/{MD5[:2]}/{MD5[2:]}"


def configured(root: Path, remote: str, *, core: str = "remote = shared") -> Path:
    (root / ".dvc").mkdir(parents=True, exist_ok=True)
    (root / ".dvc" / "config").write_text(f"[core]\n    {core}\n['remote \"shared\"']\n{remote}\n")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> DvcRemote:
    path = tmp_path / "remote" / KEY
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return open_remote(configured(tmp_path / "workspace", "    url = ../../remote"), None)


def test_a_content_is_fetched_by_its_digest(folder: DvcRemote, tmp_path: Path) -> None:
    folder.fetch(MD5, tmp_path / "out" / "file", file="a file", limit=len(CONTENT), size=len(CONTENT))

    assert (tmp_path / "out" / "file").read_bytes() == CONTENT


def test_a_missing_content_is_named_with_the_command_that_pushes_it(folder: DvcRemote, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"a file .* is not in the DVC remote 'shared'; run `dvc push`"):
        folder.fetch("0" * 32, tmp_path / "file", file="a file", limit=10)


@pytest.mark.parametrize(
    ("content", "limit", "size", "error", "message"),
    [
        (b"x" * len(CONTENT), 10_000, len(CONTENT), IntegrityError, "where dvc.lock names"),
        (CONTENT[:-1], 10_000, len(CONTENT), IntegrityError, "where dvc.lock names"),
        (CONTENT + b"x", 10_000, len(CONTENT), IntegrityError, "larger in remote"),
        (CONTENT, 10_000, len(CONTENT) + 1, IntegrityError, "where dvc.lock names"),
        (CONTENT, 10, None, DataError, "more than 10 bytes"),
        (CONTENT, 10, len(CONTENT), DataError, "at most 10 are read"),
    ],
)
def test_contents_with_another_digest_are_refused_and_not_written(
    content: bytes,
    limit: int,
    size: int | None,
    error: type[Exception],
    message: str,
    folder: DvcRemote,
    tmp_path: Path,
) -> None:
    (tmp_path / "remote" / KEY).write_bytes(content)

    with pytest.raises(error, match=message):
        folder.fetch(MD5, tmp_path / "out", file="a file", limit=limit, size=size)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("remote", "name", "message"),
    [
        ("    url = gs://bucket/x", None, "the supported locations are a folder, file:///path or s3://bucket/prefix"),
        ("    url = ../../nowhere", None, "does not exist here"),
        ("    url = s3://user:secret@bucket/x", None, "credentials are not allowed in a URL"),
        ("    url = ../../remote\n    version_aware = true", None, "has version_aware"),
        ("    port = 1", None, "has no url"),
        ("    url = ../../remote", "other", "has no remote 'other'; it defines shared"),
    ],
)
def test_a_remote_that_cannot_be_read_is_explained(remote: str, name: str | None, message: str, tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    with pytest.raises(ConfigError, match=message) as caught:
        open_remote(configured(tmp_path / "workspace", remote), name)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_workspace_without_a_remote_is_explained(tmp_path: Path) -> None:
    root = configured(tmp_path, "    url = x", core="analytics = false")
    with pytest.raises(ConfigError, match="has no default remote"):
        open_remote(root, None)
    (root / ".dvc" / "config").write_text("[core\n")
    with pytest.raises(ConfigError, match="is not readable"):
        open_remote(root, None)


def test_a_local_configuration_has_no_effect(folder: DvcRemote, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    (root / ".dvc" / "config.local").write_text("['remote \"shared\"']\n    url = /nowhere\n")

    open_remote(root, None).fetch(MD5, tmp_path / "out", file="a file", limit=10_000)


def test_s3_is_read_with_keys_of_the_environment_and_no_program_runs(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    marker, program = tmp_path / "marker", tmp_path / "program.sh"
    program.write_text(f"#!/bin/sh\ntouch {marker}\n")
    program.chmod(0o755)
    evil = tmp_path / "aws.cfg"
    evil.write_text(f"[default]\ncredential_process = {program}\n[profile evil]\ncredential_process = {program}\n")
    boto3.Session().client("s3").put_object(Bucket=bucket.removeprefix("s3://"), Key=f"data/{KEY}", Body=CONTENT)
    monkeypatch.setenv("AWS_PROFILE", "evil")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(evil))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(evil))
    monkeypatch.setenv("HOME", str(tmp_path))
    lines = f"    url = {bucket}/data\n    profile = evil\n    configpath = {evil}\n    credentialpath = {evil}"

    remote = open_remote(configured(tmp_path / "workspace", lines), None)
    remote.fetch(MD5, tmp_path / "out", file="a file", limit=10_000, size=len(CONTENT))
    with pytest.raises(MeasurementError, match="is not in the DVC remote 'shared'"):
        remote.fetch("0" * 32, tmp_path / "none", file="a file", limit=10_000)

    assert (tmp_path / "out").read_bytes() == CONTENT
    assert not marker.exists()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set"):
        open_remote(tmp_path / "workspace", None)


def test_the_endpoint_of_the_configuration_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    lines = "    url = s3://bucket/data\n    endpointurl = https://s3.example.org\n    region = eu-north-1"

    store = open_remote(configured(tmp_path, lines), None).store

    assert store.client.meta.endpoint_url == "https://s3.example.org"
    assert store.client.meta.region_name == "eu-north-1"
    assert store.address("x") == "s3://bucket/data/x"
