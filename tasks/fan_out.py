"""One evaluation over many machines: each part a Prefect task, on whatever worker of the Dask cluster it lands."""

import os
from pathlib import Path
from typing import Any

from prefect import unmapped
from prefect.logging import get_run_logger

from fair_distill.config import Config, load_config
from fair_distill.errors import ConfigError
from fair_distill.evaluation.shards import Shard
from fair_distill.stages.evaluate import evaluate_shard, evaluation_shards
from tasks.task_options import device, step, went_down
from tasks.workspace import Clone, open_clone

CHECKPOINTS = "FAIR_DISTILL_CHECKPOINTS"


@step("evaluate {name}: {part}", hours=24, again=went_down, computes=True)
def evaluate_part(repository: str, revision: str, lock: str | None, name: str, part: Shard) -> None:
    """Train the networks of one part on a set, and keep what they say where the stage `evaluate` finds it.

    What it is trained on was made already: DVC's shared cache has it, or the remote.
    """
    with open_clone(repository, revision=revision, lock=lock) as clone:
        config = load_config(clone.workspace.params)
        clone.dvc.repro(_made_by(config, name), say=get_run_logger().info, pull=True)
        done = evaluate_shard(
            clone.workspace, config, name, part, device=device(), checkpoints=os.environ.get(CHECKPOINTS)
        )
        get_run_logger().info("%s: %s%s", name, part, "" if done else " was there already")


def evaluate_everywhere(clone: Clone) -> None:
    """Have every part of every evaluation that is out of date done by the cluster, and wait.

    The stage has only to join them then.

    Raises
    ------
    ConfigError
        If what workers keep would be lost with their clones.
    """
    if not os.environ.get(CHECKPOINTS) and not Path(clone.repository).is_dir():
        raise ConfigError(f"{clone.repository} is no folder here: set {CHECKPOINTS} to a place that all workers reach")
    config = load_config(clone.workspace.params)
    stale = clone.dvc.would_run("evaluate")
    due = [name for name in config.sets if f"evaluate@{name}" in stale]
    if not due:
        return
    clone.dvc.push(say=get_run_logger().info)
    parts = evaluation_shards(config, device=device())
    names, shares = zip(*((name, part) for name in due for part in parts), strict=True)
    where: Any = unmapped(clone.repository), unmapped(clone.revision), unmapped(clone.lock)
    evaluate_part.map(*where, list(names), list(shares)).result()


def _made_by(config: Config, name: str) -> str:
    return f"{'references' if name in config.references else 'distill'}@{name}"
