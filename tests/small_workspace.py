"""A workspace in which every stage runs in a second, and the command line as a function."""

import contextlib
import io
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fair_distill.cli import main
from fair_distill.config import Candidate, checked
from fair_distill.data.grouped_dataset import Array, GroupedDataset

REPOSITORY = Path(__file__).parents[1]
REFERENCES = ("full", "random", "balanced")
CANDIDATES = ("pooled", "barycentric")
SETS = (*REFERENCES, *CANDIDATES)
# A matcher that needs experts. The params.yaml of the repository does not use one.
MTT: dict[str, Any] = {
    "name": "mtt",
    "student_steps": 2,
    "expert_epochs": 1,
    "start_epochs": 2,
    "step_size": 0.01,
    "step_size_learning_rate": 1e-6,
    "batch_size": 10,
    "experts": {"count": 2, "epochs": 2, "learning_rate": 0.01, "momentum": 0.0, "batch_size": 128, "augment": []},
}


@cache
def _repository_params() -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    return params


def small_params() -> dict[str, Any]:
    """Return the repository's params.yaml with sizes that are too small for useful results, so that stages run fast."""
    params = deepcopy(_repository_params())
    params["threads"] = 1  # with two threads, one waits for the other on a busy machine
    params["data"]["source"] = {"name": "digits", "size": 8}
    params["data"]["splits"] = {"train": 0.8, "tune": 0.1, "gate": 0.1}
    params["data"]["own_share"] = 0.9
    network = {"name": "convnet", "width": 8, "depth": 2}
    params["recipe"] |= {"network": dict(network), "steps": 20, "batch_size": 32}
    params["distill"] |= {"network": dict(network), "steps": 5, "ipc": 2, "real_per_class": 8}
    params["distill"]["shrinkage"] = {"prior": 2.0}
    params["candidates"] = {
        "pooled": {"alignment": "pooled"},
        "barycentric": {"alignment": "barycentric", "barycenter": "mean"},
    }
    params["references"] = {
        "full": {"select": "all"},
        "random": {"select": "random"},
        "balanced": {"select": "group_balanced"},
    }
    params["sets"] = list(SETS)
    params["evaluate"] = {"seeds": 2, "networks": [dict(network), {"name": "mlp", "width": 8, "depth": 1}]}
    params["gate"] = {
        "mode": "point",
        "limits": [
            {"metric": "eo_diag_max", "at_most": 0.3, "why": "a test"},
            {"metric": "accuracy", "at_least": 0.85, "why": "a test"},
        ],
    }
    params["release"] = {"candidate": "barycentric", "channels": ["production"], "signed_by": [], "approvals": {}}
    return params


def write_params(root: Path, params: dict[str, Any]) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


@dataclass(frozen=True)
class Ended:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


def run(root: Path, *argv: str) -> Ended:
    """Call `fair-distill --workspace ROOT ARGV` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(["--workspace", str(root), *argv])
        except SystemExit as end:  # raised by the argument parser
            code = end.code if isinstance(end.code, int) else 1
    return Ended(code, out.getvalue(), err.getvalue())


def tree(root: Path) -> dict[str, bytes]:
    """Return the contents of every file in a folder, including hidden files."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def candidate(alignment: Any, **settings: Any) -> Candidate:
    """Return a candidate with the settings that params.yaml would have."""
    return checked(Candidate, {"alignment": alignment, **settings}, name="params.yaml")


def grouped(counts_CG: Any, *, size: int = 8, channels: int = 3, seed: int = 0) -> GroupedDataset:
    """Return images of noise with a bright vertical band. The position of the band depends on the group."""
    counts = np.asarray(counts_CG)
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts.sum(axis=1))
    groups: Array = np.concatenate([np.repeat(np.arange(len(row)), row) for row in counts])
    band = np.arange(size) * counts.shape[1] // size == groups[:, None]
    images = rng.integers(0, 55, (len(labels), channels, size, size)) + 200 * band[:, None, None, :]
    return GroupedDataset.from_arrays(
        images.astype(np.uint8),
        labels,
        groups,
        classes=[f"class{i}" for i in range(len(counts))],
        groups=[f"group{i}" for i in range(counts.shape[1])],
    )
