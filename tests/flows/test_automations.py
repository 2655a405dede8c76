"""A run that crashed is taken up once, by a real server's triggers."""

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


def test_a_run_that_crashed_is_scheduled_again_and_the_second_time_stays_crashed(prefect: Prefect) -> None:
    flow = prefect.ask("flows/", {"name": "refresh"})["id"]

    def begun(*tags: str) -> str:
        return str(prefect.ask("flow_runs/", {"flow_id": flow, "tags": tags, "state": {"type": "RUNNING"}})["id"])

    def crash(run: str) -> None:
        for kind in ("RUNNING", "CRASHED"):
            prefect.ask(f"flow_runs/{run}/set_state", {"state": {"type": kind}, "force": True})

    def taken_up(run: str) -> bool:
        return bool(prefect.ask(f"flow_runs/{run}", method="GET")["state"]["name"] == "AwaitingRetry")

    stranger, ours, later = begun(), begun("fair-distill"), begun("fair-distill")
    crash(stranger)
    crash(ours)
    until(lambda: taken_up(ours), what="the first retry")

    crash(ours)
    crash(later)
    until(lambda: taken_up(later), what="a later run's retry")  # events are taken in order: ours was seen by now

    assert not taken_up(ours)
    assert not taken_up(stranger)
