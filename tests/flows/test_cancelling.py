"""A run that waits for another one cancels it when it is stopped."""

from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.states import Completed, Crashed, Running

from tasks import placement

RUN = uuid4()


class Server:
    """A client that answers with one state after the other, and records the states that were set."""

    def __init__(self, states: list[State[Any]]) -> None:
        self.states, self.set = states, list[tuple[UUID, str]]()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_flow_run(self, run: UUID) -> Any:
        assert run == RUN
        return SimpleNamespace(state=self.states.pop(0))

    def set_flow_run_state(self, run: UUID, state: State[Any]) -> None:
        self.set.append((run, state.type.value))


def run_elsewhere(server: Server, monkeypatch: pytest.MonkeyPatch, sleep: Any = lambda _: None) -> None:
    monkeypatch.setattr(placement, "get_client", lambda **_: server)
    monkeypatch.setattr(placement, "get_run_logger", lambda: SimpleNamespace(info=print))
    monkeypatch.setattr(placement, "run_deployment", lambda *_, **__: SimpleNamespace(id=RUN))
    monkeypatch.setattr(placement.time, "sleep", sleep)
    clone: Any = SimpleNamespace(
        dvc=SimpleNamespace(push=lambda **_: None), repository="somewhere", revision="0", lock=None
    )
    placement.run_in_deployment.fn("distill", "run-stage/container", clone)


def test_it_waits_for_the_end_of_the_other_run(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server([Running(), Running(), Completed()])

    run_elsewhere(server, monkeypatch)

    assert (server.states, server.set) == ([], [])


def test_another_end_is_an_error_with_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FailedRun, match="distill on run-stage/container ended as Crashed: no memory"):
        run_elsewhere(Server([Crashed(message="no memory")]), monkeypatch)


def test_a_stopped_run_cancels_the_other_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    server = Server([Running()])
    with pytest.raises(KeyboardInterrupt):
        run_elsewhere(server, monkeypatch, sleep=stop)

    assert server.set == [(RUN, "CANCELLING")]
