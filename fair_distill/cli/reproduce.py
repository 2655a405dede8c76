"""`fair-distill reproduce`: the papers' tables, measured again."""

import argparse
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fair_distill.cli.arguments import add_device
from fair_distill.cli.output import print_line
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.errors import ConfigError


def add_commands(parser: Parser) -> None:
    sub = parser.add_command(
        "reproduce",
        _reproduce,
        "measure a published table again, with the baselines it leaves out",
        examples=[
            ("fair-distill reproduce --data data --datasets c_mnist_fg --budget small", "a row of the papers' tables"),
        ],
    )
    sub.add_argument("--table", default="dm", help="whose table: the backbone (default: dm)")
    sub.add_argument("--ipc", type=_positive, default=10, help="images a class (default: 10)")
    sub.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="holds mnist/, fashion_mnist/, cifar10_4k/"
    )
    sub.add_argument("--datasets", nargs="+", metavar="NAME", help="default: all there are")
    sub.add_argument("--methods", nargs="+", metavar="NAME", help="default: all there are")
    sub.add_argument("--budget", default="small", help="small (two CPU cores), lean, medium or full (default: small)")
    sub.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=N", help="other numbers for the budget, as in steps=500"
    )
    sub.add_argument("--seeds", type=_positive, default=3, metavar="N", help="distillations of each (default: 3)")
    sub.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes at once (default: 1)")
    sub.add_argument("--minutes", type=_positive, metavar="M", help="begin nothing new after so many")
    sub.add_argument("--out", type=Path, metavar="FILE", help="JSON that results are added to; a .md comes beside it")
    add_device(sub)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"a whole number above 0 is needed, got {text!r}")
    return int(text)


def _reproduce(arguments: Arguments) -> None:
    from fair_distill.reproduce.benchmarks import BENCHMARKS
    from fair_distill.reproduce.budget import BUDGETS
    from fair_distill.reproduce.measure import Plan
    from fair_distill.reproduce.methods import METHODS
    from fair_distill.reproduce.run import Wanted, reproduce
    from fair_distill.stages.device import torch_device

    if arguments.budget not in BUDGETS:
        raise ConfigError(f"--budget is {arguments.budget!r}; choose one of {', '.join(BUDGETS)}")
    device = str(torch_device(arguments.device, threads=1))
    plan = Plan(arguments.data, BUDGETS[arguments.budget].but(_pairs(arguments.set)), arguments.ipc, device)
    name = f"reproduce_{arguments.table}_ipc{arguments.ipc}_{arguments.budget}_{device.partition(':')[0]}.json"
    out = arguments.out or Path(name)
    record = reproduce(
        Wanted(arguments.table, arguments.datasets or [*BENCHMARKS], arguments.methods or [*METHODS], arguments.seeds),
        plan,
        out=out,
        workers=arguments.workers,
        today=datetime.now(UTC).date().isoformat(),
        clock=cpu_seconds,
        stopping=_after(arguments.minutes),
        progress=_line,
    )
    print_line(f"{len(record.results)} results in {out}, the table in {out.with_suffix('.md')}")


def cpu_seconds() -> float:
    """Return what this process has used of the processors."""
    used = os.times()
    return used.user + used.system


def _pairs(texts: list[str]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise ConfigError(f"--set {text}: KEY=N was wanted, as in steps=500")
    return dict(text.split("=", 1) for text in texts)


def _after(minutes: int | None) -> Callable[[], bool]:
    if minutes is None:
        return lambda: False
    end = datetime.now(UTC) + timedelta(minutes=minutes)
    return lambda: datetime.now(UTC) >= end


def _line(done: int, of: int, note: str) -> None:
    print_line(f"{done} of {of}: {note}", error=True, now=True)
