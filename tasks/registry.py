"""Publishing and promoting as Prefect tasks. A refusal is a result: it is not retried."""

from datetime import UTC, datetime
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import task_run

from fair_distill import stages
from fair_distill.artifacts import Workspace
from fair_distill.config import load_config


def _hand() -> stages.Hand:
    """The task run's own id is the nonce: a retry after a lost answer finds what it wrote."""
    return stages.Hand("prefect", datetime.now(UTC), str(task_run.id).replace("-", ""))


@task(cache_policy=NO_CACHE, persist_result=False)
def publish(workspace: Path, registry: str) -> str:
    """Publish the release candidate and return its version."""
    place = Workspace(workspace)
    done = stages.publish(place, load_config(place.params), registry=registry, hand=_hand())
    get_run_logger().info("v%d %s: %s", done.number, "published" if done.new else "was published already", done.version)
    return done.version


@task(cache_policy=NO_CACHE, persist_result=False)
def promote(workspace: Path, registry: str, channel: str) -> str:
    """Promote the release candidate to a channel, if the gate lets it; return its version."""
    place = Workspace(workspace)
    done = stages.promote(place, load_config(place.params), channel, registry=registry, hand=_hand())
    get_run_logger().info("%s %s v%d", channel, "is now" if done.new else "is already", done.number)
    return done.version
