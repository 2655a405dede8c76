"""Judge again what is live, on a schedule or when the policy or the evaluation data change; demote what fails."""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.parameters import Registry, Repository
from tasks.placement import placed
from tasks.regate import judge_again, stages_to_judge_by, what_is_live
from tasks.workspace import open_clone, say_what_runs


@flow(name="regate", persist_result=False)
def regate(repository: Repository = ".", registry: Registry = None) -> State[str] | str:
    """Judge every version that a channel gives by the workspace's policy, on its gate split.

    A version that fails is taken off its channels, with the reason that consumers will read, and the run ends in the
    state `Demoted`. One that can neither be passed nor failed stays, and the run ends in the state `Undecided`. Where
    one cannot be judged at all, the run fails with what was wrong with the first such, after all others were judged.

    Args:
        repository: The git repository of the workspace, with params.yaml and dvc.yaml: a folder or a URL. Credentials
            belong into git's credential helper, never here.
        registry: Where versions and channels are kept: a folder, file:// or s3://bucket/prefix; else
            FAIR_DISTILL_REGISTRY, else the folder `registry` in the repository.

    Returns:
        What became of each version, in a sentence.
    """
    with open_clone(repository, registry=registry) as clone:
        say_what_runs(clone)
        found = what_is_live(clone)
        if not found:
            return Completed(name="NothingLive", message="no channel gives any version")
        for stage in stages_to_judge_by(clone):
            placed(stage)(stage, clone.dvc)
        states = [judge_again(clone, version, return_state=True) for version in found]
    # Only now: a version that cannot be judged, because it is damaged, is no reason not to judge those after it.
    judged = [state.result() for state in states]
    told = "; ".join(result.sentence for result in judged)
    for name, applies in (("Demoted", any(r.demoted for r in judged)), ("Undecided", any(r.undecided for r in judged))):
        if applies:
            return Completed(name=name, message=told)
    return told
