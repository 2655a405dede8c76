"""The gate's commands: judge, enforce, explain, gate plan, gate reserve, gate replay."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.cli.arguments import (
    Arguments,
    Commands,
    add_command,
    add_floor,
    add_json,
    add_key,
    add_registry,
    day,
    day_to_come,
    open_workspace,
)
from fair_distill.cli.pull_request import add_pull_request
from fair_distill.cli.show import cell, print_document, print_json, say

if TYPE_CHECKING:
    from datetime import date

    from fair_distill.config import Config
    from fair_distill.gate.verdict import Verdict
    from fair_distill.workspace import Workspace


def add_commands(commands: Commands) -> None:
    for name, run, text in (
        ("judge", _judge, "write the verdict on a set; exits 0 whatever it is"),
        ("enforce", _enforce, "judge a set again, trusting no stored verdict, and exit with the verdict's code"),
        ("explain", _explain, "say in sentences what decides about a set: the cells, the bounds and what would help"),
    ):
        sub = add_command(commands, name, run, text)
        sub.add_argument("set", help="a name under sets in params.yaml")
        _add_gate_options(sub, shows=name != "explain", environment=name != "judge")
    text = "plan a policy for a split, reserve an attempt at it, or replay a policy over published versions"
    gate = add_command(commands, "gate", lambda _: None, text)
    _add_gate_commands(gate.add_subparsers(title="commands", metavar="COMMAND", required=True))


def _add_gate_options(sub: argparse.ArgumentParser, *, shows: bool, environment: bool = True) -> None:
    sub.add_argument("--policy", type=Path, metavar="FILE", help="another policy than params.yaml's gate")
    add_floor(sub, environment=environment)
    sub.add_argument("--now", type=day, metavar="DATE", help="the day on which waivers count")
    if shows:
        add_json(sub)
        sub.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary for a pull request")
        sub.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML for a CI server")
        sub.add_argument("--policy-change", type=Path, metavar="FILE", help="a diff of the policy, for the summary")


def _add_gate_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "Say what limits the gate split can show, and how many examples a limit needs, before anything is trained."
    sub = commands.add_parser("plan", help=text[0].lower() + text[1:-1], description=text)
    sub.add_argument("--accuracy", type=float, nargs="+", default=[0.95, 0.8], help="assumed (default: 0.95 0.8)")
    sub.add_argument("--seed-sd", type=float, default=0.02, help="assumed scatter of a gap over seeds (default: 0.02)")
    sub.add_argument("--seeds", type=int, help="default: evaluate.seeds in params.yaml")
    add_json(sub)
    sub.set_defaults(run=_gate_plan)
    text = "Reserve the attempt at the gate split, before predictions are looked at, and write context.json."
    sub = commands.add_parser("reserve", help=text[0].lower() + text[1:-1], description=text)
    sub.add_argument("set", nargs="?", help="default: release.candidate in params.yaml")
    sub.add_argument("--to", metavar="CHANNEL", help="where it is to be compared with what is promoted (default: last)")
    sub.add_argument("--fresh", default="", metavar="WHY", help="no example of this split was ever asked: a new alpha")
    sub.add_argument("--who", default=os.environ.get("USER", "unknown"), help="the name the ledger keeps")
    add_registry(sub)
    sub.set_defaults(run=_gate_reserve)
    text = "Add a waiver of one clause for the present version of a set to context.json, signed by the approver."
    sub = commands.add_parser("waive", help=text[0].lower() + text[1:-1], description=text)
    sub.add_argument("set", help="a name under sets in params.yaml")
    sub.add_argument("--clause", required=True, metavar="NAME", help="a clause of the policy, as enforce names it")
    sub.add_argument("--who", default=os.environ.get("USER", "unknown"), help="who asks for the waiver")
    sub.add_argument("--approved-by", required=True, metavar="NAME", help="the second person")
    sub.add_argument("--why", required=True, metavar="TEXT", help="the reason, which every verdict repeats")
    sub.add_argument("--expires", required=True, type=day, metavar="DATE", help="the last day on which it counts")
    add_key(sub)
    sub.set_defaults(run=_gate_waive)
    text = "Judge every published version anew by a policy, from stored predictions, without a GPU."
    sub = commands.add_parser("replay", help=text[0].lower() + text[1:-1], description=text)
    add_registry(sub)
    _add_gate_options(sub, shows=False)
    add_json(sub)
    sub.set_defaults(run=_gate_replay)
    add_pull_request(commands)


def _judge(arguments: Arguments) -> None:
    from fair_distill import stages
    from fair_distill.config import load_floor

    workspace, config = _open_gate(arguments)
    floor = load_floor(arguments.policy_floor) if arguments.policy_floor else None
    now = day_to_come(arguments) if arguments.now else None
    _show_verdict(arguments, stages.judge(workspace, config, arguments.set, floor=floor, now=now))


def _enforce(arguments: Arguments) -> int:
    verdict = _verdict_today(arguments, decides=True)
    _show_verdict(arguments, verdict)
    return int(verdict.exit_code)


def _explain(arguments: Arguments) -> None:
    from fair_distill.gate.explain import explain

    verdict = _verdict_today(arguments)
    say(f"{arguments.set}: {verdict.outcome.upper()}")
    for line in (*explain(verdict), *(f"warning: {warning}" for warning in verdict.warnings)):
        say(f"  {line}")


def _open_gate(arguments: Arguments) -> "tuple[Workspace, Config]":
    """The workspace, with the policy that was named in place of its own."""
    from fair_distill.config import load_gate

    workspace, config = open_workspace(arguments)
    if arguments.policy:
        config = config.model_copy(update={"gate": load_gate(arguments.policy)})
    return workspace, config


def _today(arguments: Arguments) -> "date":
    from datetime import UTC, datetime

    day: date = arguments.now or datetime.now(UTC).date()
    return day


def _verdict_today(arguments: Arguments, *, decides: bool = False) -> "Verdict":
    from fair_distill import stages

    workspace, config = _open_gate(arguments)
    floor = stages.floor_at(arguments.policy_floor)
    attested = decides and bool(config.gate.evaluators)
    return stages.verdict_of(
        workspace, config, arguments.set, floor=floor, now=day_to_come(arguments), attested=attested
    )


def _show_verdict(arguments: Arguments, verdict: "Verdict") -> None:
    from fair_distill.files import require_file, write_bytes
    from fair_distill.gate.render import junit, markdown

    if arguments.json:
        print_document(verdict.to_json())
    else:
        say(f"{arguments.set}: {verdict.outcome.upper()}")
        for finding in verdict.findings:
            say(f"  {'ok' if finding.kept else 'NO'}  {finding.sentence}")
        for warning in verdict.warnings:
            say(f"  warning: {warning}")
        say(f"  verdict {verdict.digest}")
    if arguments.markdown:
        diff = arguments.policy_change
        change = require_file(diff, made_by="git diff").read_text(encoding="utf-8", errors="replace") if diff else ""
        write_bytes(arguments.markdown, markdown(arguments.set, verdict, change=change).encode())
    if arguments.junit:
        write_bytes(arguments.junit, junit(arguments.set, verdict).encode())


def _gate_plan(arguments: Arguments) -> None:
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from fair_distill import stages
    from fair_distill.errors import ConfigError
    from fair_distill.gate.policy import vacuous

    workspace, config = open_workspace(arguments)
    seeds = config.evaluate.seeds if arguments.seeds is None else arguments.seeds
    if not all(0 < accuracy < 1 for accuracy in arguments.accuracy) or arguments.seed_sd < 0 or seeds < 2:
        raise ConfigError("gate plan wants accuracies between 0 and 1, a --seed-sd of 0 or more and 2 --seeds or more")
    plan = stages.plan_gate(workspace, config, accuracies=arguments.accuracy, seed_sd=arguments.seed_sd, seeds=seeds)
    if arguments.json:
        print_json(asdict(plan))
        return
    table = Table(title=f"what truly fair sets can show: {seeds} seeds, scatter {arguments.seed_sd:g}")
    for title in ("clause", "accuracy", "limit", "chance", "80 % pass", "90 % pass", "at best", "examples a cell"):
        table.add_column(title, justify="left" if title == "clause" else "right")
    for row in plan.rows:
        needed = " / ".join("–" if count is None else f"{count:,}" for count in row.needed)
        numbers = (row.limit, row.chance, *row.likely, row.ever)
        table.add_row(cell(row.clause), f"{row.accuracy:g}", *(f"{number:.3f}" for number in numbers), needed)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for sentence in (*plan.advice, *(f"warning: {warning}" for warning in vacuous(config.gate))):
        say(sentence)


def _gate_reserve(arguments: Arguments) -> None:
    from datetime import UTC, datetime
    from uuid import uuid4

    from fair_distill import stages
    from fair_distill.gate.policy import alpha_at
    from fair_distill.registry.actor import Actor

    workspace, config = open_workspace(arguments)
    name = arguments.set or config.release.candidate
    found = stages.reserve(
        workspace,
        config,
        name,
        arguments.to or config.release.channels[-1],
        registry=arguments.registry,
        actor=Actor(arguments.who, datetime.now(UTC), uuid4().hex),
        fresh=arguments.fresh,
    )
    told = f"{name}: attempt {found.attempt} at this split; context.json says so"
    alpha = config.gate.alpha
    say(told if alpha is None else f"{told}, and it may take a risk of {alpha_at(alpha, found.attempt):.4f}")


def _gate_waive(arguments: Arguments) -> None:
    from fair_distill import stages
    from fair_distill.statements import signer

    workspace, config = open_workspace(arguments)
    waiver = stages.waive(
        workspace,
        config,
        arguments.set,
        clause=arguments.clause,
        who=arguments.who,
        approved_by=arguments.approved_by,
        why=arguments.why,
        expires=arguments.expires,
        sign=signer(Path(arguments.key)) if arguments.key else None,
    )
    say(f"{arguments.set}: {waiver.clause} is {waiver.sentence()}")


def _gate_replay(arguments: Arguments) -> None:
    from dataclasses import asdict

    from fair_distill import stages

    workspace, config = _open_gate(arguments)
    floor = stages.floor_at(arguments.policy_floor)
    rows = stages.replay_gate(
        workspace, config, config.gate, registry=arguments.registry, floor=floor, now=_today(arguments)
    )
    if arguments.json:
        print_json([{**asdict(row), "changed": row.changed} for row in rows])
        return
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.outcome] = counts.get(row.outcome, 0) + 1
        was = "" if row.before is None else f" (was {row.before.upper()})"
        say(f"{'* ' if row.changed else '  '}{row.name}: {row.outcome.upper()}{was}")
        for reason in row.reasons:
            say(f"      {reason}")
    say(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "nothing is published yet")
