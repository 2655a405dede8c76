"""Actions on the registry as Prefect tasks. A refusal is a result and is not retried; an unreachable store is."""

import os
from datetime import UTC, datetime
from pathlib import Path

from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import task_run
from prefect.states import Failed

from fair_distill.config import load_config
from fair_distill.errors import Refused, Undecided
from fair_distill.registry.actor import Actor
from fair_distill.registry.writer import open_to_write
from fair_distill.stages.context import reserve_attempt
from fair_distill.stages.promote import promote_version
from fair_distill.stages.publish import publish_set
from fair_distill.statements import SIGNING_KEY, signer
from tasks.run_page import link_report, show_set, show_table
from tasks.task_options import pipeline_task, store_unreachable
from tasks.workspace import Clone


def task_actor(now: datetime) -> Actor:
    """Return the actor of a task run, whose id is the nonce: a retry then recognises an entry that it wrote before.

    It signs with the key that FAIR_DISTILL_SIGNING_KEY of the worker names.
    """
    key = os.environ.get(SIGNING_KEY)
    return Actor("prefect", now, str(task_run.id).replace("-", ""), signer(Path(key)) if key else None)


@pipeline_task("reserve the attempt", hours=1, retry_if=store_unreachable)
def reserve(clone: Clone) -> int:
    """Record the release candidate's attempt at the gate split in the registry and return its number.

    context.json keeps its committed content, because promotion computes the context itself.
    """
    workspace, store = clone.workspace, open_to_write(clone.registry)
    config = load_config(workspace.params)
    actor = task_actor(datetime.now(UTC))
    attempt = reserve_attempt(workspace, config, config.release.candidate, store=store, actor=actor)
    get_run_logger().info("reserved attempt %d at this gate split", attempt.entry.attempt)
    return attempt.entry.attempt


@pipeline_task(hours=1, retry_if=store_unreachable)
def publish(clone: Clone) -> str:
    """Publish the release candidate and return its version."""
    workspace, now = clone.workspace, datetime.now(UTC)
    published = publish_set(workspace, load_config(workspace.params), registry=clone.registry, actor=task_actor(now))
    status = "published" if published.new else "was published before"
    get_run_logger().info("v%d %s: %s", published.number, status, published.version)
    return published.version


@pipeline_task("promote to {channel}", hours=1, retry_if=store_unreachable)
def promote(clone: Clone, channel: str) -> str | State[str]:
    """Promote the release candidate to a channel if it passes the gate, and return its version.

    A refusal ends the task in the state `Blocked`. If the task raised it, Prefect would log it as an unexpected
    exception with a traceback.
    """
    workspace, now = clone.workspace, datetime.now(UTC)
    try:
        promoted = promote_version(
            workspace, load_config(workspace.params), channel, registry=clone.registry, actor=task_actor(now)
        )
    except (Refused, Undecided) as refusal:
        return Failed(name="Blocked", message=str(refusal))
    get_run_logger().info("%s %s v%d", channel, "is now" if promoted.new else "is already", promoted.number)
    return promoted.version


@pipeline_task(hours=1, retry_if=store_unreachable)
def show(clone: Clone) -> None:
    """Show the release candidate and the table of all sets on the page of the run."""
    workspace = clone.workspace
    config = load_config(workspace.params)
    show_table(workspace, list(config.sets))
    show_set(workspace, config.release.candidate, pictures=config.validate_.privacy != "restricted")
    link_report(clone, workspace, config, config.release.candidate)
