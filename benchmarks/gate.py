"""Judging 100,000 predictions on the command line, and replaying a policy over 100 versions of this size.

`fair-distill enforce` runs in a new process, as in a CI job, so the start of Python is included. On a busy machine,
only the CPU seconds are meaningful.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
import yaml

from benchmarks.measure import arguments, report
from fair_distill.config import Gate, load_config
from fair_distill.files import sha256, write_bytes
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.replay import replay
from fair_distill.workspace import Workspace

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "gate")]

from small_evidence import write_gate_split, write_manifest  # noqa: E402 (where it is, the line above says)

SET, FULL, BALANCED = "barycentric", "full", "balanced"
SEEDS, NETWORKS, CLASSES, ROWS = 5, ("convnet", "mlp"), 10, 100_000
VERSIONS = 100
# Groups, whether every image is in each of them, and values of a second attribute.
CASES = {
    "2 groups, paired": (2, True, 1),
    "10 groups, unpaired": (10, False, 1),
    "10 groups of two attributes, unpaired": (10, False, 2),
}


def predictions(groups: int, paired: bool, attributes: int, seed: int) -> Predictions:
    """100,000 answers, right nine times in ten whatever the group."""
    rng = np.random.default_rng(seed)
    examples = ROWS // (SEEDS * len(NETWORKS))
    of_cell = examples // (groups * CLASSES)
    label, group, number = (axis.ravel() for axis in np.indices((CLASSES, groups, of_cell)))
    n = len(label)
    hard = rng.random((CLASSES, 1 if paired else groups, of_cell)) * np.ones((CLASSES, groups, of_cell))
    luck = np.where(rng.random((len(NETWORKS), SEEDS, n)) < 0.8, hard.ravel(), rng.random((len(NETWORKS), SEEDS, n)))
    pair = label * of_cell + number if paired else np.arange(n)
    columns = {"example": np.arange(n), "pair": pair, "cluster": pair, "label": label, "group": group}
    columns = {name: np.tile(values, len(NETWORKS) * SEEDS) for name, values in columns.items()}
    columns["network"] = np.repeat(np.arange(len(NETWORKS)), SEEDS * n)
    columns["seed"] = np.tile(np.repeat(np.arange(SEEDS), n), len(NETWORKS))
    columns["predicted"] = np.where(luck < 0.9, label, (label + 1) % CLASSES).ravel()
    columns["probability"] = np.full(luck.size, 0.9)
    values = [(f"a{g // 2}", f"b{g % 2}")[:attributes] if attributes > 1 else (f"g{g}",) for g in range(groups)]
    return Predictions(
        set=f"{seed:064x}",
        split="b" * 64,
        classes=tuple(f"class{i}" for i in range(CLASSES)),
        groups=tuple("×".join(value) for value in values),
        networks=NETWORKS,
        columns=columns,
        attributes=tuple(values),
        attribute_names=("first", "second")[:attributes] if attributes > 1 else ("group",),
    )


def workspace_of(root: Path, groups: int, paired: bool, attributes: int) -> Workspace:
    """A workspace with all that judging checks: params, context, the gate split, and for each set that the demo's
    policy compares a manifest and predictions."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for limit in params["gate"]["limits"]:  # the numbers are not what is measured
        limit.update({"at_most": 1.0} if "at_most" in limit else {"at_least": -1.0 if "over" in limit else 0.0})
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "context.json").write_text("{}\n")
    workspace = Workspace(root)
    config = load_config(workspace.params)
    options = {network.name: network.options for network in config.evaluate.networks}
    for seed, name in enumerate((SET, FULL, BALANCED), start=VERSIONS):
        table = predictions(groups, paired, attributes, seed)
        version = write_manifest(workspace, config, name, classes=CLASSES, groups=groups)
        split = write_gate_split(workspace, table)
        write_bytes(workspace.predictions(name), replace(table, set=version, split=split, options=options).to_parquet())
    return workspace


def timed(run: Callable[[], object], process: int) -> tuple[float, float]:
    """Wall-clock and CPU seconds."""
    began, before = time.perf_counter(), resource.getrusage(process)
    run()
    after = resource.getrusage(process)
    return time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def spread(times: list[tuple[float, float]]) -> dict[str, float]:
    wall, cpu = ([measurement[i] for measurement in times] for i in range(2))
    return {"wall": median(wall), "wall_low": min(wall), "wall_high": max(wall), "cpu": median(cpu)}


def enforce(workspace: Workspace) -> None:
    code = "import sys; from fair_distill.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "--workspace", str(workspace.root), "enforce", SET]
    # An installed package has its bytecode; an environment that forbids bytecode would compile it in every run.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr


def outcomes(policy: Gate, versions: dict[str, bytes], references: dict[str, bytes]) -> None:
    results = {row.outcome for row in replay(policy, versions, references=references, engine=1)}
    assert results == {"pass"}, results


def main() -> None:
    parsed = arguments(__doc__, rounds=7)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for case, (groups, paired, attributes) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            workspace = workspace_of(Path(folder), groups, paired, attributes)
            enforce(workspace)
            times = [timed(partial(enforce, workspace), resource.RUSAGE_CHILDREN) for _ in range(parsed.rounds)]
            results[case] = {"enforce": spread(times)}
            policy = load_config(workspace.params).gate
            split = sha256(workspace.split("gate"))
            options = {network.name: network.options for network in load_config(workspace.params).evaluate.networks}
            versions = {
                f"v{i}": replace(predictions(groups, paired, attributes, i), split=split, options=options).to_parquet()
                for i in range(VERSIONS)
            }
            references = {name: workspace.predictions(name).read_bytes() for name in (FULL, BALANCED)}

            judged = partial(outcomes, policy, versions, references)
            results[case]["replay_of_100"] = spread([timed(judged, resource.RUSAGE_SELF)])
        print(case, json.dumps(results[case]))
    result = {"predictions": ROWS, "versions": VERSIONS, "rounds": parsed.rounds, "seconds": results}
    report("gate", result, device=torch.device("cpu"), out=parsed.out)


if __name__ == "__main__":
    main()
