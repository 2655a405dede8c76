"""Files of a commit are read without a checkout: nothing runs, and only plain files are returned."""

import os
import subprocess
from pathlib import Path

import pytest
from small_repository import commit, git

from fair_distill.errors import ConfigError, DataError, IntegrityError
from fair_distill.versioning.git_objects import Commit, checked_out, place_in_repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "mit Leerzeichen"
    (root / "data").mkdir(parents=True)
    (root / "data" / "params.yaml").write_bytes(b"a: 1\r\n\x00\xff")
    (root / "data" / "link").symlink_to("params.yaml")
    (root / "linked").symlink_to("data")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], cwd=root, check=True)
    commit(root, "first")
    return root


def head_of(root: Path) -> Commit:
    return Commit.open(root, git(root, "rev-parse", "HEAD"))


def test_a_plain_file_is_read_byte_for_byte_at_most_up_to_the_limit(repository: Path) -> None:
    head = head_of(repository)

    assert head.read("data/params.yaml", limit=8) == b"a: 1\r\n\x00\xff"
    assert head.read("run.sh", limit=100) == b"#!/bin/sh\n"
    assert head.read("data/absent", limit=8) is None
    assert head.read("absent/params.yaml", limit=8) is None
    with pytest.raises(DataError, match="has 8 bytes; at most 7 are read"):
        head.read("data/params.yaml", limit=7)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("data/link", "symbolic link"),
        ("linked/params.yaml", "symbolic link"),
        ("data", "a folder"),
        ("data/params.yaml/x", "a plain file"),
    ],
)
def test_links_and_folders_are_refused(path: str, kind: str, repository: Path) -> None:
    with pytest.raises(IntegrityError, match=kind):
        head_of(repository).read(path, limit=100)


def test_a_submodule_is_refused(repository: Path) -> None:
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},module")
    git(repository, "commit", "--quiet", "--message", "module")

    for path in ("module", "module/params.yaml"):
        with pytest.raises(IntegrityError, match="a submodule"):
            head_of(repository).read(path, limit=100)


@pytest.mark.parametrize("digest", ["HEAD", "main", "--help", "0" * 39, "g" * 40, "", f"{'0' * 40}:data"])
def test_a_commit_must_have_all_its_digits(digest: str, repository: Path) -> None:
    with pytest.raises(ConfigError, match="pass the full commit"):
        Commit.open(repository, digest)


def test_the_message_about_a_missing_commit_contains_the_command_that_fetches_it(repository: Path) -> None:
    with pytest.raises(ConfigError, match=f"does not have the commit {'1' * 40}; run `git fetch origin {'1' * 40}`"):
        Commit.open(repository, "1" * 40)


def test_a_blob_is_not_a_commit(repository: Path) -> None:
    with pytest.raises(ConfigError, match="which is not a commit"):
        Commit.open(repository, git(repository, "rev-parse", "HEAD:run.sh"))


def test_a_path_is_not_a_pattern(repository: Path) -> None:
    assert head_of(repository).read("data/*.yaml", limit=100) is None
    assert head_of(repository).read(":(glob)data/*", limit=100) is None


def test_replaced_objects_and_variables_of_the_process_have_no_effect(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = git(repository, "rev-parse", "HEAD:run.sh")
    git(repository, "replace", blob, git(repository, "rev-parse", "HEAD:data/params.yaml"))
    head = head_of(repository)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "nonsense")

    assert head.read("run.sh", limit=100) == b"#!/bin/sh\n"


def test_no_filter_and_no_conversion_runs(repository: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (repository / ".gitattributes").write_text("* text eol=crlf filter=evil diff=evil\n")
    commit(repository, "attributes")
    for key in ("filter.evil.smudge", "filter.evil.clean", "diff.evil.textconv"):
        git(repository, "config", key, f"touch '{marker}'; cat")

    assert head_of(repository).read("run.sh", limit=100) == b"#!/bin/sh\n"
    assert not marker.exists()


def test_the_path_of_a_workspace_in_its_repository_is_returned(repository: Path, tmp_path: Path) -> None:
    assert place_in_repository(repository) == ""
    assert place_in_repository(repository / "data") == "data/"
    assert checked_out(repository / "data").digest == git(repository, "rev-parse", "HEAD")
    outside = tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(ConfigError, match="is not a git checkout"):
        place_in_repository(outside)


def test_the_identity_depends_on_contents_modes_and_folders(repository: Path) -> None:
    before = head_of(repository)
    os.chmod(repository / "run.sh", 0o644)
    (repository / "data" / "more").write_text("x")
    commit(repository, "second")
    after = head_of(repository)

    assert before.identity("data/params.yaml") == after.identity("data/params.yaml")
    assert before.identity("run.sh") != after.identity("run.sh")
    assert before.identity("data") != after.identity("data")
    assert before.identity("absent") is None
