"""What a validation found, as a value and as it stands in validation.json.

No clock, run id, host or path: the same data under the same rules give the same bytes.
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
    check : the name by which params.yaml knows it, see config.CHECKS; `own` for what a team added
    expectation : the class name in Great Expectations
    column : the column of the table that it looked at
    severity : "error" stops the distillation, "warn" goes on and is reported
    label, group : the cell, by name; None where the failure is not about a cell
    count : examples concerned; for a cell, the examples it has
    examples : ids, or pair numbers, of up to five of them, least first; salted where privacy is restricted
    sentence : one line for whoever has to mend it
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
    """The outcome and the facts it rests on.

    Attributes
    ----------
    expectations : how many were evaluated
    failures : errors first, then warnings; within each by split, in the order they were checked
    off : checks that params.yaml leaves out
    cells : examples per split, class and group, by name; an empty cell is 0
    imbalance : largest over smallest cell, per split and class; None where the smallest is empty
    unknown : share of examples whose group is not known, per split and class
    leak : of a table's columns, how much of what there is to know of the class each tells; see `leak.column_table`
    drift : by what was compared, how far it moved from the reference; see `drift.drift_table`
    profile : how the training data are spread, for others to be held against
    not_compared : sketches of images that have too many nearly alike to be compared with all; see `near.near_facts`
    sources : SHA-256 of what else the outcome rests on: the reference, a team's own files
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
        """True if nothing failed that stops the distillation; warnings do not."""
        return not any(failure.severity == "error" for failure in self.failures)

    def to_dict(self) -> dict[str, Any]:
        return {"success": self.success, **asdict(self)}
