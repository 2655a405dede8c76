"""Flow `regate`: judge live versions again, on a schedule or after a change of policy or data, and demote failures."""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.parameters import Registry, Repository
from tasks.placement import stage_task
from tasks.regate import judge_again, list_live_versions, stages_needed_to_judge
from tasks.workspace import name_flow_run, open_clone


@flow(name="regate", persist_result=False)
def regate(repository: Repository = ".", registry: Registry = None) -> State[str] | str:
    """Judge the current version of every channel by the workspace's policy, on its gate split.

    A version that fails is removed from its channels, and consumers see the reason. The run then ends in the state
    `Demoted`. A version that neither passes nor fails stays in its channels, and the run ends in the state
    `Undecided`. If a version cannot be judged, the run fails with the first such error, after all others were judged.

    Args:
        repository: The workspace, with params.yaml and dvc.yaml: a folder in a git repository, or a URL. In a larger
            repository, URL//folder names the folder. Put credentials into git's credential helper, never here.
        registry: Address of the registry: a folder, file:// or s3://bucket/prefix. Default: FAIR_DISTILL_REGISTRY, or
            the folder `registry` in the repository.

    Returns:
        The new outcome of each version, as one sentence.
    """
    with open_clone(repository, registry=registry) as clone:
        name_flow_run(clone)
        versions = list_live_versions(clone)
        if not versions:
            return Completed(name="NothingLive", message="no channel has a version")
        for stage in stages_needed_to_judge(clone):
            stage_task(stage)(stage, clone.dvc)
        states = [judge_again(clone, version, return_state=True) for version in versions]
    # Errors are raised only here, so that a damaged version does not prevent the judging of the others.
    summaries = [state.result() for state in states]
    message = "; ".join(summary.sentence for summary in summaries)
    if any(summary.demoted for summary in summaries):
        return Completed(name="Demoted", message=message)
    if any(summary.undecided for summary in summaries):
        return Completed(name="Undecided", message=message)
    return message
