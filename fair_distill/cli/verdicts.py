"""Options of the commands that judge a set, and how they print a verdict and write its summaries."""

from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.cli.arguments import add_floor, add_json, add_now, open_workspace, today_or_later
from fair_distill.cli.output import print_document, print_line, print_sentence
from fair_distill.cli.parser import Arguments, Parser

if TYPE_CHECKING:
    from fair_distill.config import Config
    from fair_distill.gate.verdict import Verdict
    from fair_distill.workspace import Workspace


def add_policy(command: Parser, *, environment: bool = True) -> None:
    """Add the options that choose the policy and the day; `environment` as in `add_floor`."""
    command.add_argument(
        "--policy", type=Path, metavar="FILE", help="judge by this policy instead of the gate section of params.yaml"
    )
    add_floor(command, environment=environment)
    add_now(command)


def add_summaries(command: Parser, *, policy_change: bool = True) -> None:
    """Add the options that choose how the verdict is printed and which summaries are written."""
    add_json(command)
    command.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary for a pull request")
    command.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML for a CI server")
    if policy_change:
        command.add_argument(
            "--policy-change", type=Path, metavar="FILE", help="a diff of the policy, to include in the summary"
        )


def open_gate(arguments: Arguments) -> "tuple[Workspace, Config]":
    """Return the workspace and its configuration, with the policy of `--policy` if it is given."""
    from fair_distill.config import load_gate

    workspace, config = open_workspace(arguments)
    if arguments.policy:
        config = config.model_copy(update={"gate": load_gate(arguments.policy)})
    return workspace, config


def verdict_today(arguments: Arguments, *, decides: bool = False) -> "Verdict":
    """Judge a set as of the day of `--now`, without reading a stored verdict.

    Parameters
    ----------
    decides : the exit code depends on the verdict, so predictions must be attested if the policy names evaluators
    """
    from fair_distill.stages.judge import compute_verdict
    from fair_distill.stages.policy import load_policy_floor

    workspace, config = open_gate(arguments)
    floor = load_policy_floor(arguments.policy_floor)
    attested = decides and bool(config.gate.evaluators)
    return compute_verdict(
        workspace, config, arguments.set, floor=floor, now=today_or_later(arguments), attested=attested
    )


def print_verdict(arguments: Arguments, verdict: "Verdict") -> None:
    """Print a verdict: the outcome, a line for each clause, the assumption, the warnings and the digest; or JSON."""
    if arguments.json:
        print_document(verdict.to_json())
        return
    print_line(f"{arguments.set}: {verdict.outcome.upper()}")
    for finding in verdict.findings:
        print_sentence(f"  {'ok' if finding.satisfied else 'NO'}  ", finding.sentence)
    if verdict.assumption:
        print_sentence("  assumption: ", verdict.assumption)
    for warning in verdict.warnings:
        print_sentence("  warning: ", warning)
    print_line(f"  verdict {verdict.digest}")


def write_summaries(arguments: Arguments, verdict: "Verdict", change: str | None = None) -> None:
    """Write the Markdown and JUnit files that the command line names.

    Parameters
    ----------
    change : the change of the policy to include, instead of the file of `--policy-change`
    """
    from fair_distill.files import require_file, write_bytes
    from fair_distill.gate.render import junit, markdown

    if change is None:
        diff = arguments.policy_change
        change = require_file(diff, made_by="git diff").read_text(encoding="utf-8", errors="replace") if diff else ""
    if arguments.markdown:
        write_bytes(arguments.markdown, markdown(arguments.set, verdict, change=change).encode())
    if arguments.junit:
        write_bytes(arguments.junit, junit(arguments.set, verdict).encode())
