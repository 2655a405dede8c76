"""`fair-distill gate pull-request`: the verdict on a pull request, for a CI job."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.cli.arguments import Arguments, add_device, add_floor, add_json, day, day_to_come
from fair_distill.cli.show import print_document, say

if TYPE_CHECKING:
    from fair_distill.gate.verdict import Verdict


def add_pull_request(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = (
        "Judge a set of a pull request by the policy of the base branch, which is checked out here. "
        "The pull request's commit is read from git's objects and never checked out."
    )
    sub = commands.add_parser(
        "pull-request", help="judge a set of a pull request by the base branch's policy", description=text
    )
    sub.add_argument("set", help="a name under sets in params.yaml")
    sub.add_argument("--head", required=True, metavar="COMMIT", help="the pull request's newest commit, all its digits")
    sub.add_argument("--repository", type=Path, metavar="DIR", help="where that commit is (default: the workspace)")
    sub.add_argument(
        "--remote",
        metavar="REMOTE",
        help="a remote in .dvc/config, a folder or s3://bucket/prefix (default: the default remote)",
    )
    sub.add_argument(
        "--evaluate", action="store_true", help="train and predict here again; needs no attested predictions"
    )
    add_device(sub)
    add_floor(sub)
    sub.add_argument("--now", type=day, metavar="DATE", help="the day on which waivers count")
    add_json(sub)
    sub.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary for the pull request")
    sub.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML for a CI server")
    sub.set_defaults(run=_pull_request)


def _pull_request(arguments: Arguments) -> int:
    from tempfile import TemporaryDirectory

    from fair_distill.cli.arguments import open_workspace
    from fair_distill.config import load_gate
    from fair_distill.errors import FairDistillError
    from fair_distill.files import write_bytes
    from fair_distill.gate.render import junit, markdown, without_verdict
    from fair_distill.stages.policy import load_policy_floor
    from fair_distill.stages.pull_request import PullRequest, judge_pull_request
    from fair_distill.stages.pull_request_changes import describe_changes
    from fair_distill.text import printable
    from fair_distill.versioning.dvc_remote import open_remote

    workspace, config = open_workspace(arguments)
    pull_request = PullRequest.open(workspace, arguments.head, repository=arguments.repository)
    change = describe_changes(pull_request)
    with TemporaryDirectory(prefix="fair-distill-gate-") as folder:
        try:
            verdict = judge_pull_request(
                pull_request,
                arguments.set,
                policy=load_gate(workspace.params),
                base_config=config,
                remote=open_remote(workspace.root, arguments.remote),
                folder=Path(folder),
                floor=load_policy_floor(arguments.policy_floor),
                now=day_to_come(arguments),
                evaluate=arguments.evaluate,
                device=arguments.device,
            )
        except FairDistillError as error:
            # The temporary folder is gone when somebody reads this: paths are those of the pull request's workspace.
            message = printable(str(error)).replace(f"{folder}/", "")
            if arguments.markdown:
                write_bytes(arguments.markdown, without_verdict(arguments.set, message, change=change).encode())
            raise type(error)(message) from None
    _show(arguments, verdict)
    if arguments.markdown:
        write_bytes(arguments.markdown, markdown(arguments.set, verdict, change=change).encode())
    if arguments.junit:
        write_bytes(arguments.junit, junit(arguments.set, verdict).encode())
    return int(verdict.exit_code)


def _show(arguments: Arguments, verdict: "Verdict") -> None:
    """Print the verdict. Names in it come from the pull request, and a CI server obeys some lines of a job's log."""

    if arguments.json:
        print_document(verdict.to_json())
        return
    say(f"{arguments.set}: {verdict.outcome.upper()}")
    for finding in verdict.findings:
        say(f"  {'ok' if finding.kept else 'NO'}  {finding.sentence}")
    say(f"  verdict {verdict.digest}")
