"""The points of a sweep, as Prefect tasks: each in a clone of its own, on whatever worker it lands."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger

from fair_distill.config import Config, load_config
from fair_distill.config.loading import read_params
from fair_distill.gate.choice import margin, smallest_that_should_pass
from fair_distill.registry.writer import open_to_write
from fair_distill.stages.context import reserve_attempt
from fair_distill.stages.policy import without_promoted
from fair_distill.stages.sweep import (
    SweepPoint,
    SweepReference,
    TunedPoint,
    TuneEvaluation,
    bound_shrinkage,
    evaluate_on_tune,
    judge_on_tune,
    read_outcome,
    sweep_report,
    write_point_params,
)
from fair_distill.versioning import dvc_commands, git_commands
from fair_distill.workspace import Workspace
from tasks.registry import actor
from tasks.run_page import Telling, keep_page, tell_report, tell_set
from tasks.task_options import device, step, went_down
from tasks.workspace import Clone, out_of_sight


@step("{of.name} · ipc {point.ipc} · seed {of.seed}", hours=24, again=went_down, computes=True)
def tune_reference(repository: str, revision: str, point: SweepPoint, of: SweepReference) -> TuneEvaluation:
    """Make what points are compared to, as one of them needs it, and ask the tune split about it."""
    with _at(repository, revision, point) as here:
        here.bring_up_to_date(f"references@{of.name}")
        return evaluate_on_tune(here.workspace, here.config, of.name, scratch=here.scratch / "tune", device=device())


@step("{point.name}", hours=24, again=went_down, computes=True)
def tune_point(repository: str, revision: str, point: SweepPoint, compared: Mapping[str, TuneEvaluation]) -> TunedPoint:
    """Distil one candidate and ask the tune split about it."""
    with _at(repository, revision, point) as here:
        here.bring_up_to_date(f"distill@{point.candidate}")
        place, scratch = here.workspace, here.scratch
        own = evaluate_on_tune(place, here.config, point.candidate, scratch=scratch / "tune", device=device())
        said = {**compared, point.candidate: own}
        shrink = bound_shrinkage(place)
        return judge_on_tune(place, here.config, point, said, shrink=shrink, scratch=scratch / "judge")


@step(hours=1)
def choose(clone: Clone, tried: list[TunedPoint]) -> str | None:
    """Show what tune says of every point, and return the name of the smallest that should pass; None if none should."""
    limits = without_promoted(load_config(clone.workspace.params).gate).limits
    rows = [
        {
            "point": one.point.name,
            "images": one.tuned.examples,
            "margin": "–" if (of := margin(one.tuned, limits, shrink=one.shrink)) is None else f"{of:+.3f}",
            **{f"{finding.clause}": _shown(finding.value) for finding in one.tuned.verdict.findings},
        }
        for one in tried
    ]
    create_table_artifact(rows, key="sweep", description="every candidate on tune; margin: to the nearest limit")
    best = smallest_that_should_pass([one.tuned for one in tried], limits, shrink=tried[0].shrink)
    return best.name if best else None


@step("judge {point.name}", hours=24, again=went_down, computes=True)
def judge_choice(clone: Clone, point: SweepPoint) -> str:
    """Judge the one candidate that was chosen on the gate split, show it, and return the outcome.

    It is an attempt at that split, entered before the split is asked, whatever comes of it.
    """
    with _at(clone.repository, clone.revision, point) as here:
        here.bring_up_to_date(f"distill@{point.candidate}")
        store, now = open_to_write(clone.registry), datetime.now(UTC)
        *_, number = reserve_attempt(here.workspace, here.config, point.candidate, store=store, actor=actor(now))
        get_run_logger().info("attempt %d at this gate split", number)
        here.bring_up_to_date(f"judge@{point.candidate}")
        tell_set(here.workspace, point.candidate, pictures=here.config.validate_.privacy != "restricted")
        tell_report(clone, here.workspace, here.config, point.candidate)
        return read_outcome(here.workspace, point.candidate)


@step(hours=1)
def tell(clone: Clone, tried: list[TunedPoint], chosen: str | None, outcome: str | None) -> None:
    """Keep the page on the whole sweep where people find it, and link to it."""
    config = load_config(clone.workspace.params)
    keep_page(clone, config, "sweep", sweep_report(config, tried, chosen=chosen, outcome=outcome))


@dataclass(frozen=True, eq=False)
class _Place:
    """A clone that is a point's, its settings, and a folder for what is not to be kept."""

    dvc: dvc_commands.Dvc
    config: Config
    scratch: Path

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.dvc.workspace)

    def bring_up_to_date(self, stage: str) -> None:
        """Make what a stage makes, or take it from the DVC remote, and leave it there for the other workers."""
        ran = self.dvc.repro(stage, say=Telling(get_run_logger().info), pull=True)
        if ran:
            self.dvc.push(say=get_run_logger().info)


@contextmanager
def _at(repository: str, revision: str, point: SweepPoint) -> Iterator[_Place]:
    with tempfile.TemporaryDirectory(prefix="fair-distill-", ignore_cleanup_errors=True) as folder:
        place = Workspace(git_commands.clone_workspace(repository, Path(folder) / "workspace", revision=revision))
        config = write_point_params(place, read_params(place.params), point)
        dvc = dvc_commands.Dvc(place.root)
        if out_of_sight(place.root, "prepare"):
            dvc.repro("prepare", say=get_run_logger().info, force=True)
        yield _Place(dvc, config, Path(folder))


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
