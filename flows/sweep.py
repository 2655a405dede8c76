"""Find the smallest set that should pass: over ipc, backbone, alignment and seed, ranked on the tune split."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from fair_distill.config import load_config
from fair_distill.stages.sweep import SweepPoint, point_references, sweep_points
from flows.parameters import Repository
from tasks.placement import task_runner
from tasks.sweep import choose, judge_choice, tell, tune_point, tune_reference
from tasks.workspace import open_clone, say_what_runs


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
    """Distil every candidate, rank them on the tune split, and judge the smallest that should pass on the gate split.

    The gate split is looked at once, for the one that was chosen. If tune says that none should pass, it is not looked
    at, and the run ends in the state `NoneFits`; if the gate refuses the chosen one, in the state `Blocked`.

    Args:
        repository: The git repository of the workspace, with params.yaml and dvc.yaml: a folder or a URL. Credentials
            belong into git's credential helper, never here.
        ipc: Images a class.
        matchers: Backbones, as distill.matcher in params.yaml has them: a name, or a mapping with options.
        candidates: Names under candidates in params.yaml, for their alignment.
        seeds: Seeds of distillation.

    Returns:
        The settings to put into params.yaml. What they need is made already.
    """
    with open_clone(repository) as clone:
        say_what_runs(clone)
        revision = clone.revision
        all_points = {point.name: point for point in sweep_points(ipc, matchers, candidates, seeds)}
        compared = {name: point_references(load_config(clone.workspace.params), of) for name, of in all_points.items()}
        needed_by = {of: all_points[name] for name, them in compared.items() for of in them}
        said: dict[Any, Any] = {
            of: tune_reference.submit(repository, revision, point, of) for of, point in needed_by.items()
        }
        ran = [
            tune_point.submit(repository, revision, point, {of.name: said[of] for of in compared[name]})
            for name, point in all_points.items()
        ]
        tried = [run.result() for run in ran]
        best = choose(clone, tried)
        outcome = judge_choice(clone, all_points[best]) if best else None
        tell(clone, tried, best, outcome)
    if best is None:
        return Completed(name="NoneFits", message=f"of {len(all_points)} candidates none should pass: add larger ipc")
    told = _told(all_points[best])
    if outcome != "pass":
        return Failed(name="Blocked", message=f"{best} should have passed, and the gate says: {outcome}")
    return told


def _told(point: SweepPoint) -> str:
    return (
        f"params.yaml: seed: {point.seed}, distill.ipc: {point.ipc}, distill.matcher: {point.matcher}, "
        f"release.candidate: {point.candidate}"
    )
