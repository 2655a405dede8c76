"""What a validation found, as a value and as it stands in validation.json.

No clock, run id, host or path: the same data under the same rules give the same bytes.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warn"]


@dataclass(frozen=True)
class Failure:
    """One expectation that was not met, in one column of a split or in one of its cells.

    Attributes
    ----------
    expectation : the class name in Great Expectations
    column : the column of the examples table, or of the cells table, that it looked at
    severity : "error" stops the distillation, "warn" goes on and is reported
    label, group : the cell, by name; None where the failure is not about a cell
    count : examples concerned; for a cell, the examples it has
    examples : pair numbers of up to five of them, smallest first
    sentence : one line for whoever has to mend it
    """

    split: str
    expectation: str
    column: str
    severity: Severity
    label: str | None
    group: str | None
    count: int
    examples: tuple[int, ...]
    sentence: str


@dataclass(frozen=True)
class Validation:
    """The outcome and the facts it rests on.

    Attributes
    ----------
    expectations : how many were evaluated
    failures : errors first, then warnings; within each by split, in the order they were checked
    cells : examples per split, class and group, by name; an empty cell is 0
    imbalance : largest over smallest cell, per split and class; None where the smallest is empty
    """

    expectations: int
    failures: tuple[Failure, ...]
    cells: dict[str, dict[str, dict[str, int]]]
    imbalance: dict[str, dict[str, float | None]]

    @property
    def success(self) -> bool:
        """True if nothing failed that stops the distillation; warnings do not."""
        return not any(failure.severity == "error" for failure in self.failures)

    def to_dict(self) -> dict[str, Any]:
        return {"success": self.success, **asdict(self)}
