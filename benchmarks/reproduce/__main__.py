"""`python -m benchmarks.reproduce`: measure the tables of the papers again, with the baselines that they leave out.

Run it from a checkout: it is not part of the installed package.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.reproduce.benchmarks import BENCHMARKS
from benchmarks.reproduce.budget import BUDGETS
from benchmarks.reproduce.measure import MeasurementPlan
from benchmarks.reproduce.methods import METHODS
from benchmarks.reproduce.run import Selection, reproduce
from fair_distill.errors import ConfigError, FairDistillError
from fair_distill.stages.device import torch_device


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing in the file of results, and return the exit code: 2 for a usage or data error."""
    try:
        _run(_parser().parse_args(arguments))
    except FairDistillError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce", description=__doc__)
    parser.add_argument("--table", default="dm", help="the table of the paper, by its matcher (default: dm)")
    parser.add_argument("--ipc", type=_positive, default=10, help="images per class (default: 10)")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with mnist/, fashion_mnist/ and cifar10_4k/"
    )
    parser.add_argument("--datasets", nargs="+", default=[*BENCHMARKS], metavar="NAME", help="default: all")
    parser.add_argument("--methods", nargs="+", default=[*METHODS], metavar="NAME", help="default: all")
    parser.add_argument("--budget", default="small", help=f"{', '.join(BUDGETS)} (default: small, for two CPU cores)")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=N", help="change numbers of the budget, for example steps=500"
    )
    parser.add_argument("--seeds", type=_positive, default=3, metavar="N", help="runs of each method (default: 3)")
    parser.add_argument("--workers", type=_positive, default=1, metavar="N", help="parallel processes (default: 1)")
    parser.add_argument("--minutes", type=_positive, metavar="M", help="start no measurement after M minutes")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="JSON file to add results to; the table is written next to it as .md"
    )
    parser.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    return parser


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"a whole number above 0 is required, got {text!r}")
    return int(text)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.budget not in BUDGETS:
        raise ConfigError(f"--budget is {arguments.budget!r}; choose one of {', '.join(BUDGETS)}")
    device = str(torch_device(arguments.device, threads=1))
    plan = MeasurementPlan(
        arguments.data, BUDGETS[arguments.budget].but(_changes(arguments.set)), arguments.ipc, device
    )
    name = f"reproduce_{arguments.table}_ipc{arguments.ipc}_{arguments.budget}_{device.partition(':')[0]}.json"
    out = arguments.out or Path(name)
    record = reproduce(
        Selection(arguments.table, arguments.datasets, arguments.methods, arguments.seeds),
        plan,
        out=out,
        workers=arguments.workers,
        today=datetime.now(UTC).date().isoformat(),
        clock=cpu_seconds,
        stopping=_deadline(arguments.minutes),
        progress=_show,
    )
    print(f"{len(record.results)} results in {out}, the table in {out.with_suffix('.md')}")


def cpu_seconds() -> float:
    """Return the CPU time of this process in seconds."""
    times = os.times()
    return times.user + times.system


def _changes(assignments: Sequence[str]) -> dict[str, str]:
    for assignment in assignments:
        if "=" not in assignment:
            raise ConfigError(f"--set is {assignment!r}; write KEY=N, for example steps=500")
    return dict(assignment.split("=", 1) for assignment in assignments)


def _deadline(minutes: int | None) -> Callable[[], bool]:
    if minutes is None:
        return lambda: False
    end = datetime.now(UTC) + timedelta(minutes=minutes)
    return lambda: datetime.now(UTC) >= end


def _show(number: int, total: int, note: str) -> None:
    print(f"{number} of {total}: {note}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
