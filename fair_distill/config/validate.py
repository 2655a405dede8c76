"""The section `validate`: the data contract, with a severity for each check."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from fair_distill.config.sections import Fraction, Named, Names, Positive, PositiveFloat, Section

Severity = Literal["error", "warn"]
Level = Literal["error", "warn", "off"]

# The default severity of each check; validate.severity in params.yaml overrides it.
CHECKS: dict[str, Severity] = {
    # One split as a whole.
    "type": "error",
    "shape": "error",
    "names": "error",
    # Each example.
    "class_given": "error",
    "group_given": "error",
    "class_declared": "error",
    "group_declared": "error",
    "group_spelling": "error",
    "class_spelling": "warn",
    "finite": "error",
    "values": "error",
    "id_once": "error",
    "pair_once": "error",
    "copies": "warn",
    "near": "warn",
    # Each row of a table.
    "range": "error",
    "range_elsewhere": "warn",
    "category": "error",
    # Each example of a split, compared with the earlier splits.
    "id_apart": "error",
    "pair_apart": "error",
    "cluster_apart": "error",
    "copies_apart": "error",
    "rows_apart": "warn",
    "near_apart": "warn",
    # Cells, classes, columns and distributions.
    "support": "error",
    "imbalance": "error",
    "unknown": "error",
    "leak": "error",
    "drift": "warn",
}

# The table that an expectation checks: the examples of all splits or of one, or a row for each split, cell or class.
TableName = Literal["examples", "train", "tune", "gate", "splits", "cells", "classes", "columns", "drift"]


def _check(name: object) -> str:
    if not isinstance(name, str) or name not in CHECKS:
        raise ValueError(f"{name!r} is not a check; choose from {', '.join(CHECKS)}")
    return name


def _suites(value: object) -> object:
    """Read a path without a table as a suite for the examples of every split."""
    return {"examples": value} if isinstance(value, str) else value


class Values(Section):
    """The allowed range of pixel values, or of the numbers of a row, in the unit of the prepared file.

    Attributes
    ----------
    low : the smallest allowed value
    high : the largest allowed value
    """

    low: Annotated[float, Field(allow_inf_nan=False)]
    high: Annotated[float, Field(allow_inf_nan=False)]

    @model_validator(mode="after")
    def _range(self) -> "Values":
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}; low must be below high")
        return self


class Near(Section):
    """When two images are near duplicates. Images are compared in 64 blocks with four grey levels.

    Attributes
    ----------
    distance : the largest number of blocks whose level differs
    difference : the largest mean absolute difference of the blocks, in units of the image's own range
    """

    distance: Annotated[int, Field(ge=0, le=4)]
    difference: Fraction


class Drift(Section):
    """How far the training data may differ from reference data.

    Attributes
    ----------
    reference : a validation.json of the reference data, or a file that `fair-distill data reference` wrote; the path
        is relative to the workspace
    maximum_psi : largest population stability index
    maximum_variation : largest total variation distance
    """

    reference: Annotated[str, Field(min_length=1)]
    maximum_psi: PositiveFloat | None = None
    maximum_variation: Fraction | None = None

    @model_validator(mode="after")
    def _has_a_limit(self) -> "Drift":
        if self.maximum_psi is None and self.maximum_variation is None:
            raise ValueError("drift has no limit; set maximum_psi, maximum_variation or both")
        return self


class CustomExpectation(Named):
    """A custom expectation, or one of Great Expectations: `{name: package.module:Class, table: train, ...}`.

    All other keys are arguments of the expectation.

    Attributes
    ----------
    name : the class of the expectation
    table : the table that the expectation checks
    severity : what a failure means
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    table: TableName
    severity: Severity = "error"

    @property
    def arguments(self) -> dict[str, Any]:
        return self.options


class Validate(Section):
    """The data contract. Without an optional key, its check is off or has the default of the data contract page.

    Attributes
    ----------
    minimum_per_cell : smallest number of examples of each class and known group, in every split
    maximum_imbalance : largest ratio of the largest to the smallest cell of a class, in train
    maximum_unknown : largest share of examples with an unknown group, in each class of each split
    maximum_leak : how well a single column of a table may predict the class (Goodman–Kruskal lambda)
    shape : channels, height and width of every image
    classes, groups : the allowed names; without them, those of the prepared data
    values : the allowed range of pixel values
    near : when two images are near duplicates
    drift : how far the training data may differ from reference data
    severity : `error`, `warn` or `off` for a check, by its name, instead of the default
    suite : files with suites of Great Expectations, by the table that each suite checks
    own : custom expectations
    privacy : with `restricted`, ids are salted and no value of an example is shown
    """

    minimum_per_cell: Positive
    maximum_imbalance: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    maximum_unknown: Fraction | None = None
    maximum_leak: Fraction | None = None
    shape: Annotated[tuple[Positive, Positive, Positive], Field(strict=False)] | None = None
    classes: Names | None = None
    groups: Names | None = None
    values: Values | None = None
    near: Near | None = None
    drift: Drift | None = None
    severity: dict[Annotated[str, PlainValidator(_check)], Level] = Field(default_factory=dict)
    suite: Annotated[
        dict[TableName, Annotated[str, Field(min_length=1)]],
        BeforeValidator(_suites),
    ] = Field(default_factory=dict)
    own: Annotated[tuple[CustomExpectation, ...], Field(strict=False)] = ()
    privacy: Literal["open", "restricted"] = "open"

    def level(self, check: str) -> Level:
        """Return the severity of a check."""
        return self.severity.get(check, CHECKS[check])
