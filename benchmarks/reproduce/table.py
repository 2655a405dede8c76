"""Our results next to the reported figures, as Markdown, with a section for each data set."""

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
from fair_distill.text import decimal, markdown_table, percent

_TESTS = {"official": "official test", "paired": "paired test"}
_GAPS = {metric.name: metric.column for metric in (EO_DIAG_MAX, EO_DIAG_MEAN)}

Results = Sequence[dict[str, Any]]


def markdown(record: Record) -> str:
    """Return the tables of a record."""
    table, ipc = record.about["table"], record.about["ipc"]
    cobra, fairdd = COBRA.get(table, {}).get(ipc, {}), FAIRDD.get(table, {}).get(ipc, {})
    sections = [_head(record)]
    for name, benchmark in BENCHMARKS.items():
        results = [result for result in record.results if result["benchmark"] == name]
        if results:
            sections.append(f"## {benchmark.title}\n\n{_sentence(benchmark.note)}\n")
            sections.append(_ours(results))
            sections.append(_reported(results, cobra.get(name, {}), fairdd.get(name, {})))
    missing = [name for name in cobra if name not in BENCHMARKS]
    if missing:
        sections.append("## Not measured: the data are not available here\n")
        rows = [
            [name, METHODS[method].title, *(decimal(value, 1) for value in figures)]
            for name in missing
            for method, figures in cobra[name].items()
        ]
        sections.append(_table(["data set", "method", "COBRA's table: EOD", "accuracy"], rows))
    return "\n".join(sections)


def _head(record: Record) -> str:
    budget, about = record.about["budget"], record.about
    name = next((name for name, known in BUDGETS.items() if known.to_dict() == budget), "custom")
    machines = dict.fromkeys(
        f"{run['date']}: {run['machine']['device']}, {run['machine']['cores']} cores ({run['machine']['processor']}, "
        f"{run['machine']['capability']}), torch {run['machine']['torch']}"
        for run in record.runs
    )
    return f"""# {about["table"].upper()}, {about["ipc"]} images per class

Budget {name}, the same for all methods: ConvNet of width {budget["width"]}; {budget["steps"]} steps of distribution
matching, or {budget["gradient_steps"]} of gradient matching; {budget["real_per_class"]} real images per class and step.
{budget["networks"]} networks are trained on every set for {budget["epochs"]} epochs of a set with {about["ipc"]}
images per class, and for the same number of steps on other sets; {budget["full_steps"]} steps on the full data.

All values are per cent. `±` is the 95 % t interval over distillation seeds. A gap is the mean of the networks' gaps,
with the gap of their mean rates in brackets. The floor is the gap that a perfectly fair classifier with the same rates
would show on these images by chance (EODM / EODA, for one network). CPU-s is the time to make the set, and to train on
it and test. The official test is that of the papers: each image is in one group, and all colours have the same number
of images. In the paired test, each of {budget["paired_per_class"]} images per class is in every colour.

{_list(machines)}
"""


def _ours(results: Results) -> str:
    tests = [test for test in _TESTS if any(test in result.get("tests", {}) for result in results)]
    header = ["method", "seeds"]
    for test in tests:
        header += [f"{_TESTS[test]}: accuracy", *_GAPS.values(), "floor"]
    rows = []
    for name, method in METHODS.items():
        attempts = [result for result in results if result["method"] == name]
        finished = [result for result in attempts if "tests" in result]
        failure = next((result["failed"] for result in attempts if "failed" in result), None)
        if failure:
            rows.append([method.title, f"{len(finished)} of {len(attempts)}", failure])
        if finished:
            cells = [cell for test in tests for cell in _cells([result["tests"][test] for result in finished])]
            seconds = [mean(result["cpu_seconds"][part] for result in finished) for part in ("made", "evaluated")]
            rows.append([method.title, str(len(finished)), *cells, f"{seconds[0]:.0f} + {seconds[1]:.0f}"])
    return _table([*header, "CPU-s"], rows)


def _cells(figures: Sequence[dict[str, Any]]) -> list[str]:
    cells = [_interval([figure["per_network"][ACCURACY.name] for figure in figures])]
    for gap in _GAPS:
        of_mean_rates = percent(mean(figure["mean_rates"][gap] for figure in figures), unit="")
        cells.append(f"{_interval([figure['per_network'][gap] for figure in figures])} ({of_mean_rates})")
    floors = [mean(figure["floor_per_network"][gap] for figure in figures) for gap in _GAPS]
    return [*cells, " / ".join(percent(floor, unit="") for floor in floors)]


def _interval(values: Sequence[float]) -> str:
    """Return the mean, with the half-width of its 95 % t interval if there are at least two values."""
    if len(values) < 2:
        return percent(values[0], unit="")
    half = t_quantile(0.025, len(values) - 1) * stdev(values) / sqrt(len(values))
    return f"{percent(mean(values), unit='')} ± {percent(half, unit='')}"


def _reported(results: Results, cobra: dict[str, Any], fairdd: dict[str, Any]) -> str:
    """Return the figures of the papers next to ours on the same test."""
    rows = []
    for name in METHODS:
        if name not in cobra and name not in fairdd:
            continue
        tests = [result["tests"] for result in results if result["method"] == name and "tests" in result]
        ours = [figures.get("official", figures.get("paired"))["per_network"] for figures in tests]
        values = [
            percent(mean(figures[metric] for figures in ours) if ours else None, unit="")
            for metric in (*_GAPS, ACCURACY.name)
        ]
        rows.append(
            [
                METHODS[name].title,
                " / ".join(values),
                " / ".join(decimal(value, 1) for value in cobra.get(name, (None, None))),
                " / ".join(decimal(value, 1) for value in fairdd.get(name, (None, None, None))),
            ]
        )
    if not rows:
        return ""
    return _table(
        ["reported", "here: EODM / EODA / accuracy", "COBRA: EOD / accuracy", "FairDD: EODM / EODA / accuracy"], rows
    )


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}."


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown_table(header, rows, align="l" + "r" * (len(header) - 1))
