"""An interrupted run that continues ends with the same bytes; checkpoints of other runs are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_methods import MATCHER_OPTIONS
from test_loop import ran, streams

from fair_distill.distillation.checkpoint import CheckpointFolder, Interrupted
from fair_distill.distillation.divergence import Diverged
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.storage.schemes import open_store
from fair_distill.storage.store import Store

KEY = "c0ffee"
METHODS: dict[str, dict[str, Any]] = {
    "fresh networks": {},
    "a pool, momentum": {"pool": 2, "visits": 3, "advance": 1},
    "learned scalars": {
        "matcher": {"name": "ridge_probe", **MATCHER_OPTIONS["ridge_probe"]},
        "network": "linear",
        "name": "adam",
        "learning_rate": 0.1,
        "visits": 1000,
    },
    "adam, gradients, mosaics": {
        "matcher": "dc",
        "distance": "cosine",
        "formation": 2,
        "name": "adam",
        "learning_rate": 0.01,
        "visits": 4,
        "advance": 1,
        "advance_on": "real",
    },
}


@pytest.fixture(params=["folder", "bucket"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.getfixturevalue('bucket')}/a" if request.param == "bucket" else str(tmp_path / "a")


def inside(where: str) -> Store:
    return open_store(where, source="a test")


class Stopped(Exception):
    """Raised in the middle of a run, to interrupt it."""


def stop_at(step: int) -> Any:
    def progress(done: int, of: int, loss: float) -> None:
        if done == step:
            raise Stopped

    return progress


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stopped", [1, 4, 7])
def test_an_interrupted_run_that_continues_gives_the_same_bytes(tmp_path: Path, method: str, stopped: int) -> None:
    settings = METHODS[method]
    whole = ran(**settings)

    with pytest.raises(Stopped):
        ran(**settings, progress=stop_at(stopped), checkpoints=CheckpointFolder(tmp_path, KEY, every=2))
    # Streams of another seed: the continued run must not depend on their state.
    again = (
        ran(**settings, seeds=streams(99), checkpoints=CheckpointFolder(tmp_path, KEY, every=2))
        if stopped > 2
        else (ran(**settings, checkpoints=CheckpointFolder(tmp_path, KEY, every=2)))
    )

    np.testing.assert_array_equal(again.images, whole.images)
    assert again.losses == whole.losses


def test_a_stopped_run_continues_from_a_folder_or_a_bucket(where: str) -> None:
    whole = ran(**METHODS["a pool, momentum"])
    asked = iter([False, False, True])

    with pytest.raises(Interrupted, match="stopped after step 3; run the same command to continue"):
        ran(
            **METHODS["a pool, momentum"],
            checkpoints=CheckpointFolder(where, KEY, every=50, stopping=lambda: next(asked)),
        )
    steps: list[int] = []
    again = ran(
        **METHODS["a pool, momentum"],
        seeds=streams(99),
        progress=lambda step, of, loss: steps.append(step),
        checkpoints=CheckpointFolder(where, KEY, every=50),
    )

    assert steps[0] == 4
    np.testing.assert_array_equal(again.images, whole.images)
    assert again.losses == whole.losses


def test_a_run_says_from_which_checkpoint_it_resumes(where: str) -> None:
    notices: list[str] = []
    folder = CheckpointFolder(where, KEY, every=1, notice=notices.append)
    assert folder.latest() is None
    assert notices == []

    folder.save(1200, {"step": torch.tensor(1200)})
    folder.latest()

    (key,) = inside(where).list(f"{KEY}/")
    assert notices == [f"resuming after step 1,200 from the checkpoint {inside(where).address(key)}"]


def test_two_checkpoints_are_kept_and_none_after_the_run(where: str) -> None:
    folder, objects = CheckpointFolder(where, KEY, every=1), inside(where)
    ran(checkpoints=folder)

    assert [key.partition("-")[0] for key in objects.list(f"{KEY}/")] == [f"{KEY}/000000009", f"{KEY}/000000010"]
    folder.delete_all()
    assert objects.list(f"{KEY}/") == []


def test_temporary_files_of_a_crash_are_deleted(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, KEY, every=5)
    ran(checkpoints=folder)
    (tmp_path / KEY / ".000000011-abc.safetensors.x.part").write_bytes(b"half of one")

    assert folder.latest() is not None
    folder.delete_all()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["shorter", "one bit"])
def test_a_damaged_checkpoint_is_refused(where: str, damage: str) -> None:
    folder, objects = CheckpointFolder(where, KEY, every=5), inside(where)
    ran(checkpoints=folder)
    newest = objects.list(f"{KEY}/")[-1]
    whole = objects.read(newest)
    objects.put(newest, whole[:-5] if damage == "shorter" else whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])

    with pytest.raises(IntegrityError, match=r"is damaged or is not a checkpoint; remove it to continue"):
        folder.latest()
    objects.remove(newest)
    before = folder.latest()
    assert before is not None
    assert len(before["losses"]) == 5


def test_a_checkpoint_of_another_run_is_refused(where: str) -> None:
    objects = inside(where)
    ran(checkpoints=CheckpointFolder(where, KEY, every=10))
    (kept,) = objects.list(f"{KEY}/")
    objects.put(kept.replace(KEY, "decaf"), objects.read(kept))

    with pytest.raises(IntegrityError, match="another configuration"):
        CheckpointFolder(where, "decaf", every=5).latest()


def test_a_checkpoint_is_a_safetensors_file_that_names_its_run(tmp_path: Path) -> None:
    ran(checkpoints=CheckpointFolder(tmp_path, KEY, every=10))
    (path,) = (tmp_path / KEY).iterdir()
    content = path.read_bytes()

    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["__metadata__"] == {"key": KEY}
    assert {"images", "losses", "streams/batches", "pool/ages"} <= header.keys()


def test_a_missing_bucket_is_reported_before_the_first_step(bucket: str) -> None:
    steps: list[int] = []

    with pytest.raises(ConfigError, match="the bucket does not exist"):
        ran(
            progress=lambda step, of, loss: steps.append(step),
            checkpoints=CheckpointFolder("s3://nobodys", KEY, every=5),
        )
    assert steps == []


def test_a_file_instead_of_a_folder_is_reported_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")

    with pytest.raises(ConfigError, match=r"cannot read .*taken/c0ffee: Not a directory"):
        ran(checkpoints=CheckpointFolder(tmp_path / "taken", KEY, every=5))


def test_a_diverged_state_is_not_saved(tmp_path: Path) -> None:
    too_fast: dict[str, Any] = {"learning_rate": 1e5, "steps": 40}
    folder = CheckpointFolder(tmp_path, KEY, every=1)
    with pytest.raises(Diverged) as first:
        ran(**too_fast, checkpoints=folder)

    kept = folder.latest()
    assert kept is not None
    assert torch.isfinite(kept["losses"]).all()
    assert kept["images"].abs().max() < 1e4
    # The same command continues and diverges again.
    steps: list[int] = []
    with pytest.raises(Diverged) as second:
        ran(**too_fast, checkpoints=folder, progress=lambda step, of, loss: steps.append(step))
    assert str(second.value) == str(first.value)
    assert steps == []
