"""The commit of dvc.lock after a run, and its push."""

from dataclasses import dataclass
from pathlib import Path

from fair_distill.versioning.dvc_commands import Dvc, Stopped
from fair_distill.versioning.git_commands import git_output, push, run_git

# Other runs may push first. After this number of attempts the task fails and is retried later.
_PUSHES = 5


@dataclass(frozen=True)
class LockCommit:
    """The commit that contains dvc.lock.

    Attributes
    ----------
    unpushed : why the commit was not pushed; None if it was
    """

    commit: str
    unpushed: str | None


def commit_lock(dvc: Dvc, *, message: str) -> LockCommit | None:
    """Commit dvc.lock, push the data and then the commit, if there are remotes; return None if nothing changed.

    The data are pushed first, so that a published lock never names data that are missing. If another run pushed
    first, this commit is rebased and pushed again. If both changed the same stages, this commit stays unpushed; its
    results remain in the DVC cache. If the server refuses pushes to the branch, as for a protected branch, the commit
    is pushed to the branch `fair-distill/COMMIT`, for a pull request.

    Raises
    ------
    Stopped
        If data or commit cannot be pushed for another reason.
    """
    workspace = dvc.workspace
    run_git(workspace, "add", "dvc.lock", fault="cannot add dvc.lock")
    has_author = git_output(workspace, "config", "user.email")
    author = () if has_author else ("-c", "user.name=fair-distill", "-c", "user.email=")
    if git_output(workspace, "diff", "--cached", "--quiet") is None:
        dvc.push(say=lambda line: None)
        run_git(workspace, *author, "commit", "--quiet", "-m", message, fault="cannot commit dvc.lock")
    elif not git_output(workspace, "log", "--format=%H", "@{upstream}..HEAD"):
        # No earlier commit is waiting for a push that failed.
        return None
    commit = git_output(workspace, "rev-parse", "HEAD") or ""
    branch = git_output(workspace, "symbolic-ref", "--short", "HEAD")
    if not git_output(workspace, "remote"):
        return LockCommit(
            commit, "the repository has no git remote, so the commit is only in the clone of this run; add a remote"
        )
    if not branch:
        return LockCommit(commit, "the run used a commit, not a branch")
    for _ in range(_PUSHES):
        answer = push(workspace, branch)
        if answer.outcome == "pushed":
            return LockCommit(git_output(workspace, "rev-parse", "HEAD") or commit, None)
        if answer.outcome == "refused":
            return LockCommit(commit, _push_for_review(workspace, branch, commit, refusal=answer.said))
        if answer.outcome == "failed":
            raise Stopped(f"cannot push dvc.lock to origin/{branch}: {answer.said}")
        run_git(workspace, "fetch", "--quiet", "origin", branch, fault="cannot fetch dvc.lock", kind=Stopped)
        if git_output(workspace, *author, "rebase", "--quiet", "FETCH_HEAD") is None:
            run_git(workspace, "rebase", "--abort", fault="cannot undo a rebase")
            return LockCommit(commit, f"origin/{branch} has a different dvc.lock now")
    raise Stopped(f"cannot push dvc.lock: other runs changed origin/{branch} {_PUSHES} times")


def _push_for_review(workspace: Path, branch: str, commit: str, *, refusal: str) -> str:
    """Push the commit to a branch for a pull request, and return why it is not on the branch itself."""
    review = f"fair-distill/{commit[:12]}"
    answer = push(workspace, branch, to=review)
    if answer.outcome == "pushed":
        return f"origin does not allow pushes to {branch} ({refusal}). Merge its branch {review}: {answer.said}"
    return f"origin allows pushes neither to {branch} ({refusal}) nor to {review} ({answer.said})"
