"""An estimate is what was timed, times how often it will be done; nothing is written."""

import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from small_workspace import CANDIDATES, MTT, REFERENCES, SETS, run, small_params, tree, write_params

from fair_distill.cli.stage import duration
from fair_distill.config import load_config
from fair_distill.stages import estimate as module
from fair_distill.stages.estimate import Estimate, Meters, WorkCost, estimate_run
from fair_distill.workspace import Workspace


def in_this_process(work: Callable[..., WorkCost], *arguments: Any) -> WorkCost:
    return work(*arguments)


def ticking() -> Meters:
    """A clock that goes on by a second whenever it is read: a step, which reads it once, takes a second."""
    return Meters(count().__next__, lambda: 7.0)


@pytest.fixture(scope="module")
def rows(finished: Path) -> list[Estimate]:
    """The estimates of the small workspace, on that clock."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_in_new_process", in_this_process)
        before = tree(finished)
        found = estimated(finished)
        assert tree(finished) == before
    return found


def estimated(root: Path, **changes: Any) -> list[Estimate]:
    config = load_config(root / "params.yaml").model_copy(update=changes)
    return list(estimate_run(Workspace(root), config, meters=ticking()))


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_in_new_process", in_this_process)


def test_every_long_stage_is_estimated_in_the_order_of_a_run(rows: list[Estimate]) -> None:
    wanted = [("distill", CANDIDATES), ("references", REFERENCES), ("evaluate", SETS)]
    assert [(row.stage, row.set) for row in rows] == [(stage, name) for stage, names in wanted for name in names]
    assert {row.memory_mb for row in rows} == {7.0}
    assert all(row.seconds > 0 for row in rows)


def test_steps_are_timed_and_taken_times_their_number(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(finished / "params.yaml")
    many = config.distill.model_copy(update={"steps": 5000})
    alone = {"references": {}, "sets": ["pooled"], "candidates": {"pooled": config.candidates["pooled"]}}
    done: list[WorkCost] = []
    monkeypatch.setattr(module, "_in_new_process", lambda work, *a: done.append(work(*a)) or done[-1])

    first = estimated(finished, distill=many, **alone)[0]

    # A second a step, and never so many that the estimate takes as long as the run.
    assert (done[0].each, done[0].repeated) == (1.0, 4999)
    assert first.seconds == done[0].once + 4999
    assert done[0].once < 20


def test_sets_of_one_size_are_trained_on_in_one_time(rows: list[Estimate]) -> None:
    seconds = {row.set: row.seconds for row in rows if row.stage == "evaluate"}

    assert len({seconds[name] for name in ("random", "balanced", *CANDIDATES)}) == 1


def test_without_prepared_splits_they_are_made_elsewhere(finished: Path, tmp_path: Path) -> None:
    for name in ("params.yaml", "context.json"):
        shutil.copy(finished / name, tmp_path / name)
    before = tree(tmp_path)

    assert [row.stage for row in estimated(tmp_path, references={}, sets=["pooled"])] == ["distill"] * 2 + ["evaluate"]
    assert tree(tmp_path) == before


def test_a_method_that_follows_experts_is_refused(workspace: Path) -> None:
    params = small_params()
    params["distill"]["matcher"] = MTT
    write_params(workspace, params)

    ended = run(workspace, "estimate")

    assert ended.code == 2
    assert "distill.matcher is 'mtt'" in ended.err


def test_the_command_tells_scripts(finished: Path) -> None:
    told = json.loads(run(finished, "estimate", "--json").out)

    assert told["seconds"] == pytest.approx(sum(row["seconds"] for row in told["stages"]))
    assert {row["stage"] for row in told["stages"]} == {"distill", "references", "evaluate"}


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (89, "89 s"), (91, "2 min"), (3600, "60 min"), (9000, "2.5 h")]
)
def test_durations_are_no_more_precise_than_an_estimate_is(seconds: float, said: str) -> None:
    assert duration(seconds) == said
