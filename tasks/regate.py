"""Judging live versions again, as Prefect tasks."""

from dataclasses import dataclass
from datetime import UTC, datetime

from prefect.logging import get_run_logger

from fair_distill.config import load_config
from fair_distill.stages.regate import LiveVersion, live_versions, regate_version, with_live_version
from tasks.registry import task_actor
from tasks.run_page import link_report, show_set
from tasks.task_options import compute_device, pipeline_task, store_unreachable
from tasks.workspace import Clone


@dataclass(frozen=True)
class RegateSummary:
    """The new outcome of a live version.

    Attributes
    ----------
    sentence : version, outcome and channels, for the state message of the flow run
    undecided : whether the version neither passes nor fails
    """

    sentence: str
    demoted: bool
    undecided: bool


def stages_needed_to_judge(clone: Clone) -> list[str]:
    """Return the stages that must be up to date before judging: the splits and the references of clauses."""
    config = load_config(clone.workspace.params)
    compared = sorted({limit.over for limit in config.gate.limits if limit.over} & config.references.keys())
    return ["prepare", *(f"evaluate@{name}" for name in compared)]


@pipeline_task("list live versions", hours=1, retry_if=store_unreachable)
def list_live_versions(clone: Clone) -> tuple[LiveVersion, ...]:
    """Return the current versions of all channels."""
    return live_versions(load_config(clone.workspace.params), registry=clone.registry)


@pipeline_task("judge v{version.number} again", hours=24, retry_if=store_unreachable, uses_device=True)
def judge_again(clone: Clone, version: LiveVersion) -> RegateSummary:
    """Judge one version, demote it if it fails, and show its verdict."""
    workspace, now = clone.workspace, datetime.now(UTC)
    config = load_config(workspace.params)
    result = regate_version(
        workspace,
        config,
        version,
        registry=clone.registry,
        actor=task_actor(now),
        device=compute_device(),
        now=now.date(),
    )
    sentence = f"v{version.number}: {result.verdict.outcome}"
    if result.demoted:
        sentence += f", removed from {', '.join(result.demoted)}"
    else:
        sentence += f", stays in {', '.join(version.channels)}"
    get_run_logger().info("%s%s", sentence, " (networks were trained again)" if result.measured else "")
    show_set(workspace, version.name, pictures=False)
    link_report(clone, workspace, with_live_version(config, version), version.name)
    return RegateSummary(sentence, bool(result.demoted), result.verdict.outcome in ("inconclusive", "insufficient"))
