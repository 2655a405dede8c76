"""A run that is stopped and taken up ends where the uninterrupted one does; foreign checkpoints are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_loop import ran, streams

from fair_distill.distillation.checkpoint import CheckpointFolder
from fair_distill.errors import IntegrityError

KEY = "c0ffee"
METHODS: dict[str, dict[str, Any]] = {
    "fresh networks": {},
    "a pool, momentum": {"pool": 2, "visits": 3, "advance": 1},
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


class Stopped(Exception):
    """Raised in the middle of a run."""


def stop_at(step: int) -> Any:
    def progress(done: int, of: int, loss: float) -> None:
        if done == step:
            raise Stopped

    return progress


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stopped", [1, 4, 7])
def test_a_run_that_is_taken_up_gives_the_same_bytes(tmp_path: Path, method: str, stopped: int) -> None:
    settings = METHODS[method]
    whole = ran(**settings)

    with pytest.raises(Stopped):
        ran(**settings, progress=stop_at(stopped), checkpoints=CheckpointFolder(tmp_path, KEY, every=2))
    # Other streams: what is taken up must not depend on where these stand.
    again = (
        ran(**settings, seeds=streams(99), checkpoints=CheckpointFolder(tmp_path, KEY, every=2))
        if stopped > 2
        else (ran(**settings, checkpoints=CheckpointFolder(tmp_path, KEY, every=2)))
    )

    np.testing.assert_array_equal(again.images, whole.images)
    assert again.losses == whole.losses


def test_no_more_than_two_are_kept_and_none_when_it_is_done(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, KEY, every=1)
    ran(checkpoints=folder)

    assert sorted(path.name for path in (tmp_path / KEY).iterdir()) == [
        "000000009.safetensors",
        "000000010.safetensors",
    ]
    folder.done()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, KEY, every=5)
    ran(checkpoints=folder)
    newest = tmp_path / KEY / "000000010.safetensors"
    newest.write_bytes(newest.read_bytes()[:-5])

    with pytest.raises(IntegrityError, match="not a checkpoint"):
        folder.latest()


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    ran(checkpoints=CheckpointFolder(tmp_path, KEY, every=5))
    (tmp_path / KEY).rename(tmp_path / "decaf")

    with pytest.raises(IntegrityError, match="another configuration"):
        CheckpointFolder(tmp_path, "decaf", every=5).latest()
