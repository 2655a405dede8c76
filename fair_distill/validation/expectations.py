"""Runs Great Expectations and says which rows did not meet what. With `pages`, the only file that imports it, and only
when called: its import takes seconds. Not for: what is expected; that is `rules` and `own`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fair_distill.config import Severity
from fair_distill.errors import ConfigError, MeasurementError
from fair_distill.plugins import resolve

_SEVERITIES = {"error": "critical", "warn": "warning"}


@dataclass(frozen=True)
class Expectation:
    """An expectation as plain data.

    Attributes
    ----------
    name : its class in Great Expectations, the `expect_…` that a suite's file has, or one's own `package.module:Class`
    arguments : what it is made with
    where : the key in params.yaml that it comes from, for a message that it cannot be made
    custom : whether params.yaml itself names it, so that `package.module:Class` may be imported. A suite's file is data
    """

    name: str
    arguments: dict[str, Any]
    where: str = "validate"
    custom: bool = False

    @property
    def column(self) -> str:
        """The column it looks at, or the columns; none, if it looks at the table as a whole."""
        columns = [self.arguments.get(key) for key in ("column", "column_A", "column_B")]
        return ", ".join([*filter(None, columns), *self.arguments.get("column_list", ())])


@dataclass(frozen=True)
class Suite:
    """A table and what is expected of its rows, each with how much it matters."""

    name: str
    table: pd.DataFrame
    expectations: Sequence[tuple[Expectation, Severity]]


@dataclass(frozen=True)
class Outcome:
    """Whether an expectation was met, and the positions of the rows that did not meet it.

    Attributes
    ----------
    observed : what an expectation of a whole table saw, if it says
    """

    success: bool
    rows: tuple[int, ...]
    observed: object = None


def run(suites: Sequence[Suite]) -> list[list[Outcome]]:
    """Evaluate every expectation, in memory; nothing is sent, printed or left on disk.

    Raises
    ------
    ConfigError
        If there is no such expectation, or it does not take such arguments.
    MeasurementError
        If Great Expectations could not evaluate one. That is no failure of the data, and must not pass for one.
    """
    source = context().data_sources.add_pandas("tables")
    return [_evaluate(source, suite) for suite in suites]


def context() -> Any:
    """Return a context that lives in memory, sends nothing and draws no progress bars."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    return gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            # The default context makes a folder for its pages; this one has no pages.
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )


def suite_of(suite: Suite) -> Any:
    """Return a suite as Great Expectations has it."""
    import great_expectations as gx

    built = [
        _made(expectation, severity=_SEVERITIES[severity], meta={"position": position})  # results come in another order
        for position, (expectation, severity) in enumerate(suite.expectations)
    ]
    return gx.ExpectationSuite(name=suite.name, expectations=built)


def _evaluate(source: Any, suite: Suite) -> list[Outcome]:
    batch = (
        source.add_dataframe_asset(suite.name)
        .add_batch_definition_whole_dataframe(suite.name)
        .get_batch(batch_parameters={"dataframe": suite.table.reset_index(drop=True)})
    )
    validated = batch.validate(
        suite_of(suite),
        result_format={
            "result_format": "COMPLETE",
            "return_unexpected_index_query": False,
            "partial_unexpected_count": 0,
        },
    )
    outcomes: dict[int, Outcome] = {}
    for result in validated.results:
        position = result.expectation_config.meta["position"]
        if result.exception_info.get("raised_exception") is not False:
            name = suite.expectations[position][0].name
            raise MeasurementError(
                f"Great Expectations could not evaluate {name} on {suite.name}: {_message(result.exception_info)}"
            )
        rows = result.result.get("unexpected_index_list") or ()
        observed = result.result.get("observed_value")
        outcomes[position] = Outcome(bool(result.success), tuple(sorted(int(row) for row in rows)), observed)
    return [outcomes[position] for position in range(len(suite.expectations))]


def _made(expectation: Expectation, **how: Any) -> Any:
    try:
        return _class_of(expectation)(**expectation.arguments, **how)
    except (ValueError, TypeError) as error:  # Great Expectations' own kind of the first, too
        said = " ".join(str(error).split())
        raise ConfigError(f"params.yaml: {expectation.where}: {expectation.name} cannot be made: {said}") from None


def _class_of(expectation: Expectation) -> Any:
    import great_expectations as gx
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.expectation import Expectation as Base
    from great_expectations.expectations.registry import get_expectation_impl

    name = expectation.name
    if ":" in name:
        found: Any = resolve(name, {}, where=expectation.where, custom=expectation.custom)
    elif name.startswith("expect_"):
        try:
            found = get_expectation_impl(name)
        except ExpectationNotFoundError:
            found = None
    else:
        found = getattr(gx.expectations, name, None)
    if not (isinstance(found, type) and issubclass(found, Base)):
        raise ConfigError(
            f"params.yaml: {expectation.where}: {name!r} is no expectation; name one of "
            "Great Expectations, or your own as package.module:Class"
        )
    return found


def _message(exception_info: dict[str, Any]) -> str:
    """Great Expectations reports one exception, or one for each of the metrics it failed to compute."""
    faults = [exception_info, *(fault for fault in exception_info.values() if isinstance(fault, dict))]
    messages = [str(fault["exception_message"]) for fault in faults if fault.get("exception_message")]
    return " ".join((messages or ["no reason given"])[0].split())
