"""`fair-distill gate`: plan a policy, explain its verdicts, and judge pull requests and published versions."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.cli.arguments import (
    add_device,
    add_floor,
    add_json,
    add_key,
    add_now,
    add_registry,
    add_set,
    add_who,
    day,
    open_workspace,
    signer_of,
    today_or_later,
)
from fair_distill.cli.gate_model import add_attest_command as add_attest_model
from fair_distill.cli.gate_model import add_command as add_model
from fair_distill.cli.output import print_json, print_line, print_sentence, print_table
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.cli.verdicts import (
    add_policy,
    add_summaries,
    open_gate,
    print_verdict,
    verdict_today,
    write_summaries,
)
from fair_distill.text import ABSENT, decimal

if TYPE_CHECKING:
    from datetime import date

    from fair_distill.gate.plan import PowerPlan


def add_commands(parser: Parser) -> None:
    """Add the group and its commands."""
    gate = parser.add_command("gate", None, "plan, explain and apply the policy: plan, explain, waive, model, …")
    _add_plan(gate)
    _add_explain(gate)
    _add_reserve(gate)
    _add_attest(gate)
    _add_waive(gate)
    _add_pull_request(gate)
    _add_replay(gate)
    add_model(gate)
    add_attest_model(gate)


def _add_plan(gate: Parser) -> None:
    command = gate.add_command(
        "plan",
        _plan,
        "compute which limits the gate split can establish, and how many examples they need",
        details="It needs no trained network. Run it before you choose the limits.",
        examples=[
            ("fair-distill gate plan --accuracy 0.95 0.8 --seed-sd 0.03", "for two accuracies that you expect"),
            ("fair-distill gate plan --accuracy 0.8 --write", "propose limits for your data"),
        ],
    )
    command.add_argument(
        "--accuracy", type=float, nargs="+", default=[0.95, 0.8], help="the expected accuracies (default: 0.95 0.8)"
    )
    command.add_argument(
        "--seed-sd",
        type=float,
        default=0.02,
        help="the expected standard deviation of a gap over seeds (default: 0.02)",
    )
    command.add_argument(
        "--draw-sd",
        type=float,
        default=0.05,
        help="the expected standard deviation of a random reference over its draws (default: 0.05)",
    )
    command.add_argument("--seeds", type=int, help="the number of seeds (default: evaluate.seeds in params.yaml)")
    command.add_argument(
        "--write",
        action="store_true",
        help="replace the limits in params.yaml by proposals for these data, at the smallest --accuracy",
    )
    add_json(command)


def _add_explain(gate: Parser) -> None:
    command = gate.add_command(
        "explain",
        _explain,
        "explain a verdict: the cells and bounds that decide it, and what would change it",
        examples=[("fair-distill gate explain pooled", "explain the verdict on the set 'pooled'")],
    )
    add_set(command)
    add_policy(command)


def _add_reserve(gate: Parser) -> None:
    command = gate.add_command(
        "reserve",
        _reserve,
        "reserve an attempt at the gate split in the ledger, and write context.json",
        details="Run it before anyone evaluates the set.",
        examples=[("fair-distill gate reserve", "reserve an attempt for the release candidate")],
    )
    command.add_argument(
        "set", nargs="?", help="a name under sets in params.yaml (default: release.candidate in params.yaml)"
    )
    command.add_argument(
        "--to", metavar="CHANNEL", help="compare with the version on this channel (default: the last channel)"
    )
    command.add_argument(
        "--fresh",
        default="",
        metavar="REASON",
        help="state that attempts of earlier releases did not use the examples of this gate split, and why",
    )
    add_who(command)
    add_registry(command)


def _add_attest(gate: Parser) -> None:
    command = gate.add_command(
        "attest",
        _attest,
        "sign the predictions of sets, on the machine that evaluated them",
        examples=[("fair-distill gate attest --key evaluator.key", "sign the predictions of all sets")],
    )
    command.add_argument("sets", nargs="*", metavar="set", help="names under sets in params.yaml (default: all)")
    add_key(command)


def _add_waive(gate: Parser) -> None:
    command = gate.add_command(
        "waive",
        _waive,
        "add a waiver of one clause, for the current version of a set, to context.json",
        details="The approver signs the waiver.",
        examples=[
            (
                "fair-distill gate waive barycentric --clause eo_diag_max --approved-by grace \\\n"
                '      --why "pilot in one shop" --expires 2027-03-31 --key grace.key',
                "accept one violation until the end of March",
            ),
        ],
    )
    add_set(command)
    command.add_argument("--clause", required=True, metavar="NAME", help="the name of the clause, as enforce prints it")
    add_who(command, "the person who requests the waiver")
    command.add_argument("--approved-by", required=True, metavar="NAME", help="the person who approves it")
    command.add_argument("--why", required=True, metavar="TEXT", help="the reason; every verdict prints it")
    command.add_argument("--expires", required=True, type=day, metavar="DATE", help="the last day on which it counts")
    add_key(command)


def _add_pull_request(gate: Parser) -> None:
    command = gate.add_command(
        "pull-request",
        _pull_request,
        "judge a set of a pull request by the policy of the base branch",
        details="Run it in a checkout of the base branch. It reads the commit of the pull request from git's object "
        "database and does not check it out.",
        examples=[
            ('fair-distill gate pull-request barycentric --head "$HEAD" --markdown gate.md', "in a CI job"),
            (
                'fair-distill gate pull-request barycentric --head "$HEAD" --evaluate',
                "train the networks in this job (needs torch)",
            ),
        ],
    )
    add_set(command)
    command.add_argument(
        "--head", required=True, metavar="COMMIT", help="the newest commit of the pull request, as a full SHA"
    )
    command.add_argument(
        "--repository", type=Path, metavar="DIR", help="the git repository with that commit (default: the workspace)"
    )
    command.add_argument(
        "--remote",
        metavar="REMOTE",
        help="the DVC remote: a name in .dvc/config, a folder or s3://bucket/prefix (default: the default remote)",
    )
    command.add_argument(
        "--evaluate", action="store_true", help="train and predict here instead of requiring attested predictions"
    )
    command.add_argument(
        "--registry",
        dest="record_of_attempts",  # without the default of the other commands, a folder in the workspace
        metavar="URL",
        help="read the record of attempts of this registry; nothing is recorded (default: the base branch's context)",
    )
    add_device(command)
    add_floor(command)
    add_now(command)
    add_summaries(command, policy_change=False)


def _add_replay(gate: Parser) -> None:
    command = gate.add_command(
        "replay",
        _replay,
        "judge all published versions by a policy, from stored predictions",
        details="It needs no GPU.",
        examples=[("fair-distill gate replay --policy strict.yaml", "the verdicts under another policy")],
    )
    add_registry(command)
    add_policy(command)
    add_json(command)


def _plan(arguments: Arguments) -> None:
    from fair_distill.errors import ConfigError
    from fair_distill.gate.planned_data import planned_for_other_data
    from fair_distill.gate.policy import limit_text, vacuous
    from fair_distill.stages.plan import plan_gate, write_proposal

    workspace, config = open_workspace(arguments)
    seeds = config.evaluate.seeds if arguments.seeds is None else arguments.seeds
    for option, value, valid, allowed in (
        ("--accuracy", arguments.accuracy, all(0 < accuracy < 1 for accuracy in arguments.accuracy), "between 0 and 1"),
        ("--seed-sd", arguments.seed_sd, arguments.seed_sd >= 0, "0 or more"),
        ("--draw-sd", arguments.draw_sd, arguments.draw_sd >= 0, "0 or more"),
        ("--seeds", seeds, seeds >= 2, "2 or more"),
    ):
        if not valid:
            raise ConfigError(f"{option} is {value}; pass {allowed}")
    assumed = {"seed_sd": arguments.seed_sd, "seeds": seeds, "draw_sd": arguments.draw_sd}
    if arguments.write:
        policy = write_proposal(workspace, config, accuracy=min(arguments.accuracy), **assumed)
        config = config.model_copy(update={"gate": policy})
    plan = plan_gate(workspace, config, accuracies=arguments.accuracy, **assumed)
    if arguments.json:
        print_json(asdict(plan))
        return
    other_data = planned_for_other_data(config.gate, config.data.source.model_dump())
    if other_data:
        print_sentence("warning: ", other_data)
    if arguments.write:
        for limit in config.gate.limits:
            print_sentence("", f"{limit.name}: {limit_text(limit)}, because {limit.why}")
    _print_plan(plan, title=f"limits that fair sets can meet: {seeds} seeds, standard deviation {arguments.seed_sd:g}")
    for sentence in (*plan.advice, *(f"warning: {warning}" for warning in vacuous(config.gate))):
        print_sentence("", sentence)


def _print_plan(plan: "PowerPlan", *, title: str) -> None:
    columns = ["clause", "accuracy", "limit", "chance", "80 % pass", "90 % pass", "at best", "examples a cell"]
    rows = []
    for row in plan.rows:
        numbers = (row.limit, row.chance, *row.likely, row.strictest)
        needed = " / ".join(ABSENT if count is None else f"{count:,}" for count in row.needed)
        rows.append([row.clause, f"{row.accuracy:g}", *(decimal(number) for number in numbers), needed])
    print_table(title, columns, rows)


def _explain(arguments: Arguments) -> None:
    from fair_distill.gate.explain import explain
    from fair_distill.stages.explain import doubts_about_labels, recommendation

    verdict = verdict_today(arguments)
    workspace, config = open_gate(arguments)
    assumption = [f"assumption: {verdict.assumption}"] if verdict.assumption else []
    warnings = [f"warning: {warning}" for warning in verdict.warnings]
    print_line(f"{arguments.set}: {verdict.outcome.upper()}")
    for line in (
        *explain(verdict),
        *recommendation(workspace, config, arguments.set, verdict),
        *doubts_about_labels(workspace, config, arguments.set, verdict),
        *assumption,
        *warnings,
    ):
        print_sentence("  ", line)


def _reserve(arguments: Arguments) -> None:
    from datetime import UTC, datetime
    from uuid import uuid4

    from fair_distill.registry.actor import Actor
    from fair_distill.stages.context import write_context

    workspace, config = open_workspace(arguments)
    name = arguments.set or config.release.candidate
    reservation = write_context(
        workspace,
        config,
        name,
        arguments.to or config.release.channels[-1],
        registry=arguments.registry,
        actor=Actor(arguments.who, datetime.now(UTC), uuid4().hex),
        fresh=arguments.fresh,
    )
    entry = reservation.attempt.entry
    line = f"{name}: attempt {entry.attempt} at this gate split, written to context.json"
    alpha = config.gate.alpha
    budget = (
        ""
        if alpha is None
        else f"; the alpha of this attempt is {alpha * entry.fraction:.2g}, and {alpha * entry.left:.2g} of "
        f"{alpha:g} is left on these examples"
    )
    print_line(line + budget)


def _attest(arguments: Arguments) -> None:
    from fair_distill.errors import ConfigError
    from fair_distill.stages.attest import attest_predictions

    sign = signer_of(arguments)
    if sign is None:
        raise ConfigError("attest needs a signing key; pass --key FILE or set FAIR_DISTILL_SIGNING_KEY")
    workspace, config = open_workspace(arguments)
    for path in attest_predictions(workspace, config, arguments.sets or config.sets, sign=sign):
        print_line(str(path))


def _waive(arguments: Arguments) -> None:
    from fair_distill.stages.waive import waive_clause

    workspace, config = open_workspace(arguments)
    waiver = waive_clause(
        workspace,
        config,
        arguments.set,
        clause=arguments.clause,
        requested_by=arguments.who,
        approved_by=arguments.approved_by,
        why=arguments.why,
        expires=arguments.expires,
        sign=signer_of(arguments),
    )
    print_line(f"{arguments.set}: {waiver.clause} is {waiver.sentence()}")


def _pull_request(arguments: Arguments) -> int:
    from tempfile import TemporaryDirectory

    from fair_distill.config import load_gate
    from fair_distill.errors import FairDistillError
    from fair_distill.files import write_bytes
    from fair_distill.gate.render import without_verdict
    from fair_distill.stages.policy import load_policy_floor
    from fair_distill.stages.pull_request import PullRequest, judge_pull_request
    from fair_distill.stages.pull_request_changes import describe_changes
    from fair_distill.text import printable
    from fair_distill.versioning.dvc_remote import open_remote

    workspace, config = open_workspace(arguments)
    pull_request = PullRequest.open(workspace, arguments.head, repository=arguments.repository)
    change = describe_changes(pull_request)
    notes: list[str] = []
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
                now=today_or_later(arguments),
                evaluate=arguments.evaluate,
                device=arguments.device,
                registry=arguments.record_of_attempts,
                note=notes.append,
            )
        except FairDistillError as error:
            # The temporary folder no longer exists when the message is read, so paths are given without it.
            message = printable(str(error)).replace(f"{folder}/", "")
            if arguments.markdown:
                write_bytes(arguments.markdown, without_verdict(arguments.set, message, change=change).encode())
            raise type(error)(message) from None
    print_verdict(arguments, verdict)
    if not arguments.json:
        for note in notes:
            print_sentence("  ", note)
    write_summaries(arguments, verdict, "\n".join([*(f"# {note}" for note in notes), change]).rstrip("\n"))
    return int(verdict.exit_code)


def _replay(arguments: Arguments) -> None:
    from fair_distill.stages.policy import load_policy_floor
    from fair_distill.stages.replay import replay_policy

    workspace, config = open_gate(arguments)
    floor = load_policy_floor(arguments.policy_floor)
    rows = replay_policy(
        workspace, config, config.gate, registry=arguments.registry, floor=floor, now=_replay_day(arguments)
    )
    if arguments.json:
        print_json([{**asdict(row), "changed": row.changed} for row in rows])
        return
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.outcome] += 1
        before = "" if row.before is None else f" (was {row.before.upper()})"
        print_line(f"{'* ' if row.changed else '  '}{row.name}: {row.outcome.upper()}{before}")
        for reason in row.reasons:
            print_sentence("      ", reason)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    print_line(summary or "the registry has no published versions")


def _replay_day(arguments: Arguments) -> "date":
    """Return the day of `--now`, or today. A replay may look back, so a day in the past is allowed."""
    from datetime import UTC, datetime

    chosen: date = arguments.now or datetime.now(UTC).date()
    return chosen
