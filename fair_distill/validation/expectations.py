"""Runs Great Expectations and returns the rows that violate each expectation.

This module and `data_docs` are the only ones that import Great Expectations, and only inside functions, because the
import takes seconds. The expectations themselves are in `example_rules`, `summary_rules` and `custom_expectations`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fair_distill.config import Severity
from fair_distill.errors import ConfigError, MeasurementError
from fair_distill.plugins import resolve

_SEVERITIES = {"error": "critical", "warn": "warning"}
_ALL_ROWS = {"result_format": "COMPLETE", "return_unexpected_index_query": False, "partial_unexpected_count": 0}


@dataclass(frozen=True)
class Expectation:
    """An expectation as plain data.

    Attributes
    ----------
    name : the class in Great Expectations, the `expect_…` type in a suite's file, or a team's `package.module:Class`
    arguments : the keyword arguments of the class
    where : the key in params.yaml that defines the expectation, for messages
    custom : whether params.yaml itself names it, so that `package.module:Class` may be imported. Names in a suite's
        file are data, and are never imported
    """

    name: str
    arguments: dict[str, Any]
    where: str = "validate"
    custom: bool = False

    @property
    def column(self) -> str:
        """The column or columns that the expectation reads; empty for an expectation about the whole table."""
        columns = [self.arguments.get(key) for key in ("column", "column_A", "column_B")]
        return ", ".join([*filter(None, columns), *self.arguments.get("column_list", ())])


@dataclass(frozen=True)
class Suite:
    """A table, and the expectations about its rows with their severities."""

    name: str
    table: pd.DataFrame
    expectations: Sequence[tuple[Expectation, Severity]]


@dataclass(frozen=True)
class ExpectationOutcome:
    """Whether an expectation was met, and the positions of the rows that violate it.

    Attributes
    ----------
    observed : the observed value of an expectation about a whole table, if it has one
    """

    success: bool
    rows: tuple[int, ...]
    observed: object = None


def evaluate_suites(suites: Sequence[Suite]) -> list[list[ExpectationOutcome]]:
    """Evaluate all expectations in memory. Nothing is sent, printed or left on disk.

    Raises
    ------
    ConfigError
        If an expectation does not exist, or does not accept its arguments.
    MeasurementError
        If Great Expectations could not evaluate an expectation. That says nothing about the data, so it is an error
        and not a finding.
    """
    source = pandas_source()
    return [_outcomes(suite, run_suite(source, suite, _ALL_ROWS)) for suite in suites]


def pandas_source() -> Any:
    """Return a data source in a context that is in memory, sends nothing and draws no progress bars."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            # The default context creates a folder for HTML pages, which nobody would read.
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )
    return context.data_sources.add_pandas("tables")


def run_suite(source: Any, suite: Suite, result_format: Mapping[str, Any]) -> Any:
    """Return Great Expectations' result for a suite.

    Parameters
    ----------
    source : see `pandas_source`
    result_format : how much of the violating rows the result contains, as Great Expectations defines it
    """
    import great_expectations as gx

    batch = (
        source.add_dataframe_asset(suite.name)
        .add_batch_definition_whole_dataframe(suite.name)
        .get_batch(batch_parameters={"dataframe": suite.table.reset_index(drop=True)})
    )
    # Results come in another order than the expectations, so each expectation carries its position.
    expectations = [
        _instantiate(expectation, severity=_SEVERITIES[severity], meta={"position": position})
        for position, (expectation, severity) in enumerate(suite.expectations)
    ]
    built = gx.ExpectationSuite(name=suite.name, expectations=expectations)
    return batch.validate(built, result_format=dict(result_format))


def _outcomes(suite: Suite, validated: Any) -> list[ExpectationOutcome]:
    outcomes: dict[int, ExpectationOutcome] = {}
    for result in validated.results:
        position = result.expectation_config.meta["position"]
        if result.exception_info.get("raised_exception") is not False:
            name = suite.expectations[position][0].name
            raise MeasurementError(
                f"Great Expectations could not evaluate {name} on {suite.name}: {_message(result.exception_info)}"
            )
        rows = result.result.get("unexpected_index_list") or ()
        observed = result.result.get("observed_value")
        outcomes[position] = ExpectationOutcome(bool(result.success), tuple(sorted(int(row) for row in rows)), observed)
    return [outcomes[position] for position in range(len(suite.expectations))]


def _instantiate(expectation: Expectation, **options: Any) -> Any:
    try:
        return _class_of(expectation)(**expectation.arguments, **options)
    except (ValueError, TypeError) as error:  # Great Expectations' own exception is a ValueError
        message = " ".join(str(error).split())
        raise ConfigError(
            f"params.yaml: {expectation.where}: {expectation.name} does not accept its arguments: {message}"
        ) from None


def _class_of(expectation: Expectation) -> Any:
    import great_expectations as gx
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.expectation import Expectation as Base
    from great_expectations.expectations.registry import get_expectation_impl

    name = expectation.name
    if ":" in name:
        implementation: Any = resolve(name, {}, where=expectation.where, custom=expectation.custom)
    elif name.startswith("expect_"):
        try:
            implementation = get_expectation_impl(name)
        except ExpectationNotFoundError:
            implementation = None
    else:
        implementation = getattr(gx.expectations, name, None)
    if not (isinstance(implementation, type) and issubclass(implementation, Base)):
        raise ConfigError(
            f"params.yaml: {expectation.where}: {name!r} is not an expectation. Use the name of an expectation of "
            "Great Expectations, or a class of yours as package.module:Class"
        )
    return implementation


def _message(exception_info: dict[str, Any]) -> str:
    """Return the first message. Great Expectations reports one exception, or one for each metric that failed."""
    faults = [exception_info, *(fault for fault in exception_info.values() if isinstance(fault, dict))]
    messages = [str(fault["exception_message"]) for fault in faults if fault.get("exception_message")]
    return " ".join((messages or ["no reason given"])[0].split())
