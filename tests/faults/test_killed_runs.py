"""A distillation that is killed and started again gives the same digest as an uninterrupted one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_workspace import MTT, run, small_params, tree, write_params

from fair_distill.files import sha256
from fair_distill.workspace import Workspace

# The number of killed runs, and the seed of the steps at which they are killed; `make test-kills` sets more runs.
KILLS = int(os.environ.get("FAIR_DISTILL_KILLS", "2"))
SEED = int(os.environ.get("FAIR_DISTILL_KILLS_SEED", "0"))
STEPS, LATEST_KILL = 20, 12  # far enough from the end that no run finishes before it is killed
SIGNALS = (signal.SIGTERM, signal.SIGKILL)

SGD = {"name": "sgd", "learning_rate": 1.0, "momentum": 0.5}
ADAM = {"name": "adam", "learning_rate": 0.01, "momentum": 0.9}
LESSONS = {"warmup_epochs": 1, "advance": 1, "advance_on": "synthetic", "learning_rate": 0.01, "batch_size": 32}
POOL = {"pool": 3, "visits": 4, **LESSONS}
CAFE = {"name": "cafe", "layer_weights": [1.0, 1.0], "discrimination": 0.1}
# Together these methods use every kind of state in a checkpoint: networks, their ages, moments, streams, mosaics.
METHODS: dict[str, dict[str, Any]] = {
    "idc, mosaics, networks trained on real images, adam": {
        "matcher": "idc",
        "distance": "cosine",
        "formation": 2,
        "networks": POOL | {"pool": 1, "advance_on": "real"},
        "optimiser": ADAM,
    },
    "cafe, a pool, sgd": {"matcher": CAFE, "networks": POOL, "optimiser": SGD},
    "dm, a pool, adam": {"matcher": "dm", "networks": POOL, "optimiser": ADAM},
    "dm, fresh networks, sgd": {"matcher": "dm", "optimiser": SGD},
    "dc, one network for four steps, sgd": {
        "matcher": "dc",
        "distance": "cosine",
        "networks": POOL | {"pool": 1},
        "optimiser": SGD | {"learning_rate": 0.1},
    },
}


def cases() -> list[Any]:
    """Return every method with alternating signals, at steps drawn with the seed."""
    steps = np.random.default_rng(SEED).integers(1, LATEST_KILL + 1, KILLS).tolist()
    parameters = []
    for i, step in enumerate(steps):
        lap, place = divmod(i, len(METHODS))
        method, sent = list(METHODS)[place], SIGNALS[(place + lap) % len(SIGNALS)]
        parameters.append(pytest.param(method, sent, step, id=f"{i}: {sent.name} at step {step}: {method}"))
    return parameters


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, str]:
    """The digests of uninterrupted runs by method, filled by the tests."""
    return {}


@pytest.mark.parametrize(("method", "sent", "step"), cases())
def test_a_killed_run_gives_the_digest_of_an_uninterrupted_run(
    workspace: Path, uninterrupted: dict[str, str], method: str, sent: signal.Signals, step: int
) -> None:
    params = small_params()
    params["distill"] |= METHODS[method] | {"steps": STEPS}
    write_params(workspace, params)
    manifest = Workspace(workspace).set("barycentric") / "manifest.json"
    if method not in uninterrupted:
        assert run(workspace, "distill", "barycentric").code == 0
        uninterrupted[method] = sha256(manifest)
    manifest.unlink()

    command = [sys.executable, "-m", "fair_distill", "distill", "barycentric", "--checkpoint-every", "1"]
    process = subprocess.Popen(command, cwd=workspace, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        # The signal arrives while the run saves this step or computes the next one.
        if json.loads(line)["step"] == step:
            process.send_signal(sent)
            break
    process.stderr.read()
    code = process.wait()

    assert code == (143 if sent == signal.SIGTERM else -signal.SIGKILL)
    assert not manifest.exists()
    again = run(workspace, "distill", "barycentric")
    assert again.code == 0, again.err
    first = json.loads(again.err.splitlines()[0])["step"]
    assert first >= step, "the run started again instead of resuming"
    assert sha256(manifest) == uninterrupted[method]
    assert not list((workspace / ".checkpoints").glob("*"))


def test_killed_experts_give_the_files_of_uninterrupted_experts(workspace: Path) -> None:
    params = small_params()
    params["distill"]["matcher"] = MTT | {"experts": MTT["experts"] | {"count": 3}}
    write_params(workspace, params)
    folder = Workspace(workspace).experts("barycentric")
    assert run(workspace, "experts", "barycentric").code == 0
    expected = tree(folder)

    command = [sys.executable, "-m", "fair_distill", "experts", "barycentric"]
    process = subprocess.Popen(command, cwd=workspace, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line)["step"] == 3:  # of 6 steps, 2 per expert
            process.kill()
            break
    process.stderr.read()

    assert process.wait() == -signal.SIGKILL
    assert tree(folder) != expected
    again = run(workspace, "experts", "barycentric")
    assert again.code == 0, again.err
    assert json.loads(again.err.splitlines()[0])["step"] == 3, "the run started again instead of resuming"
    assert tree(folder) == expected
    assert not list((workspace / ".checkpoints").glob("*"))
