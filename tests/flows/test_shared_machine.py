"""Runs on one machine: folders of killed runs are removed, and one run at a time computes a stage."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from fair_distill.versioning.dvc_commands import Dvc
from tasks import stage_lock as module
from tasks.clone_folder import clone_folder
from tasks.stage_lock import stage_lock


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def killed_run(temporary: Path) -> Path:
    """Return the folder of a process that was killed while it used the folder."""
    code = "import sys\nfrom tasks.clone_folder import clone_folder\nwith clone_folder() as folder:\n"
    code += " (folder / 'data').write_text('large')\n print(folder, flush=True)\n sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return folder


def test_the_folder_of_a_killed_run_is_removed_by_the_next_run(temporary: Path) -> None:
    left = killed_run(temporary)
    assert (left / "data").exists()

    with clone_folder():
        assert not left.exists()
    assert list(temporary.iterdir()) == []


def test_a_folder_in_use_and_folders_of_others_are_kept(temporary: Path) -> None:
    other, being_created = temporary / "fair-distill-x", temporary / "fair-distill-clone-new"
    other.mkdir()
    being_created.mkdir()
    (temporary / "fair-distill-clone-link").symlink_to(other)

    with clone_folder() as first:
        (first / "data").write_text("mine")
        with clone_folder():
            assert (first / "data").exists()

    assert not first.exists()
    assert other.exists()
    assert being_created.exists()


def dvc_in(folder: Path, cache: Path, params: str = "seed: 0") -> Dvc:
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n")
    (folder / "params.yaml").write_text(params)
    (folder / "dvc.yaml").write_text("stages: {}")
    return Dvc(folder)


def test_a_second_run_waits_until_the_first_has_computed_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (dvc_in(tmp_path / name, tmp_path / "cache") for name in ("first", "second"))
    order: list[str] = []
    asked = threading.Event()
    monkeypatch.setattr(module.time, "sleep", lambda _: asked.set())

    def wait() -> None:
        with stage_lock(second, "distill", say=order.append):
            order.append("second")

    thread = threading.Thread(target=wait)
    with stage_lock(first, "distill", say=order.append):
        thread.start()
        assert asked.wait(60)
        order.append("first")
    thread.join(60)

    assert order == [
        "another run computes stage 'distill' with the same params.yaml; waiting for its result",
        "first",
        "second",
    ]


def test_other_stages_params_and_caches_do_not_wait(tmp_path: Path) -> None:
    said: list[str] = []
    same, other = dvc_in(tmp_path / "a", tmp_path / "cache"), dvc_in(tmp_path / "b", tmp_path / "cache", "seed: 1")
    apart = dvc_in(tmp_path / "c", tmp_path / "other")

    with (
        stage_lock(same, "distill", say=said.append),
        stage_lock(same, "evaluate", say=said.append),
        stage_lock(other, "distill", say=said.append),
        stage_lock(apart, "distill", say=said.append),
    ):
        assert said == []


def test_a_cache_that_cannot_be_written_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []

    with stage_lock(dvc_in(tmp_path / "a", tmp_path / "file"), "distill", say=said.append):
        pass

    assert len(said) == 1
    assert "other runs may compute the same stage" in said[0]
