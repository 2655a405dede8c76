"""Judging again what is live, as Prefect tasks."""

from dataclasses import dataclass
from datetime import UTC, datetime

from prefect.logging import get_run_logger

from fair_distill.config import load_config
from fair_distill.stages.regate import LiveVersion, live_versions, regate_version, with_live_version
from tasks.registry import actor
from tasks.run_page import tell_report, tell_set
from tasks.task_options import device, step, unanswered
from tasks.workspace import Clone


@dataclass(frozen=True)
class Judged:
    """What became of a live version."""

    sentence: str
    demoted: bool
    undecided: bool


def stages_to_judge_by(clone: Clone) -> list[str]:
    """Return what has to be up to date before anything can be judged: the splits, and what clauses compare to."""
    config = load_config(clone.workspace.params)
    compared = sorted({limit.over for limit in config.gate.limits if limit.over} & config.references.keys())
    return ["prepare", *(f"evaluate@{name}" for name in compared)]


@step(hours=1, again=unanswered)
def what_is_live(clone: Clone) -> tuple[LiveVersion, ...]:
    """Return the versions that any channel gives now."""
    return live_versions(load_config(clone.workspace.params), registry=clone.registry)


@step("judge v{version.number} again", hours=24, again=unanswered, computes=True)
def judge_again(clone: Clone, version: LiveVersion) -> Judged:
    """Judge one version, demote it if it fails, and show the verdict."""
    place, now = clone.workspace, datetime.now(UTC)
    config = load_config(place.params)
    done = regate_version(
        place,
        config,
        version,
        registry=clone.registry,
        actor=actor(now),
        device=device(),
        now=now.date(),
    )
    told = f"v{version.number}: {done.verdict.outcome}"
    told += f", taken off {', '.join(done.demoted)}" if done.demoted else f", stays in {', '.join(version.channels)}"
    get_run_logger().info("%s%s", told, " (measured anew)" if done.measured else "")
    tell_set(place, version.name, pictures=False)
    tell_report(clone, place, with_live_version(config, version), version.name)
    return Judged(told, bool(done.demoted), done.verdict.outcome in ("inconclusive", "insufficient"))
