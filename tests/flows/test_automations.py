"""The automations on a real server: a lost or crashed run is restarted, and a run that has ended never is."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from running_prefect import REPOSITORY, Prefect, until

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif("FAIR_DISTILL_FLOWS" not in os.environ, reason="make test-flows sets this; some minutes"),
]


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    """A server with the automations. A run is lost after 10 seconds without a heartbeat, instead of 10 minutes."""
    home = tmp_path_factory.mktemp("prefect")
    running, automations = Prefect(home, {}), home / "automations.yaml"
    text = (REPOSITORY / "flows" / "automations.yaml").read_text()
    assert text.count("within: 600") == 1
    automations.write_text(text.replace("within: 600", "within: 10"))
    try:
        running.serve()
        running.do("prefect", "automation", "create", "--from-file", str(automations))
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def deployment(prefect: Prefect) -> dict[str, str]:
    flow = prefect.ask("flows/", {"name": "refresh"})["id"]
    deployed = prefect.ask("deployments/", {"name": "nightly", "flow_id": flow})["id"]
    return {"flow_id": flow, "deployment_id": deployed}


def start_run(prefect: Prefect, deployment: dict[str, str], *tags: str) -> str:
    return str(prefect.ask("flow_runs/", {**deployment, "tags": tags, "state": {"type": "RUNNING"}})["id"])


def set_state(prefect: Prefect, run: str, *types: str) -> None:
    for kind in types:
        prefect.ask(f"flow_runs/{run}/set_state", {"state": {"type": kind}, "force": True})


def states(prefect: Prefect, run: str) -> list[str]:
    """Return the names of all states that a run has had."""
    listed: list[dict[str, Any]] = prefect.ask(f"flow_run_states/?flow_run_id={run}", method="GET")
    return [state["name"] for state in sorted(listed, key=lambda state: state["timestamp"])]


def send_heartbeat(prefect: Prefect, run: str, *tags: str) -> None:
    related = [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in tags]
    heartbeat = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
        "related": related,
    }
    prefect.ask("events", [heartbeat])


def test_a_crashed_run_is_rescheduled_once(prefect: Prefect, deployment: dict[str, str]) -> None:
    stranger = start_run(prefect, deployment)
    ours, later = (start_run(prefect, deployment, "fair-distill") for _ in range(2))
    set_state(prefect, stranger, "RUNNING", "CRASHED")
    set_state(prefect, ours, "RUNNING", "CRASHED")
    until(lambda: "AwaitingRetry" in states(prefect, ours), what="the first retry")

    set_state(prefect, ours, "RUNNING", "CRASHED")
    set_state(prefect, later, "RUNNING", "CRASHED")
    # Events are processed in order, so the second crash of `ours` has been processed when `later` is rescheduled.
    until(lambda: "AwaitingRetry" in states(prefect, later), what="a later run's retry")

    assert states(prefect, ours).count("AwaitingRetry") == 1
    assert "AwaitingRetry" not in states(prefect, stranger)


def test_a_run_without_heartbeat_is_restarted_and_a_run_that_ended_is_not(
    prefect: Prefect, deployment: dict[str, str]
) -> None:
    """The trigger has not seen the end of a run if Prefect delays the event; here it came before the heartbeat."""
    ended, lost = (start_run(prefect, deployment, "fair-distill") for _ in range(2))
    set_state(prefect, ended, "COMPLETED")

    for run in (ended, lost):
        send_heartbeat(prefect, run, "fair-distill")
    # Buckets are evaluated in the order of their start, so that of `ended` has been evaluated too.
    until(lambda: "AwaitingRetry" in states(prefect, lost), what="the retry of the lost run")

    assert states(prefect, lost)[-2:] == ["Lost", "AwaitingRetry"]
    assert states(prefect, ended)[-1] == "Completed"


def test_a_lost_run_is_restarted_once_an_hour(prefect: Prefect, deployment: dict[str, str]) -> None:
    often, later = (start_run(prefect, deployment, "fair-distill") for _ in range(2))
    send_heartbeat(prefect, often, "fair-distill")
    until(lambda: "AwaitingRetry" in states(prefect, often), what="the first retry")

    set_state(prefect, often, "RUNNING")
    for run in (often, later):
        send_heartbeat(prefect, run, "fair-distill")
    until(lambda: "AwaitingRetry" in states(prefect, later), what="a later run's retry")

    assert states(prefect, often)[-1] == "Lost"
    assert states(prefect, often).count("AwaitingRetry") == 1
