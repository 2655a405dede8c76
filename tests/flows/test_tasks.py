"""Parts of tasks and flows that need no server: tags, a report that cannot be stored, a damaged version."""

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
def test_only_tasks_on_a_gpu_have_the_tag_for_its_limit(
    device: str, uses_device: bool, tags: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIR_DISTILL_DEVICE", device)

    assert pipeline_task(hours=1, uses_device=uses_device)(lambda: None).tags == tags


@pytest.mark.parametrize(("stage", "tags"), [("distill", {"gpu"}), ("evaluate@full", {"gpu"}), ("judge", set())])
def test_a_row_of_a_stage_has_the_tags_of_the_stage(
    stage: str, tags: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIR_DISTILL_DEVICE", "cuda")

    assert stage_task(stage).tags == tags


def test_a_page_that_cannot_be_stored_is_a_warning_in_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file with the name of the folder")
    warnings: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        run_page, "get_run_logger", lambda: SimpleNamespace(warning=lambda *arguments: warnings.append(arguments))
    )
    monkeypatch.setattr(
        run_page, "create_link_artifact", lambda *_, **__: pytest.fail("a page that is not stored has no link")
    )

    where: Any = SimpleNamespace(reports=str(tmp_path / "taken")), SimpleNamespace(dataset="digits")
    run_page.link_page(*where, "barycentric", b"<h1>")

    ((line, name, reason),) = warnings
    assert name == "barycentric"
    assert str(tmp_path / "taken") in line % (name, reason)


def test_versions_after_a_damaged_one_are_judged_and_the_first_error_is_raised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from flows import regate as module

    judged: list[int] = []

    def judge(clone: Any, version: int, *, return_state: bool) -> Any:
        judged.append(version)
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

    assert judged == [2, 3, 1]


def test_tasks_that_are_submitted_have_no_time_out_because_prefect_cannot_interrupt_them() -> None:
    from tasks import fan_out, sweep
    from tasks.stages import run_dvc_stage

    for task in (fan_out.evaluate_shard, sweep.tune_point, sweep.tune_reference):
        assert task.timeout_seconds is None
    assert run_dvc_stage.timeout_seconds == 24 * 3600
