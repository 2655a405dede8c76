"""The points of a sweep as Prefect tasks. Each point has its own clone, on any worker."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger

from fair_distill.config import Config, load_config
from fair_distill.config.loading import read_params
from fair_distill.gate.choice import best_that_should_pass, margin
from fair_distill.registry.writer import open_to_write
from fair_distill.stages.context import reserve_attempt
from fair_distill.stages.policy import without_promoted
from fair_distill.stages.sweep import (
    SweepPoint,
    SweepReference,
    TunedPoint,
    judge_point,
    read_outcome,
    sweep_report,
    write_point_params,
)
from fair_distill.stages.tune import TuneEvaluation, bound_shrinkage, evaluate_on_tune
from fair_distill.versioning import dvc_commands, git_commands
from fair_distill.workspace import Workspace
from tasks.clone_folder import clone_folder
from tasks.registry import task_actor
from tasks.run_page import ProgressArtifacts, link_page, link_report, show_set
from tasks.task_options import compute_device, pipeline_task, was_killed
from tasks.workspace import Clone, reads_bucket


@pipeline_task(
    "{reference.name} · ipc {point.ipc} · seed {reference.seed}", hours=None, retry_if=was_killed, uses_device=True
)
def tune_reference(repository: str, revision: str, point: SweepPoint, reference: SweepReference) -> TuneEvaluation:
    """Make a reference with the params of one point that needs it, and evaluate it on the tune split."""
    with _open_point(repository, revision, point) as clone:
        clone.run_stage(f"references@{reference.name}")
        return evaluate_on_tune(
            clone.workspace, clone.config, reference.name, scratch=clone.scratch / "tune", device=compute_device()
        )


@pipeline_task("{point.name}", hours=None, retry_if=was_killed, uses_device=True)
def tune_point(
    repository: str, revision: str, point: SweepPoint, references: Mapping[str, TuneEvaluation]
) -> TunedPoint:
    """Distil one candidate and judge it on the tune split.

    Parameters
    ----------
    references : evaluations of the point's references, by set
    """
    with _open_point(repository, revision, point) as clone:
        clone.run_stage(f"distill@{point.candidate}")
        workspace, config, scratch = clone.workspace, clone.config, clone.scratch
        evaluation = evaluate_on_tune(
            workspace, config, point.candidate, scratch=scratch / "tune", device=compute_device()
        )
        evaluations = {**references, point.candidate: evaluation}
        shrink = bound_shrinkage(workspace)
        return judge_point(workspace, config, point, evaluations, shrink=shrink, scratch=scratch / "judge")


@pipeline_task(hours=1)
def choose(clone: Clone, points: list[TunedPoint]) -> str | None:
    """Show the tune results of all points; return the name of the best that should pass, or None."""
    limits = without_promoted(load_config(clone.workspace.params).gate).limits
    rows = []
    for tuned_point in points:
        distance = margin(tuned_point.tuned, limits, shrink=tuned_point.shrink)
        rows.append(
            {
                "point": tuned_point.point.name,
                "images": tuned_point.tuned.examples,
                "margin": "–" if distance is None else f"{distance:+.3f}",
                **{finding.clause: _decimal(finding.value) for finding in tuned_point.tuned.verdict.findings},
            }
        )
    description = "all candidates on the tune split; margin: distance to the nearest limit"
    create_table_artifact(rows, key="sweep", description=description)
    best = best_that_should_pass([point.tuned for point in points], limits, shrink=points[0].shrink)
    return best.name if best else None


@pipeline_task("judge {point.name}", hours=24, retry_if=was_killed, uses_device=True)
def judge_choice(clone: Clone, point: SweepPoint) -> str:
    """Judge the chosen candidate on the gate split, show it, and return the outcome.

    The attempt at the gate split is recorded before the split is used, and counts whether or not the set passes.
    """
    with _open_point(clone.repository, clone.revision, point) as chosen:
        chosen.run_stage(f"distill@{point.candidate}")
        workspace, config = chosen.workspace, chosen.config
        store, actor = open_to_write(clone.registry), task_actor(datetime.now(UTC))
        attempt = reserve_attempt(workspace, config, point.candidate, store=store, actor=actor)
        get_run_logger().info("reserved attempt %d at this gate split", attempt.entry.attempt)
        chosen.run_stage(f"judge@{point.candidate}")
        show_set(workspace, point.candidate, pictures=config.validate_.privacy != "restricted")
        link_report(clone, workspace, config, point.candidate)
        return read_outcome(workspace, point.candidate)


@pipeline_task("show the sweep", hours=1)
def show_sweep(clone: Clone, points: list[TunedPoint], chosen: str | None, outcome: str | None) -> None:
    """Store the report on the sweep and link to it."""
    config = load_config(clone.workspace.params)
    link_page(clone, config, "sweep", sweep_report(config, points, chosen=chosen, outcome=outcome))


@dataclass(frozen=True, eq=False)
class _PointClone:
    """A clone with the params of a sweep point.

    Attributes
    ----------
    scratch : folder for temporary files
    """

    dvc: dvc_commands.Dvc
    config: Config
    scratch: Path

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.dvc.workspace)

    def run_stage(self, stage: str) -> None:
        """Run a stage, or pull its result from the DVC remote, and push new results for the other workers."""
        new_results = self.dvc.repro(stage, say=ProgressArtifacts(get_run_logger().info), pull=True)
        if new_results:
            self.dvc.push(say=get_run_logger().info)


@contextmanager
def _open_point(repository: str, revision: str, point: SweepPoint) -> Iterator[_PointClone]:
    """Clone the repository and write the params of a point into the clone."""
    with clone_folder() as folder:
        root = git_commands.clone_workspace(repository, folder / "workspace", revision=revision)
        workspace = Workspace(root)
        config = write_point_params(workspace, read_params(workspace.params), point)
        dvc = dvc_commands.Dvc(root)
        if reads_bucket(root, "prepare"):
            dvc.repro("prepare", say=get_run_logger().info, force=True)
        yield _PointClone(dvc, config, folder)


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
