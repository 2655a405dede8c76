"""Acting on the registry, as Prefect tasks. A refusal is a result: it is not retried. A lost answer is."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.runtime import task_run
from prefect.tasks import exponential_backoff

from fair_distill import stages
from fair_distill.artifacts import Workspace
from fair_distill.config import load_config
from fair_distill.registry.statements import SIGNING_KEY, signer
from fair_distill.registry.store import Unanswered, open_store
from tasks.telling import tell_set, tell_table


async def unanswered(task: Any, run: TaskRun, state: State[Any]) -> bool:
    """Say whether the store left us without an answer, or could not be reached; all else would be the same again."""
    return isinstance(await state.aresult(raise_on_failure=False), (Unanswered, OSError))


def hand(now: datetime) -> stages.Hand:
    """The task run's own id is the nonce: a retry after a lost answer finds what it wrote.

    Signs with the key that the worker's environment names, as the command line does.
    """
    key = os.environ.get(SIGNING_KEY)
    return stages.Hand("prefect", now, str(task_run.id).replace("-", ""), signer(Path(key)) if key else None)


@task(
    task_run_name="reserve the attempt",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    retry_condition_fn=unanswered,
    timeout_seconds=3600,
)
def reserve(workspace: Path, registry: str) -> int:
    """Enter the release candidate's attempt at the gate split in the registry; return its number.

    context.json stays as it is in git: promotion makes the context that counts for itself.
    """
    place = Workspace(workspace)
    config = load_config(place.params)
    _, number = stages.reserve_attempt(
        place, config, config.release.candidate, store=open_store(registry), hand=hand(datetime.now(UTC))
    )
    get_run_logger().info("attempt %d at this gate split", number)
    return number


@task(
    task_run_name="publish",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    retry_condition_fn=unanswered,
    timeout_seconds=3600,
)
def publish(workspace: Path, registry: str) -> str:
    """Publish the release candidate and return its version."""
    place = Workspace(workspace)
    done = stages.publish(place, load_config(place.params), registry=registry, hand=hand(datetime.now(UTC)))
    get_run_logger().info("v%d %s: %s", done.number, "published" if done.new else "was published already", done.version)
    return done.version


@task(
    task_run_name="promote to {channel}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    retry_condition_fn=unanswered,
    timeout_seconds=3600,
)
def promote(workspace: Path, registry: str, channel: str) -> str:
    """Promote the release candidate to a channel, if the gate lets it; return its version."""
    place = Workspace(workspace)
    done = stages.promote(place, load_config(place.params), channel, registry=registry, hand=hand(datetime.now(UTC)))
    get_run_logger().info("%s %s v%d", channel, "is now" if done.new else "is already", done.number)
    return done.version


@task(task_run_name="show", cache_policy=NO_CACHE, persist_result=False, timeout_seconds=600)
def show(workspace: Path) -> None:
    """Put the release candidate and the table of all sets on the run's page."""
    place = Workspace(workspace)
    config = load_config(place.params)
    tell_table(place, list(config.sets))
    tell_set(place, config.release.candidate, pictures=config.validate_.privacy != "restricted")
