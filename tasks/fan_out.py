"""One evaluation on many machines: each shard is a Prefect task, which any worker of the Dask cluster can run."""

import os
from pathlib import Path
from typing import Any

from prefect import unmapped
from prefect.logging import get_run_logger

from fair_distill.config import Config, load_config
from fair_distill.errors import ConfigError
from fair_distill.evaluation.shards import Shard
from fair_distill.stages import evaluate
from tasks.task_options import compute_device, pipeline_task, was_killed
from tasks.workspace import Clone, open_clone

CHECKPOINTS = "FAIR_DISTILL_CHECKPOINTS"


@pipeline_task("evaluate {name}: {shard}", hours=None, retry_if=was_killed, uses_device=True)
def evaluate_shard(repository: str, revision: str, lock: str | None, name: str, shard: Shard) -> None:
    """Train the networks of one shard and store their predictions, where the stage `evaluate` looks for them.

    The set exists already: it is in the shared DVC cache or in the DVC remote.
    """
    with open_clone(repository, revision=revision, lock=lock) as clone:
        config = load_config(clone.workspace.params)
        clone.dvc.repro(_set_stage(config, name), say=get_run_logger().info, pull=True)
        new = evaluate.evaluate_shard(
            clone.workspace, config, name, shard, device=compute_device(), checkpoints=os.environ.get(CHECKPOINTS)
        )
        get_run_logger().info("%s: %s%s", name, shard, "" if new else " was stored before")


def evaluate_on_cluster(clone: Clone) -> None:
    """Evaluate all shards of every outdated evaluation on the cluster, and wait. The stage then only joins them.

    Raises
    ------
    ConfigError
        If the results of workers would be lost with their clones.
    """
    if not os.environ.get(CHECKPOINTS) and not Path(clone.repository).is_dir():
        raise ConfigError(
            f"{clone.repository} is not a folder here, so results of workers would be lost; set {CHECKPOINTS} to an "
            "address that all workers reach"
        )
    config = load_config(clone.workspace.params)
    outdated = clone.dvc.would_run("evaluate")
    sets = [name for name in config.sets if f"evaluate@{name}" in outdated]
    if not sets:
        return
    clone.dvc.push(say=get_run_logger().info)
    shards = evaluate.evaluation_shards(config, device=compute_device())
    set_of_task, shard_of_task = zip(*((name, shard) for name in sets for shard in shards), strict=True)
    source: Any = unmapped(clone.repository), unmapped(clone.revision), unmapped(clone.lock)
    evaluate_shard.map(*source, list(set_of_task), list(shard_of_task)).result()


def _set_stage(config: Config, name: str) -> str:
    return f"{'references' if name in config.references else 'distill'}@{name}"
