"""A flag or the environment sets the location of checkpoints; an unusable location is an error of one line."""

import errno
import json
from pathlib import Path

import pytest
from small_workspace import Ended, run, small_params, tree, write_params

from fair_distill.config import load_config
from fair_distill.distillation.checkpoint import Interrupted
from fair_distill.files import sha256
from fair_distill.stages.distill import distill_candidate
from fair_distill.storage.schemes import open_store
from fair_distill.workspace import Workspace

EVERY = ("--checkpoint-every", "2")


def interrupted(root: Path, *, after: int, checkpoints: str) -> None:
    """Distil as the command does, and stop after a step."""
    stop = iter([False] * (after - 1) + [True])
    workspace = Workspace(root)
    with pytest.raises(Interrupted):
        distill_candidate(
            workspace,
            load_config(workspace.params),
            "barycentric",
            checkpoints=checkpoints,
            stopping=lambda: next(stop),
        )


def one_line(ended: Ended, code: int) -> str:
    """Return the error line, which follows the lines of progress."""
    *progress, line = ended.err.splitlines()
    assert ended.code == code, ended.err
    assert all(json.loads(progress_line) for progress_line in progress)
    assert line.startswith("fair-distill: ")
    return line


@pytest.mark.parametrize("source", ["flag", "environment"])
def test_a_run_resumes_from_a_bucket_and_leaves_nothing_in_it(
    workspace: Path, bucket: str, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    manifest = Workspace(workspace).set("barycentric") / "manifest.json"
    expected = sha256(manifest)
    manifest.unlink()
    interrupted(workspace, after=3, checkpoints=f"{bucket}/runs")
    if source == "environment":
        monkeypatch.setenv("FAIR_DISTILL_CHECKPOINTS", f"{bucket}/runs")

    again = run(workspace, "distill", "barycentric", *(["--checkpoints", f"{bucket}/runs"] if source == "flag" else []))

    assert again.code == 0, again.err
    assert json.loads(again.err.splitlines()[0])["step"] == 4
    assert sha256(manifest) == expected
    objects = open_store(bucket, source="a test")
    assert objects.client.list_objects_v2(Bucket=bucket.removeprefix("s3://")).get("Contents", []) == []  # type: ignore[attr-defined]
    assert not (workspace / ".checkpoints").exists()


def test_a_damaged_checkpoint_is_an_error_of_integrity(workspace: Path, bucket: str) -> None:
    interrupted(workspace, after=3, checkpoints=bucket)
    client = open_store(bucket, source="a test").client  # type: ignore[attr-defined]
    name = bucket.removeprefix("s3://")
    (stored,) = client.list_objects_v2(Bucket=name)["Contents"]
    client.put_object(Bucket=name, Key=stored["Key"], Body=b"something else")

    line = one_line(run(workspace, "distill", "barycentric", "--checkpoints", bucket), 5)

    assert f"s3://{name}/{stored['Key']} is damaged or is not a checkpoint; remove it" in line


def test_a_run_does_not_resume_after_custom_code_changed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = workspace / "custom_code.py"
    source.write_text("from fair_distill.distillation.barycenter import mean as middle\n")
    monkeypatch.syspath_prepend(workspace)
    params = small_params()
    params["candidates"]["barycentric"] = {"alignment": "barycentric", "barycenter": "custom_code:middle"}
    write_params(workspace, params)
    interrupted(workspace, after=3, checkpoints=str(workspace / ".checkpoints"))
    source.write_text(source.read_text() + "# edited\n")

    again = run(workspace, "distill", "barycentric")

    assert again.code == 0, again.err
    assert json.loads(again.err.splitlines()[0])["step"] == 1, "the run resumed a checkpoint of other code"
    manifest = json.loads((Workspace(workspace).set("barycentric") / "manifest.json").read_bytes())
    assert manifest["params"]["own"] == {"custom_code:middle": sha256(source)}


def test_missing_custom_code_is_one_line(workspace: Path) -> None:
    params = small_params()
    params["candidates"]["barycentric"] = {"alignment": "barycentric", "barycenter": "no_such_module:middle"}
    write_params(workspace, params)

    assert "'no_such_module:middle', which cannot be imported" in one_line(run(workspace, "distill", "barycentric"), 2)


@pytest.mark.parametrize(
    ("checkpoints", "message"),
    [
        ("s3://nobodys/runs", "the bucket does not exist"),
        ("gs://runs", "--checkpoints is 'gs://runs'; the supported locations are a folder"),
        ("params.yaml", "Not a directory"),
    ],
)
def test_an_unusable_location_is_one_line_before_any_work(
    workspace: Path, bucket: str, monkeypatch: pytest.MonkeyPatch, checkpoints: str, message: str
) -> None:
    monkeypatch.chdir(workspace)
    before = tree(workspace)

    ended = run(workspace, "distill", "barycentric", "--checkpoints", checkpoints)

    assert message in one_line(ended, 2)
    assert ended.err.count("\n") == 1
    assert tree(workspace) == before


def test_a_full_disk_is_one_line_and_leaves_the_last_good_checkpoint(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sha256(Workspace(workspace).set("barycentric") / "manifest.json")
    has_space = iter([True, False])
    write = Path.write_bytes

    def limited(path: Path, content: bytes) -> int:
        if next(has_space):
            return write(path, content)
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", limited)
        ended = run(workspace, "distill", "barycentric", *EVERY)

    assert "No space left on device" in one_line(ended, 2)
    (checkpoint,) = [path for path in (workspace / ".checkpoints").rglob("*") if path.is_file()]
    assert checkpoint.name.startswith("000000002-")
    again = run(workspace, "distill", "barycentric")
    assert json.loads(again.err.splitlines()[0])["step"] == 3
    assert sha256(Workspace(workspace).set("barycentric") / "manifest.json") == expected
