"""The automations of a real server restart a crashed run once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_prefect import Prefect, until

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif("FAIR_DISTILL_FLOWS" not in os.environ, reason="make test-flows sets this; some minutes"),
]


@pytest.fixture
def prefect(tmp_path: Path) -> Iterator[Prefect]:
    running = Prefect(tmp_path, {})
    try:
        running.serve()
        running.do("prefect", "automation", "create", "--from-file", "flows/automations.yaml")
        yield running
    finally:
        running.close()


def test_a_crashed_run_is_rescheduled_once(prefect: Prefect) -> None:
    flow = prefect.ask("flows/", {"name": "refresh"})["id"]

    def start_run(*tags: str) -> str:
        return str(prefect.ask("flow_runs/", {"flow_id": flow, "tags": tags, "state": {"type": "RUNNING"}})["id"])

    def crash(run: str) -> None:
        for kind in ("RUNNING", "CRASHED"):
            prefect.ask(f"flow_runs/{run}/set_state", {"state": {"type": kind}, "force": True})

    def rescheduled(run: str) -> bool:
        return bool(prefect.ask(f"flow_runs/{run}", method="GET")["state"]["name"] == "AwaitingRetry")

    stranger, ours, later = start_run(), start_run("fair-distill"), start_run("fair-distill")
    crash(stranger)
    crash(ours)
    until(lambda: rescheduled(ours), what="the first retry")

    crash(ours)
    crash(later)
    until(
        lambda: rescheduled(later), what="a later run's retry"
    )  # events are processed in order, so the crash of `ours` has been processed by now

    assert not rescheduled(ours)
    assert not rescheduled(stranger)
