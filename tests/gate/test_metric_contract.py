"""Every metric satisfies the contract, and only the modules in gate/metrics name metrics."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from metric_contract import check_metric
from small_workspace import REPOSITORY

from fair_distill.gate.metrics import CARD_METRICS, METRICS, PREDICTION_METRICS

HOME = REPOSITORY / "fair_distill" / "gate" / "metrics"


@pytest.mark.parametrize("name", METRICS)
def test_everything_that_depends_on_a_metric_agrees_with_its_value(name: str) -> None:
    check_metric(name)


def test_every_metric_is_computed_from_predictions_or_from_the_card() -> None:
    assert {**PREDICTION_METRICS, **CARD_METRICS} == METRICS
    assert {metric.computed_from for metric in PREDICTION_METRICS.values()} == {"predictions"}
    assert {metric.computed_from for metric in CARD_METRICS.values()} == {"card"}


def names_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield the metric names that are used as values: everywhere, but for "accuracy" only where it selects something.

    The word "accuracy" is also the heading of a column, so it counts in comparisons, subscripts, arguments and keys.
    """
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    selecting = {id(part) for node in ast.walk(tree) for part in _selecting(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            first = node.value.partition(" ")[0]  # the name of a clause begins with its metric
            counted = [name for name in METRICS if name == first and ("_" in name or id(node) in selecting)]
            yield from ((node.lineno, name) for name in counted)


def _selecting(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for operand in (node.left, *node.comparators):
            yield from ast.walk(operand)
    elif isinstance(node, ast.Subscript):
        yield node.slice
    elif isinstance(node, ast.keyword):
        yield node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        yield from node.args


def modules() -> list[Path]:
    folders = [REPOSITORY / name for name in ("fair_distill", "flows", "tasks")]
    return [path for folder in folders for path in sorted(folder.rglob("*.py")) if not path.is_relative_to(HOME)]


def test_no_module_outside_gate_metrics_names_a_metric() -> None:
    named = [
        f"{path.relative_to(REPOSITORY)}:{line}: {name}"
        for path in modules()
        for line, name in names_in(path.read_text())
    ]

    assert named == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('if limit.metric == "accuracy": pass', 1),
        ('x = limit.metric in ("accuracy", "eo_diag_max")', 2),
        ('worst("worst_group_accuracy")', 1),
        ('Limit(metric="accuracy")', 1),
        ('values.get("accuracy")', 1),
        ('values["accuracy"]', 1),
        ('limit.name == "eo_diag_max over full"', 1),
        ('HEADER = ("group", "accuracy")', 0),
        ('"""The metric near_copies."""', 0),
    ],
)
def test_a_name_is_noticed_wherever_it_selects_something(source: str, count: int) -> None:
    assert len(list(names_in(source))) == count
