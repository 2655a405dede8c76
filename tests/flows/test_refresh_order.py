"""The order of the tasks in `refresh`. Other tests check what each task does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.pipeline


def tasks_of(monkeypatch: pytest.MonkeyPatch, folder: Path, *, up_to_date: bool) -> list[str]:
    """Return the names of the tasks that `refresh` calls, in order."""
    from flows import refresh as module

    calls: list[str] = []

    def recorder(name: str) -> Callable[..., None]:
        return lambda *_, **__: calls.append(name)

    @contextmanager
    def clone(*_: Any, **__: Any) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(dvc=None)

    monkeypatch.setattr(module, "open_clone", clone)
    monkeypatch.setattr(module, "stages_in_graph", lambda _, stages: stages)
    monkeypatch.setattr(module, "stage_task", recorder)
    monkeypatch.setattr(module, "is_up_to_date", lambda _: up_to_date)
    names = ("name_flow_run", "check_refresh", "run_in_deployment")
    for name in (*names, "show", "commit_lock", "reserve", "publish"):
        monkeypatch.setattr(module, name, recorder(name))
    promoted = SimpleNamespace(name="Completed", result=lambda: "version")
    monkeypatch.setattr(module, "promote", lambda *_, **__: calls.append("promote") or promoted)

    module.refresh.fn(str(folder), elsewhere={"distill": "run-stage/gpu"})
    return calls


def test_the_attempt_is_reserved_after_the_set_exists_and_before_its_evaluation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = tasks_of(monkeypatch, tmp_path, up_to_date=False)

    assert calls.index("check_refresh") < calls.index("prepare")
    assert calls.index("run_in_deployment") == calls.index("distill") - 1
    assert calls.index("distill") < calls.index("reserve") == calls.index("evaluate") - 1
    assert calls[-2:] == ["publish", "promote"]


def test_a_run_with_nothing_to_do_starts_no_stage_and_no_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = tasks_of(monkeypatch, tmp_path, up_to_date=True)

    assert calls == [
        *("name_flow_run", "check_refresh", "reserve"),
        *("show", "commit_lock", "publish", "promote"),
    ]
