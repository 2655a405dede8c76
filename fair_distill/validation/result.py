"""The outcome of a validation, in memory and in validation.json.

The outcome contains no time, run id, host or path: the same data under the same rules give the same bytes.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fair_distill.config import Severity
from fair_distill.validation.drift import Profile


@dataclass(frozen=True)
class Failure:
    """One expectation that was not met, in one column of a split or in one of its cells.

    Attributes
    ----------
    check : the name in params.yaml, see config.CHECKS; `own` for a team's own expectation
    expectation : the class name in Great Expectations
    column : the column of the table that the expectation reads
    severity : "error" refuses the data; "warn" is only reported
    label, group : the names of the cell; None if the failure is not about a cell
    count : the number of examples concerned; for a cell, all examples of it
    examples : up to five ids, or pair numbers, in ascending order; salted if privacy is restricted
    sentence : one line that says what is wrong and how to fix it
    """

    check: str
    split: str
    expectation: str
    column: str
    severity: Severity
    label: str | None
    group: str | None
    count: int
    examples: tuple[int | str, ...]
    sentence: str


@dataclass(frozen=True)
class Validation:
    """The failures, and the counts and statistics behind them.

    Attributes
    ----------
    expectations : the number of expectations that were evaluated
    failures : errors first, then warnings; each by split, in the order of the checks
    off : the checks that params.yaml turns off
    cells : the number of examples per split, class and group; 0 for an empty cell
    imbalance : the largest cell divided by the smallest, per split and class; None if the smallest is empty
    unknown : the share of examples with an unknown group, per split and class
    leak : how well each column of a table predicts the class; see `label_leak.leak_table`
    drift : how far each distribution is from the reference; see `drift.drift_table`
    profile : the distributions of the training data, to compare later data with
    not_compared : the number of image sketches that were not compared with all similar ones; see
        `near_duplicates.find_near_duplicates`
    sources : the SHA-256 of each further input: the reference, and a team's own files
    """

    expectations: int
    failures: tuple[Failure, ...]
    off: tuple[str, ...]
    cells: dict[str, dict[str, dict[str, int]]]
    imbalance: dict[str, dict[str, float | None]]
    unknown: dict[str, dict[str, float | None]]
    profile: Profile
    leak: dict[str, float | None] = field(default_factory=dict)
    drift: dict[str, dict[str, float]] = field(default_factory=dict)
    not_compared: int = 0
    sources: dict[str, str] = field(default_factory=dict)
    privacy: Literal["open", "restricted"] = "open"

    @property
    def success(self) -> bool:
        """Whether the data pass: warnings are allowed, errors are not."""
        return not any(failure.severity == "error" for failure in self.failures)

    def to_dict(self) -> dict[str, Any]:
        return {"success": self.success, **asdict(self)}
