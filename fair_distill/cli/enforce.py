"""`fair-distill enforce`: judge a set and exit with the code of the verdict."""

from fair_distill.cli.arguments import add_set
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.cli.verdicts import add_policy, add_summaries, print_verdict, verdict_today, write_summaries


def add_commands(parser: Parser) -> None:
    """Add the command."""
    command = parser.add_command(
        "enforce",
        _enforce,
        "judge a set again and exit with the verdict's code",
        details="It ignores stored verdicts. Exit codes: 0 pass, 1 fail, 3 inconclusive or insufficient, "
        "4 measurement error, 5 integrity.",
        examples=[
            ("fair-distill enforce barycentric", "judge by the policy in params.yaml"),
            ("fair-distill enforce barycentric --policy strict.yaml --junit gate.xml", "by another policy, for CI"),
        ],
    )
    add_set(command)
    add_policy(command)
    add_summaries(command)


def _enforce(arguments: Arguments) -> int:
    verdict = verdict_today(arguments, decides=True)
    print_verdict(arguments, verdict)
    write_summaries(arguments, verdict)
    return int(verdict.exit_code)
