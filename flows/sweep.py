"""Flow `sweep`: find the smallest set that should pass, over ipc, matcher, alignment and seed, on the tune split."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from fair_distill.config import load_config
from fair_distill.stages.sweep import SweepPoint, point_references, sweep_points
from flows.parameters import Repository
from tasks.checks import check_sweep
from tasks.placement import task_runner
from tasks.sweep import choose, judge_choice, show_sweep, tune_point, tune_reference
from tasks.workspace import name_flow_run, open_clone


@flow(name="sweep", persist_result=False, task_runner=task_runner())
def sweep(
    repository: Repository = ".",
    ipc: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = [1, 10],  # noqa: B006
    matchers: Annotated[
        list[str | dict[str, Any]],
        Field(min_length=1),
    ] = ["dm"],  # noqa: B006
    candidates: Annotated[list[str], Field(min_length=1)] = ["barycentric"],  # noqa: B006
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0],  # noqa: B006
) -> State[str] | str:
    """Distil every candidate, rank all on the tune split, and judge the smallest that should pass on the gate split.

    The gate split is used once, for the chosen candidate. If no candidate should pass, the gate split is not used and
    the run ends in the state `NoneFits`. If the gate refuses the chosen candidate, it ends in the state `Blocked`.

    Args:
        repository: The workspace, with params.yaml and dvc.yaml: a folder in a git repository, or a URL. In a larger
            repository, URL//folder names the folder. Put credentials into git's credential helper, never here.
        ipc: Images per class.
        matchers: Values of distill.matcher in params.yaml: names, or mappings with options.
        candidates: Names under candidates in params.yaml, which select the alignment.
        seeds: Seeds of distillation.

    Returns:
        The settings for params.yaml. Their results exist already.
    """
    with open_clone(repository) as clone:
        name_flow_run(clone)
        revision = clone.revision
        points = {point.name: point for point in sweep_points(ipc, matchers, candidates, seeds)}
        check_sweep(clone, points.values())
        config = load_config(clone.workspace.params)
        references = {name: point_references(config, point) for name, point in points.items()}
        # Points share references. Each reference is evaluated once, with the params of one point that needs it.
        needed_by = {reference: points[name] for name, group in references.items() for reference in group}
        evaluations: dict[Any, Any] = {
            reference: tune_reference.submit(repository, revision, point, reference)
            for reference, point in needed_by.items()
        }
        runs = [
            tune_point.submit(
                repository, revision, point, {reference.name: evaluations[reference] for reference in references[name]}
            )
            for name, point in points.items()
        ]
        tuned = [run.result() for run in runs]
        best = choose(clone, tuned)
        outcome = judge_choice(clone, points[best]) if best else None
        show_sweep(clone, tuned, best, outcome)
    if best is None:
        message = f"none of {len(points)} candidates should pass; add larger values of ipc"
        return Completed(name="NoneFits", message=message)
    if outcome != "pass":
        message = f"{best} should have passed by the tune split, but the outcome on the gate split is: {outcome}"
        return Failed(name="Blocked", message=message)
    return _settings(points[best])


def _settings(point: SweepPoint) -> str:
    """Return the settings of a point, as a message."""
    return (
        f"params.yaml: seed: {point.seed}, distill.ipc: {point.ipc}, distill.matcher: {point.matcher}, "
        f"release.candidate: {point.candidate}"
    )
