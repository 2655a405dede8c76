"""Judging again what is live, as Prefect tasks."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff

from fair_distill.artifacts import Workspace
from fair_distill.config import load_config
from fair_distill.stages import live as stages
from tasks.registry import hand, unanswered
from tasks.stages import HOUR
from tasks.telling import tell_set


@dataclass(frozen=True)
class Judged:
    """What became of a live version."""

    sentence: str
    demoted: bool
    undecided: bool


def stages_to_judge_by(workspace: Path) -> list[str]:
    """Return what has to be up to date before anything can be judged: the splits, and what clauses compare to."""
    config = load_config(Workspace(workspace).params)
    compared = sorted({limit.over for limit in config.gate.limits if limit.over} & config.references.keys())
    return ["prepare", *(f"evaluate@{name}" for name in compared)]


@task(cache_policy=NO_CACHE, persist_result=False, timeout_seconds=HOUR)
def what_is_live(workspace: Path, registry: str) -> tuple[stages.Live, ...]:
    """Return the versions that any channel gives now."""
    return stages.live(load_config(Workspace(workspace).params), registry=registry)


@task(
    task_run_name="judge v{version.number} again",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=5),
    retry_jitter_factor=0.5,
    retry_condition_fn=unanswered,
    timeout_seconds=24 * HOUR,
)
def judge_again(workspace: Path, registry: str, version: stages.Live) -> Judged:
    """Judge one version, demote it if it fails, and show the verdict."""
    place = Workspace(workspace)
    now = datetime.now(UTC)
    done = stages.regate(
        place,
        load_config(place.params),
        version,
        registry=registry,
        hand=hand(now),
        device=os.environ.get("FAIR_DISTILL_DEVICE", "cpu"),
        now=now.date(),
    )
    told = f"v{version.number}: {done.verdict.outcome}"
    told += f", taken off {', '.join(done.demoted)}" if done.demoted else f", stays in {', '.join(version.channels)}"
    get_run_logger().info("%s%s", told, " (measured anew)" if done.measured else "")
    tell_set(place, version.name, pictures=False)
    return Judged(told, bool(done.demoted), done.verdict.outcome in ("inconclusive", "insufficient"))
