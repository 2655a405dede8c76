"""Acting on the registry, as Prefect tasks. A refusal is a result: it is not retried. A lost answer is."""

import os
from datetime import UTC, datetime
from pathlib import Path

from prefect.logging import get_run_logger
from prefect.runtime import task_run

from fair_distill.config import load_config
from fair_distill.registry.actor import Actor
from fair_distill.registry.writer import open_to_write
from fair_distill.stages.context import reserve_attempt
from fair_distill.stages.promote import promote_version
from fair_distill.stages.publish import publish_set
from fair_distill.statements import SIGNING_KEY, signer
from tasks.run_page import tell_report, tell_set, tell_table
from tasks.task_options import step, unanswered
from tasks.workspace import Clone


def actor(now: datetime) -> Actor:
    """The task run's own id is the nonce: a retry after a lost answer finds what it wrote.

    Signs with the key that the worker's environment names, as the command line does.
    """
    key = os.environ.get(SIGNING_KEY)
    return Actor("prefect", now, str(task_run.id).replace("-", ""), signer(Path(key)) if key else None)


@step("reserve the attempt", hours=1, again=unanswered)
def reserve(clone: Clone) -> int:
    """Enter the release candidate's attempt at the gate split in the registry; return its number.

    context.json stays as it is in git: promotion makes the context that counts for itself.
    """
    place, store = clone.workspace, open_to_write(clone.registry)
    config = load_config(place.params)
    *_, number = reserve_attempt(place, config, config.release.candidate, store=store, actor=actor(datetime.now(UTC)))
    get_run_logger().info("attempt %d at this gate split", number)
    return number


@step(hours=1, again=unanswered)
def publish(clone: Clone) -> str:
    """Publish the release candidate and return its version."""
    place, now = clone.workspace, datetime.now(UTC)
    done = publish_set(place, load_config(place.params), registry=clone.registry, actor=actor(now))
    get_run_logger().info("v%d %s: %s", done.number, "published" if done.new else "was published already", done.version)
    return done.version


@step("promote to {channel}", hours=1, again=unanswered)
def promote(clone: Clone, channel: str) -> str:
    """Promote the release candidate to a channel, if the gate lets it; return its version."""
    place, now = clone.workspace, datetime.now(UTC)
    done = promote_version(place, load_config(place.params), channel, registry=clone.registry, actor=actor(now))
    get_run_logger().info("%s %s v%d", channel, "is now" if done.new else "is already", done.number)
    return done.version


@step(hours=1, again=unanswered)
def show(clone: Clone) -> None:
    """Put the release candidate and the table of all sets on the run's page."""
    place = clone.workspace
    config = load_config(place.params)
    tell_table(place, list(config.sets))
    tell_set(place, config.release.candidate, pictures=config.validate_.privacy != "restricted")
    tell_report(clone, place, config, config.release.candidate)
