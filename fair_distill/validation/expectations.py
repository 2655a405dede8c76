"""Runs Great Expectations and says which rows did not meet what. The only file that imports it, and only when called:
its import takes seconds. Not for: what is expected; that is `contract`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fair_distill.errors import MeasurementError
from fair_distill.validation.result import Severity

_SEVERITIES = {"error": "critical", "warn": "warning"}


@dataclass(frozen=True)
class Expectation:
    """An expectation as plain data: its class in Great Expectations, its arguments, and how much it matters."""

    name: str
    arguments: dict[str, Any]
    severity: Severity = "error"

    @property
    def column(self) -> str:
        """The column it looks at, or the columns."""
        return self.arguments.get("column") or ", ".join(self.arguments["column_list"])


@dataclass(frozen=True)
class Suite:
    """A table and what is expected of its rows."""

    name: str
    table: pd.DataFrame
    expectations: Sequence[Expectation]


@dataclass(frozen=True)
class Outcome:
    """Whether an expectation was met, and the positions of the rows that did not meet it."""

    success: bool
    rows: tuple[int, ...]


def run(suites: Sequence[Suite]) -> list[list[Outcome]]:
    """Evaluate every expectation, in memory; nothing is sent, printed or left on disk.

    Raises
    ------
    MeasurementError
        If Great Expectations could not evaluate one. That is no failure of the data, and must not pass for one.
    """
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            # The default context makes a folder for its pages; this one has no pages.
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )
    source = context.data_sources.add_pandas("tables")
    return [_evaluate(gx, source, suite) for suite in suites]


def _evaluate(gx: Any, source: Any, suite: Suite) -> list[Outcome]:
    batch = (
        source.add_dataframe_asset(suite.name)
        .add_batch_definition_whole_dataframe(suite.name)
        .get_batch(batch_parameters={"dataframe": suite.table.reset_index(drop=True)})
    )
    built = [
        getattr(gx.expectations, expectation.name)(
            **expectation.arguments,
            severity=_SEVERITIES[expectation.severity],
            meta={"position": position},  # results come back in another order
        )
        for position, expectation in enumerate(suite.expectations)
    ]
    validated = batch.validate(
        gx.ExpectationSuite(name=suite.name, expectations=built),
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
            name = suite.expectations[position].name
            raise MeasurementError(
                f"Great Expectations could not evaluate {name} on {suite.name}: {_message(result.exception_info)}"
            )
        rows = result.result.get("unexpected_index_list") or ()
        outcomes[position] = Outcome(bool(result.success), tuple(sorted(int(row) for row in rows)))
    return [outcomes[position] for position in range(len(built))]


def _message(exception_info: dict[str, Any]) -> str:
    """Great Expectations reports one exception, or one for each of the metrics it failed to compute."""
    faults = [exception_info, *(fault for fault in exception_info.values() if isinstance(fault, dict))]
    messages = [str(fault["exception_message"]) for fault in faults if fault.get("exception_message")]
    return " ".join((messages or ["no reason given"])[0].split())
