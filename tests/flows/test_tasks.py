"""What tasks and flows do where no server is asked: their tags, a page that cannot be kept, a damaged version."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.states import Completed, Failed

from fair_distill.errors import IntegrityError
from tasks import run_page
from tasks.placement import stage_task
from tasks.regate import RegateSummary
from tasks.task_options import pipeline_task


@pytest.mark.parametrize(
    ("device", "uses_device", "tags"),
    [("cuda", True, {"gpu"}), ("cuda:1", True, {"gpu"}), ("cpu", True, set()), ("cuda", False, set())],
)
def test_what_computes_on_a_gpu_and_nothing_else_has_the_tag_that_a_limit_counts(
    device: str, uses_device: bool, tags: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIR_DISTILL_DEVICE", device)

    assert pipeline_task(hours=1, uses_device=uses_device)(lambda: None).tags == tags


@pytest.mark.parametrize(("stage", "tags"), [("distill", {"gpu"}), ("evaluate@full", {"gpu"}), ("judge", set())])
def test_a_row_of_a_stage_computes_as_the_stage_does(
    stage: str, tags: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIR_DISTILL_DEVICE", "cuda")

    assert stage_task(stage).tags == tags


def test_a_page_that_cannot_be_kept_is_a_line_in_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder was to be")
    said: list[tuple[Any, ...]] = []
    monkeypatch.setattr(run_page, "get_run_logger", lambda: SimpleNamespace(warning=lambda *told: said.append(told)))
    monkeypatch.setattr(run_page, "create_link_artifact", lambda *_, **__: pytest.fail("there is nothing to link to"))

    where: Any = SimpleNamespace(reports=str(tmp_path / "taken")), SimpleNamespace(dataset="digits")
    run_page.link_page(*where, "barycentric", b"<h1>")

    ((line, name, why),) = said
    assert name == "barycentric"
    assert str(tmp_path / "taken") in line % (name, why)


def test_versions_after_a_damaged_one_are_judged_and_the_first_fault_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from flows import regate as module

    asked: list[int] = []

    def judge(clone: Any, version: int, *, return_state: bool) -> Any:
        asked.append(version)
        if version > 1:
            return Failed(data=IntegrityError(f"v{version} is damaged"))
        return Completed(data=RegateSummary("v1: pass", demoted=False, undecided=False))

    monkeypatch.setattr(module, "open_clone", lambda *_, **__: nullcontext(SimpleNamespace(dvc=None)))
    monkeypatch.setattr(module, "name_flow_run", lambda _: None)
    monkeypatch.setattr(module, "stages_needed_to_judge", lambda _: [])
    monkeypatch.setattr(module, "list_live_versions", lambda _: (2, 3, 1))
    monkeypatch.setattr(module, "judge_again", judge)

    with pytest.raises(IntegrityError, match="v2 is damaged"):
        module.regate.fn(str(tmp_path))

    assert asked == [2, 3, 1]
