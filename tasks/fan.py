"""One evaluation over many machines: each part a Prefect task, on whatever worker of the Dask cluster it lands."""

import os
from typing import Any

from prefect import unmapped
from prefect.logging import get_run_logger

from fair_distill import stages
from fair_distill.config import Config, load_config
from fair_distill.evaluation.parts import Part
from tasks.kinds import step, went_down
from tasks.placement import device
from tasks.workspace import Clone, open_clone

CHECKPOINTS = "FAIR_DISTILL_CHECKPOINTS"


@step("evaluate {name}: {part}", hours=24, again=went_down)
def evaluate_part(repository: str, revision: str, name: str, part: Part) -> None:
    """Train the networks of one part on a set, and keep what they say where the stage `evaluate` finds it.

    What it is trained on was made already: DVC's shared cache has it, or the remote.
    """
    with open_clone(repository, revision=revision) as clone:
        config = load_config(clone.workspace.params)
        clone.dvc.repro(_made_by(config, name), say=get_run_logger().info, pull=True)
        done = stages.evaluate_part(
            clone.workspace, config, name, part, device=device(), checkpoints=os.environ.get(CHECKPOINTS)
        )
        get_run_logger().info("%s: %s%s", name, part, "" if done else " was there already")


def evaluate_everywhere(clone: Clone) -> None:
    """Have every part of every set's evaluation done by the cluster, and wait. The stage has only to join them then."""
    clone.dvc.push(say=get_run_logger().info)
    config = load_config(clone.workspace.params)
    parts = stages.parts(config, device=device())
    names, shares = zip(*((name, part) for name in config.sets for part in parts), strict=True)
    where: Any = unmapped(clone.repository), unmapped(clone.revision)
    evaluate_part.map(*where, list(names), list(shares)).result()


def _made_by(config: Config, name: str) -> str:
    return f"{'references' if name in config.references else 'distill'}@{name}"
