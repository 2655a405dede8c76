"""The order of the tasks in `refresh`. Other tests check what each task does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.pipeline


def test_the_attempt_is_reserved_after_the_set_exists_and_before_its_evaluation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
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
    for name in ("name_flow_run", "show", "commit_lock", "reserve", "publish", "promote"):
        monkeypatch.setattr(module, name, recorder(name))

    module.refresh.fn(str(tmp_path))

    assert calls.index("distill") < calls.index("reserve") == calls.index("evaluate") - 1
    assert calls[-2:] == ["publish", "promote"]
