"""The interface of a contract rule, and the helpers that all rules share.

A rule is one expectation of Great Expectations, together with the sentences for the rows that violate it.
`example_rules` has the rules for the table of examples. `summary_rules` has the rules for the tables with one row per
split, cell, class, column or distribution. `custom_expectations` has the rule for a team's own expectations.

To add a check, add its name and severity to CHECKS in `fair_distill/config/validate.py`, and a line in the function of
`example_rules` or `summary_rules` that returns the rules for its table. Thresholds belong in params.yaml: validate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import pandas as pd

from fair_distill.validation.expectations import Expectation
from fair_distill.validation.ids import MAX_SHOWN

NOT_NULL = "ExpectColumnValuesToNotBeNull"
NULL = "ExpectColumnValuesToBeNull"
IN_SET = "ExpectColumnValuesToBeInSet"
BETWEEN = "ExpectColumnValuesToBeBetween"
UNIQUE = "ExpectColumnValuesToBeUnique"
UNIQUE_TOGETHER = "ExpectCompoundColumnsToBeUnique"

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One violation of an expectation, with a sentence that says how to fix it; see `result.Failure`."""

    split: str
    sentence: str
    count: int
    label: str | None = None
    group: str | None = None
    examples: tuple[int | str, ...] = ()


class Rule(Protocol):
    """An expectation about the rows of a table, and the findings for the rows that violate it."""

    @property
    def check(self) -> str: ...

    @property
    def expectation(self) -> Expectation: ...

    def findings(self, rows: pd.DataFrame, observed: object) -> list[Finding]: ...


def expect(name: str, column: str, **arguments: object) -> Expectation:
    return Expectation(name, {"column": column, **arguments})


def counted(count: int) -> str:
    """Return a number of examples in words: `no examples`, `1 example`, `2 examples`."""
    return "no examples" if count == 0 else f"{count} example{'' if count == 1 else 's'}"


def listed(values: Sequence[object]) -> str:
    """Return the first few values, and the number of the others."""
    first = ", ".join(repr(value) for value in values[:MAX_SHOWN])
    return first if len(values) <= MAX_SHOWN else f"{first} and {len(values) - MAX_SHOWN} more"
