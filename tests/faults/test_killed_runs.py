"""SIGTERM or kill -9 in the middle of a distillation, then the same command: the same digest as without."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_workspace import run

from fair_distill.artifacts import Workspace, sha256

COMMAND = [sys.executable, "-m", "fair_distill", "distill", "barycentric", "--checkpoint-every", "1"]
# How many random steps are tried; `make test-kills` asks for more.
KILLS = int(os.environ.get("FAIR_DISTILL_KILLS", "1"))


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("round", range(KILLS))
def test_a_killed_run_ends_where_an_uninterrupted_one_does(workspace: Path, sent: signal.Signals, round: int) -> None:
    made = Workspace(workspace).set("barycentric") / "manifest.json"
    wanted = sha256(made)
    made.unlink()
    # The line that tells of this step is where the signal is sent; steps differ from round to round.
    step = 1 + (round * 7 + (2 if sent == signal.SIGTERM else 1)) % 4

    process = subprocess.Popen(COMMAND, cwd=workspace, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if f": {step} of " in line:
            process.send_signal(sent)
            break
    process.stderr.read()
    code = process.wait()

    assert code == (143 if sent == signal.SIGTERM else -signal.SIGKILL)
    assert not made.exists()
    assert any((workspace / ".checkpoints").rglob("*.safetensors"))
    again = run(workspace, "distill", "barycentric")
    assert again.code == 0, again.err
    assert sha256(made) == wanted
    assert not list((workspace / ".checkpoints").rglob("*.safetensors"))
