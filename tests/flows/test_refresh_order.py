"""What `refresh` calls in which order; what each call does is tested elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.pipeline


def test_the_attempt_is_reserved_when_the_set_is_there_and_before_its_predictions_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from flows import refresh as module

    called: list[str] = []

    def noting(name: str) -> Callable[..., None]:
        return lambda *_, **__: called.append(name)

    @contextmanager
    def clone(*_: Any, **__: Any) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(dvc=None)

    monkeypatch.setattr(module, "open_clone", clone)
    monkeypatch.setattr(module, "stages_in_graph", lambda _, stages: stages)
    monkeypatch.setattr(module, "stage_task", noting)
    for name in ("name_flow_run", "show", "commit_lock", "reserve", "publish", "promote"):
        monkeypatch.setattr(module, name, noting(name))

    module.refresh.fn(str(tmp_path))

    assert called.index("distill") < called.index("reserve") == called.index("evaluate") - 1
    assert called[-2:] == ["publish", "promote"]
