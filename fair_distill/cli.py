"""argv to stages, and what they return to lines and exit codes. The only file that prints.

Exit codes: 0 done or passed, 1 failed the gate, 2 usage or bad input, 3 inconclusive or insufficient,
4 measurement error, 5 integrity, 70 a fault of ours.
"""

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fair_distill.errors import FairDistillError

if TYPE_CHECKING:
    from datetime import date

    from fair_distill.artifacts import Workspace
    from fair_distill.config import Config, Gate
    from fair_distill.gate.verdict import Verdict

Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = _parser().parse_args(argv)
    # Threads that wait for each other sleep instead of spinning; read once, when torch is loaded. On a machine that
    # does other work too, spinning made a stage five times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code: int = arguments.run(arguments) or 0
        sys.stdout.flush()
        return code
    except FairDistillError as error:
        print(f"fair-distill: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains once more
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception:
        traceback.print_exc()
        return 70


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fair-distill",
        description="Distil group-labelled data towards the barycenter of its groups; gate, version, load.",
        epilog="Exit codes: 0 done or passed · 1 failed the gate · 2 usage or bad input · 3 inconclusive or "
        "insufficient · 4 measurement error · 5 integrity · 70 a fault of ours.",
    )
    parser.add_argument(
        "--workspace", type=Path, default=Path(), metavar="DIR", help="where params.yaml lies (default: here)"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[Arguments], int | None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        sub.set_defaults(run=run)
        return sub

    def device(sub: argparse.ArgumentParser) -> None:
        default = os.environ.get("FAIR_DISTILL_DEVICE", "cpu")
        sub.add_argument("--device", default=default, help=f"torch device (default: {default})")

    command("run", _run, "bring every stage up to date (this is `dvc repro`), then show the table")
    command("prepare", _prepare, "read the source; write the train, tune and gate splits")
    command("validate", _validate, "hold the prepared splits against the contract")
    data = command("data", lambda _: None, "look at the data before anything is run")
    _add_data_commands(data.add_subparsers(title="commands", metavar="COMMAND", required=True))
    sub = command("distill", _distill, "distil one candidate")
    sub.add_argument("candidate", help="a name under candidates in params.yaml")
    sub.add_argument(
        "--checkpoints", type=Path, metavar="DIR", help="where runs are taken up from (default: .checkpoints)"
    )
    sub.add_argument("--checkpoint-every", type=int, default=50, metavar="STEPS", help="default: 50")
    device(sub)
    sub = command("references", _references, "write a set that candidates are measured against")
    sub.add_argument("reference", help="a name under references in params.yaml")
    for name, run, text in (
        ("evaluate", _evaluate, "train on a set as it lies on disk and predict the gate split"),
        ("judge", _judge, "write the verdict on a set; exits 0 whatever it is"),
        ("enforce", _enforce, "judge a set again, trusting no stored verdict, and exit with the verdict's code"),
        ("explain", _explain, "say in sentences what decides about a set: the cells, the bounds and what would help"),
    ):
        sub = command(name, run, text)
        sub.add_argument("set", help="a name under sets in params.yaml")
        if name == "evaluate":
            device(sub)
        else:
            _add_gate_options(sub, shows=name != "explain")
    gate = command("gate", lambda _: None, "plan a policy for a split, or replay one over published versions")
    _add_gate_commands(gate.add_subparsers(title="commands", metavar="COMMAND", required=True))
    command("table", _table, "show accuracy, gaps and verdict of every set")
    command("where", _where, "show the table and where everything lies")

    def registry(sub: argparse.ArgumentParser, *, acts: bool = True) -> None:
        sub.add_argument("--registry", metavar="URL", help="default: FAIR_DISTILL_REGISTRY, else the folder `registry`")
        if acts:
            sub.add_argument("--who", default=os.environ.get("USER", "unknown"), help="the name the ledger keeps")

    registry(command("publish", _publish, "put the release candidate into the registry, under its digest, for good"))
    sub = command("promote", _promote, "judge the release candidate again and promote it, if the gate lets it")
    sub.add_argument("--to", required=True, metavar="CHANNEL", help="a channel under release in params.yaml")
    registry(sub)
    sub = command("verify", _verify, "check every byte that the registry has of a dataset or a version")
    sub.add_argument("reference", help="a dataset, or dataset@channel, dataset@v3, dataset@sha256:...")
    registry(sub, acts=False)
    for name, run, text in (
        ("rollback", _rollback, "return a channel to the version it had before"),
        ("revoke", _revoke, "withdraw a version from every consumer, for good"),
    ):
        sub = command(name, run, text)
        sub.add_argument(
            "reference", help="dataset@channel" if name == "rollback" else "dataset@v3, dataset@sha256:..."
        )
        sub.add_argument("--reason", required=True, help="what consumers will read")
        registry(sub)
    return parser


def _add_gate_options(sub: argparse.ArgumentParser, *, shows: bool) -> None:
    from datetime import date

    sub.add_argument("--policy", type=Path, metavar="FILE", help="another policy than params.yaml's gate")
    sub.add_argument("--policy-floor", type=Path, metavar="FILE", help="a policy that this one may only tighten")
    sub.add_argument("--now", type=date.fromisoformat, metavar="DATE", help="the day on which waivers count")
    if shows:
        sub.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary for a pull request")
        sub.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML for a CI server")
        sub.add_argument("--policy-change", type=Path, metavar="FILE", help="a diff of the policy, for the summary")


def _add_gate_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "Say what limits the gate split can show, and how many examples a limit needs, before anything is trained."
    sub = commands.add_parser("plan", help=text[0].lower() + text[1:-1], description=text)
    sub.add_argument("--accuracy", type=float, nargs="+", default=[0.95, 0.8], help="assumed (default: 0.95 0.8)")
    sub.add_argument("--seed-sd", type=float, default=0.02, help="assumed scatter of a gap over seeds (default: 0.02)")
    sub.add_argument("--seeds", type=int, help="default: evaluate.seeds in params.yaml")
    sub.set_defaults(run=_gate_plan)
    text = "Judge every published version anew by a policy, from stored predictions, without a GPU."
    sub = commands.add_parser("replay", help=text[0].lower() + text[1:-1], description=text)
    sub.add_argument("--registry", metavar="URL", help="default: FAIR_DISTILL_REGISTRY, else the folder `registry`")
    _add_gate_options(sub, shows=False)
    sub.set_defaults(run=_gate_replay)


def _add_data_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "Show the cells, the imbalance and the contract's outcome for the source in params.yaml; write nothing."
    sub = commands.add_parser("describe", help=text[0].lower() + text[1:-1], description=text)
    sub.set_defaults(run=_data_describe)


def _open(arguments: Arguments) -> "tuple[Workspace, Config]":
    from fair_distill.artifacts import Workspace
    from fair_distill.config import load_config

    workspace = Workspace(arguments.workspace)
    return workspace, load_config(workspace.params)


class _Progress:
    """A bar on a terminal; elsewhere a line at every tenth, so logs stay short."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, done: int, of: int, note: str) -> None:
        if sys.stderr.isatty():
            self._draw(done, of, note)
        elif done == of or done % max(1, of // 10) == 0:
            print(f"{self.what}: {done:,} of {of:,}, {note}", file=sys.stderr, flush=True)

    def _draw(self, done: int, of: int, note: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        if self._bar is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} {task.fields[note]}"),
            )
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
            self._task = self._bar.add_task(self.what, total=of, note=note)
            self._bar.start()
        self._bar.update(self._task, completed=done, note=note)
        if done == of:
            self._bar.stop()


def _run(arguments: Arguments) -> None:
    from fair_distill.versioning import repro

    workspace, _ = _open(arguments)
    repro(workspace.root)
    _table(arguments)


def _prepare(arguments: Arguments) -> None:
    from fair_distill import stages

    for name, dataset in stages.prepare(*_open(arguments)).items():
        print(
            f"{name}: {len(dataset):,} images, {len(dataset.classes)} classes × {len(dataset.group_names)} groups, "
            f"{dataset.counts.min():,} to {dataset.counts.max():,} a cell"
        )


def _data_describe(arguments: Arguments) -> None:
    from rich.console import Console
    from rich.table import Table

    from fair_distill import stages

    outcome = stages.describe(*_open(arguments))
    for split, cells in outcome["cells"].items():
        groups = list(next(iter(cells.values())))
        total = sum(sum(counts.values()) for counts in cells.values())
        table = Table(title=f"{split}: {total:,} examples, {len(cells)} classes × {len(groups)} groups")
        table.add_column("class")
        for title in (*groups, "imbalance"):
            table.add_column(title, justify="right")
        for label, counts in cells.items():
            imbalance = outcome["imbalance"][split][label]
            numbers = [f"{counts[group]:,}" for group in groups]
            table.add_row(label, *numbers, "–" if imbalance is None else f"{imbalance:.1f}")
        width = None if sys.stdout.isatty() else max(120, 16 * (len(groups) + 2))
        console = Console(width=width)
        with console.capture() as drawn:
            console.print(table)
        print(drawn.get(), end="")
    _show_outcome(outcome)


def _validate(arguments: Arguments) -> None:
    from fair_distill import stages

    _show_outcome(stages.validate(*_open(arguments)))


def _show_outcome(outcome: dict[str, Any]) -> None:
    for failure in outcome["failures"]:
        print(f"{failure['severity']}: {failure['sentence']}")
    held = f"{outcome['expectations']} expectations held"
    print(held if outcome["success"] else "refused: `distill` will not take these data")


def _distill(arguments: Arguments) -> None:
    from fair_distill import stages

    manifest = stages.distill(
        *_open(arguments),
        arguments.candidate,
        device=arguments.device,
        checkpoints=arguments.checkpoints,
        every=arguments.checkpoint_every,
        stopping=_asked_to_stop(),
        progress=_Progress(f"distil {arguments.candidate}"),
    )
    print(f"{arguments.candidate}: {manifest.card.examples:,} images, version {manifest.version[:12]}")


def _asked_to_stop() -> Callable[[], bool]:
    """Take SIGTERM as a wish, and return the question whether it came."""
    came = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: came.set())
    return came.is_set


def _references(arguments: Arguments) -> None:
    from fair_distill import stages

    manifest = stages.references(*_open(arguments), arguments.reference)
    print(f"{arguments.reference}: {manifest.card.examples:,} real images")


def _evaluate(arguments: Arguments) -> None:
    from fair_distill import stages

    progress = _Progress(f"evaluate {arguments.set}")
    report = stages.evaluate(*_open(arguments), arguments.set, device=arguments.device, progress=progress)
    for network, of in report.items():
        figures = ", ".join(f"{title} {_percent(of[name])}" for name, title in _METRICS.items())
        print(f"{arguments.set}, {network}: {figures}")


def _judge(arguments: Arguments) -> None:
    from fair_distill import stages

    workspace, config, floor = _open_gate(arguments)
    _show_verdict(arguments, stages.judge(workspace, config, arguments.set, floor=floor, now=arguments.now))


def _enforce(arguments: Arguments) -> int:
    verdict = _verdict_today(arguments)
    _show_verdict(arguments, verdict)
    return int(verdict.exit_code)


def _explain(arguments: Arguments) -> None:
    from fair_distill.gate.explain import explain

    verdict = _verdict_today(arguments)
    print(f"{arguments.set}: {verdict.outcome.upper()}")
    for line in explain(verdict):
        print(f"  {line}")


def _open_gate(arguments: Arguments) -> "tuple[Workspace, Config, Gate | None]":
    """The workspace, with the policy that was named in place of its own, and the floor under it."""
    from fair_distill.config import load_gate

    workspace, config = _open(arguments)
    if arguments.policy:
        config = config.model_copy(update={"gate": load_gate(arguments.policy)})
    return workspace, config, load_gate(arguments.policy_floor) if arguments.policy_floor else None


def _today(arguments: Arguments) -> "date":
    from datetime import UTC, datetime

    day: date = arguments.now or datetime.now(UTC).date()
    return day


def _verdict_today(arguments: Arguments) -> "Verdict":
    from fair_distill import stages

    workspace, config, floor = _open_gate(arguments)
    return stages.verdict_of(workspace, config, arguments.set, floor=floor, now=_today(arguments))


def _show_verdict(arguments: Arguments, verdict: "Verdict") -> None:
    from fair_distill.artifacts import needed, write_bytes
    from fair_distill.gate.render import junit, markdown

    print(f"{arguments.set}: {verdict.outcome.upper()}")
    for finding in verdict.findings:
        print(f"  {'ok' if finding.kept else 'NO'}  {finding.sentence}")
    print(f"  verdict {verdict.digest}")
    if arguments.markdown:
        diff = arguments.policy_change
        change = needed(diff, made_by="git diff").read_text(encoding="utf-8", errors="replace") if diff else ""
        write_bytes(arguments.markdown, markdown(arguments.set, verdict, change=change).encode())
    if arguments.junit:
        write_bytes(arguments.junit, junit(arguments.set, verdict).encode())


def _gate_plan(arguments: Arguments) -> None:
    from rich.console import Console
    from rich.table import Table

    from fair_distill import stages
    from fair_distill.errors import ConfigError

    workspace, config = _open(arguments)
    seeds = config.evaluate.seeds if arguments.seeds is None else arguments.seeds
    if not all(0 < accuracy < 1 for accuracy in arguments.accuracy) or arguments.seed_sd < 0 or seeds < 2:
        raise ConfigError("gate plan wants accuracies between 0 and 1, a --seed-sd of 0 or more and 2 --seeds or more")
    plan = stages.plan_gate(workspace, config, accuracies=arguments.accuracy, seed_sd=arguments.seed_sd, seeds=seeds)
    table = Table(title=f"what truly fair sets can show: {seeds} seeds, scatter {arguments.seed_sd:g}")
    for title in ("clause", "accuracy", "limit", "chance", "80 % pass", "90 % pass", "at best", "examples a cell"):
        table.add_column(title, justify="left" if title == "clause" else "right")
    for row in plan.rows:
        needed = " / ".join("–" if count is None else f"{count:,}" for count in row.needed)
        numbers = (row.limit, row.chance, *row.likely, row.ever)
        table.add_row(row.clause, f"{row.accuracy:g}", *(f"{number:.3f}" for number in numbers), needed)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for sentence in plan.advice:
        print(sentence)


def _gate_replay(arguments: Arguments) -> None:
    from fair_distill import stages
    from fair_distill.registry.store import locate

    workspace, config, floor = _open_gate(arguments)
    where = locate(arguments.registry, beside=workspace.root)
    counts: dict[str, int] = {}
    for row in stages.replay_gate(workspace, config, config.gate, registry=where, floor=floor, now=_today(arguments)):
        counts[row.outcome] = counts.get(row.outcome, 0) + 1
        was = "" if row.before is None else f" (was {row.before.upper()})"
        print(f"{'* ' if row.changed else '  '}{row.name}: {row.outcome.upper()}{was}")
        for reason in row.reasons:
            print(f"      {reason}")
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "nothing is published yet")


_METRICS = {
    "accuracy": "accuracy",
    "worst_group_accuracy": "worst group",
    "eo_diag_max": "EODM",
    "eo_diag_mean": "EODA",
}


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _table(arguments: Arguments) -> None:
    """Show what is on disk; a set that was not evaluated yet says so."""
    from rich.console import Console
    from rich.table import Table

    from fair_distill.artifacts import parse_json
    from fair_distill.gate.verdict import Verdict

    workspace, config = _open(arguments)
    table = Table(title=f"{config.dataset}: %, on the gate split, mean over {config.evaluate.seeds} seeds")
    table.add_column("set")
    table.add_column("network")
    for title in _METRICS.values():
        table.add_column(title, justify="right")
    table.add_column("verdict")
    for name in config.sets:
        evaluation, verdict = workspace.evaluation(name), workspace.verdict(name)
        if not evaluation.exists() or not verdict.exists():
            table.add_row(name, "", *["–"] * len(_METRICS), "not evaluated")
            continue
        report = parse_json(evaluation.read_bytes(), name=str(evaluation))
        outcome = Verdict.from_json(verdict.read_bytes(), name=str(verdict)).outcome
        for row, (network, of) in enumerate(report.items()):
            said = (name, outcome) if row == 0 else ("", "")
            table.add_row(said[0], network, *(_percent(of.get(key)) for key in _METRICS), said[1])
    console = Console()
    with console.capture() as drawn:  # rich exits 1 where the reader went away; `main` knows better
        console.print(table)
    print(drawn.get(), end="")
    for name in config.candidates:  # references are there to compare with, not to be released
        path = workspace.verdict(name)
        if path.exists():
            for reason in Verdict.from_json(path.read_bytes(), name=str(path)).reasons:
                print(f"{name}: {reason}")


def _where(arguments: Arguments) -> None:
    from fair_distill.registry.store import locate

    _table(arguments)
    workspace, config = _open(arguments)
    for what, path in (
        ("synthetic images", workspace.grid(config.release.candidate)),
        ("distilled set", workspace.set(config.release.candidate)),
        ("predictions", workspace.predictions(config.release.candidate)),
        ("verdict", workspace.verdict(config.release.candidate)),
        ("data contract", workspace.validation),
        ("registry", Path(locate(None, beside=workspace.root))),
    ):
        if path.exists():
            print(f"{what + ':':18}{path}")


def _hand(arguments: Arguments) -> Any:
    from datetime import UTC, datetime
    from uuid import uuid4

    from fair_distill.stages import Hand

    return Hand(arguments.who, datetime.now(UTC), uuid4().hex)


def _publish(arguments: Arguments) -> None:
    from fair_distill import stages
    from fair_distill.registry.store import locate

    workspace, config = _open(arguments)
    where = locate(arguments.registry, beside=workspace.root)
    done = stages.publish(workspace, config, registry=where, hand=_hand(arguments))
    print(f"{config.dataset}@v{done.number} {'published' if done.new else 'was published already'}: {done.version}")


def _promote(arguments: Arguments) -> None:
    from fair_distill import stages
    from fair_distill.registry.store import locate

    workspace, config = _open(arguments)
    where = locate(arguments.registry, beside=workspace.root)
    done = stages.promote(workspace, config, arguments.to, registry=where, hand=_hand(arguments))
    print(f"{config.dataset}@{done.channel} {'is now' if done.new else 'is already'} v{done.number}")


def _verify(arguments: Arguments) -> None:
    from fair_distill.registry.client import verify

    checked = verify(arguments.reference, registry=arguments.registry)
    print(f"{arguments.reference}: {len(checked)} files, {sum(c.size for c in checked):,} bytes, all as they should be")


def _named(arguments: Arguments) -> Any:
    """The store, the dataset and what stands after the @."""
    from fair_distill.errors import ConfigError
    from fair_distill.registry.store import locate, open_store

    name, _, selector = arguments.reference.partition("@")
    if not selector:
        raise ConfigError(f"{arguments.reference!r}: something after an @ was wanted")
    return open_store(locate(arguments.registry)), name, selector


def _rollback(arguments: Arguments) -> None:
    from fair_distill.registry.channels import version_number
    from fair_distill.registry.ledger import read_ledger
    from fair_distill.registry.release import rollback

    store, name, channel = _named(arguments)
    hand = _hand(arguments)
    entry = rollback(store, name, channel, reason=arguments.reason, who=hand.who, now=hand.now, nonce=hand.nonce)
    print(f"{name}@{channel} is now v{version_number(read_ledger(store, name), entry.version)}")


def _revoke(arguments: Arguments) -> None:
    from fair_distill.registry.channels import resolve, version_number
    from fair_distill.registry.ledger import read_ledger
    from fair_distill.registry.release import revoke

    store, name, selector = _named(arguments)
    entries = read_ledger(store, name)
    hand = _hand(arguments)
    entry = revoke(
        store, name, resolve(entries, selector), reason=arguments.reason, who=hand.who, now=hand.now, nonce=hand.nonce
    )
    print(f"{name}@v{version_number(entries, entry.version)} is revoked: {entry.reason}")
