"""The points of a sweep, as Prefect tasks: each in a clone of its own, on whatever worker it lands."""

import os
import tempfile
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff

from fair_distill import versioning
from fair_distill.artifacts import Workspace
from fair_distill.config import load_config
from fair_distill.config.files import read_params
from fair_distill.gate.choose import Tuned, margin, shrinkage, smallest_that_should_pass
from fair_distill.stages import sweep as stages
from tasks.stages import HOUR, went_down
from tasks.telling import Telling, tell_set


@task(
    task_run_name="{point.name}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=10),
    retry_jitter_factor=0.5,
    retry_condition_fn=went_down,
    timeout_seconds=24 * HOUR,
)
def tune_point(repository: str, revision: str, point: stages.Point) -> tuple[Tuned, float]:
    """Distil one candidate and ask the tune split about it; return that, and how bounds shrink from tune to gate."""
    with tempfile.TemporaryDirectory(prefix="fair-distill-", ignore_cleanup_errors=True) as folder:
        place, config = _at_point(repository, revision, point, Path(folder))
        say = Telling(get_run_logger().info)
        for stage in (f"distill@{point.candidate}", *(f"references@{name}" for name in stages.compared_to(config))):
            versioning.repro_stage(place.root, stage, say=say)
        device = os.environ.get("FAIR_DISTILL_DEVICE", "cpu")
        found = stages.tuned(place, config, point, scratch=Path(folder) / "tune", device=device)
        return found, shrinkage(*stages.sizes(place))


@task(cache_policy=NO_CACHE, persist_result=False, timeout_seconds=HOUR)
def choose(workspace: Path, found: list[tuple[Tuned, float]]) -> str | None:
    """Show what tune says of every point, and return the name of the smallest that should pass; None if none should."""
    limits = stages.ranked_by(load_config(Workspace(workspace).params).gate)
    rows = [
        {
            "point": tuned.name,
            "images": tuned.examples,
            "margin": "–" if (of := margin(tuned, limits, shrink=shrink)) is None else f"{of:+.3f}",
            **{f"{finding.clause}": _shown(finding.value) for finding in tuned.verdict.findings},
        }
        for tuned, shrink in found
    ]
    create_table_artifact(rows, key="sweep", description="every candidate on tune; margin: to the nearest limit")
    best = smallest_that_should_pass([tuned for tuned, _ in found], limits, shrink=found[0][1])
    return best.name if best else None


@task(task_run_name="judge {point.name}", cache_policy=NO_CACHE, persist_result=False, timeout_seconds=24 * HOUR)
def judge_choice(repository: str, revision: str, point: stages.Point) -> str:
    """Judge the one candidate that was chosen on the gate split; return the outcome."""
    with tempfile.TemporaryDirectory(prefix="fair-distill-", ignore_cleanup_errors=True) as folder:
        place, _ = _at_point(repository, revision, point, Path(folder))
        versioning.repro_stage(place.root, f"judge@{point.candidate}", say=Telling(get_run_logger().info))
        tell_set(place, point.candidate, pictures=load_config(place.params).validate_.privacy != "restricted")
        return stages.outcome(place, point.candidate)


def _at_point(repository: str, revision: str, point: stages.Point, folder: Path) -> tuple[Workspace, Any]:
    clone = versioning.cloned(repository, folder / "workspace", revision=revision)
    place = Workspace(clone)
    return place, stages.write_point(place, read_params(place.params), point)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
