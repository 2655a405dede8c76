"""The reported table beside ours, as Markdown: one part for each data set."""

from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Any

from benchmarks.reproduce.benchmarks import BENCHMARKS
from benchmarks.reproduce.budget import BUDGETS
from benchmarks.reproduce.methods import METHODS
from benchmarks.reproduce.record import Record
from benchmarks.reproduce.reported import COBRA, FAIRDD
from fair_distill.gate.metrics import ACCURACY, EO_DIAG_MAX, EO_DIAG_MEAN
from fair_distill.gate.quantiles import t_quantile

_TESTS = {"official": "official test", "paired": "paired test"}
_GAPS = {metric.name: metric.column for metric in (EO_DIAG_MAX, EO_DIAG_MEAN)}
_NONE = "–"

Results = Sequence[dict[str, Any]]


def markdown(record: Record) -> str:
    """Return the whole table of a record."""
    table, ipc = record.about["table"], record.about["ipc"]
    cobra, fairdd = COBRA.get(table, {}).get(ipc, {}), FAIRDD.get(table, {}).get(ipc, {})
    parts = [_head(record)]
    for name, benchmark in BENCHMARKS.items():
        results = [result for result in record.results if result["benchmark"] == name]
        if results:
            parts.append(f"## {benchmark.title}\n\n{_sentence(benchmark.note)}\n")
            parts.append(_ours(results))
            parts.append(_beside(results, cobra.get(name, {}), fairdd.get(name, {})))
    missing = [name for name in cobra if name not in BENCHMARKS]
    if missing:
        parts.append("## Not measured: data that cannot be had here\n")
        rows = [
            [name, METHODS[method].title, *map(_number, figures)]
            for name in missing
            for method, figures in cobra[name].items()
        ]
        parts.append(_table(["data set", "method", "COBRA's table: EOD", "accuracy"], rows))
    return "\n".join(parts)


def _head(record: Record) -> str:
    budget, about = record.about["budget"], record.about
    name = next((name for name, known in BUDGETS.items() if known.to_dict() == budget), "of its own")
    machines = dict.fromkeys(
        f"{run['date']}: {run['machine']['device']}, {run['machine']['cores']} cores ({run['machine']['processor']}, "
        f"{run['machine']['capability']}), torch {run['machine']['torch']}"
        for run in record.runs
    )
    return f"""# {about["table"].upper()}, {about["ipc"]} images a class

Budget {name}: ConvNet of width {budget["width"]}; {budget["steps"]} steps of distribution matching, or
{budget["gradient_steps"]} of gradient matching; {budget["real_per_class"]} real images a class and step.
{budget["networks"]} networks are trained on every set, for {budget["epochs"]} epochs of a set of {about["ipc"]}
images a class, and for as many steps on any other; {budget["full_steps"]} steps on the full data. All methods alike.

Per cent. `±`: 95 % t interval over distillation seeds. Gaps: the mean over networks of each one's gap, and in
brackets the gap of their mean rates. Floor: what a perfectly fair classifier with these rates would show on these
images, EODM / EODA, in the first reading. CPU-s: to make the set, and to train and test on it. The official test is
the papers', each image in one group, colours alike in number; in the paired test each of {budget["paired_per_class"]}
images a class is in every colour.

{_list(machines)}
"""


def _ours(results: Results) -> str:
    tests = [test for test in _TESTS if any(test in result.get("tests", {}) for result in results)]
    header = ["method", "seeds"]
    for test in tests:
        header += [f"{_TESTS[test]}: accuracy", *_GAPS.values(), "floor"]
    rows = []
    for name, method in METHODS.items():
        own = [result for result in results if result["method"] == name]
        done = [result for result in own if "tests" in result]
        failed = next((result["failed"] for result in own if "failed" in result), None)
        if failed:
            rows.append([method.title, f"{len(done)} of {len(own)}", failed])
        if done:
            cells = [cell for test in tests for cell in _cells([result["tests"][test] for result in done])]
            seconds = [mean(result["cpu_seconds"][part] for result in done) for part in ("made", "evaluated")]
            rows.append([method.title, str(len(done)), *cells, f"{seconds[0]:.0f} + {seconds[1]:.0f}"])
    return _table([*header, "CPU-s"], rows)


def _cells(found: Sequence[dict[str, Any]]) -> list[str]:
    cells = [_interval([one["per_network"][ACCURACY.name] for one in found])]
    for gap in _GAPS:
        of_means = mean(one["mean_rates"][gap] for one in found)
        cells.append(f"{_interval([one['per_network'][gap] for one in found])} ({100 * of_means:.1f})")
    floors = [mean(one["floor_per_network"][gap] for one in found) for gap in _GAPS]
    return [*cells, " / ".join(f"{100 * floor:.1f}" for floor in floors)]


def _interval(values: Sequence[float]) -> str:
    """The mean, with the half-width of its 95 % t interval where there are two values or more."""
    if len(values) < 2:
        return f"{100 * values[0]:.1f}"
    half = t_quantile(0.025, len(values) - 1) * stdev(values) / sqrt(len(values))
    return f"{100 * mean(values):.1f} ± {100 * half:.1f}"


def _beside(results: Results, cobra: dict[str, Any], fairdd: dict[str, Any]) -> str:
    """What the papers say of the methods that they name, beside ours on the same test."""
    rows = []
    for name in METHODS:
        theirs, others = cobra.get(name), fairdd.get(name)
        if theirs is None and others is None:
            continue
        tests = [result["tests"] for result in results if result["method"] == name and "tests" in result]
        own = [one.get("official", one.get("paired"))["per_network"] for one in tests]
        shown = [
            _number(100 * mean(one[metric] for one in own)) if own else _NONE for metric in (*_GAPS, ACCURACY.name)
        ]
        rows.append(
            [
                METHODS[name].title,
                " / ".join(shown),
                " / ".join(map(_number, theirs or (None, None))),
                " / ".join(map(_number, others or (None, None, None))),
            ]
        )
    if not rows:
        return ""
    return _table(
        ["reported", "here: EODM / EODA / accuracy", "COBRA: EOD / accuracy", "FairDD: EODM / EODA / accuracy"], rows
    )


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1f}"


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}."


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
