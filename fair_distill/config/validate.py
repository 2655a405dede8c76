"""What the data must be like before anything is made of them: `validate`. Every check has a name and a severity."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from fair_distill.config.sections import Fraction, Named, Names, Positive, PositiveFloat, Section

Severity = Literal["error", "warn"]
Level = Literal["error", "warn", "off"]

# Every check by name, and how much it matters unless params.yaml: validate.severity says otherwise.
CHECKS: dict[str, Severity] = {
    # a split as a whole
    "type": "error",
    "shape": "error",
    "names": "error",
    # each example
    "class_given": "error",
    "group_given": "error",
    "class_declared": "error",
    "group_declared": "error",
    "finite": "error",
    "values": "error",
    "id_once": "error",
    "pair_once": "error",
    "copies": "warn",
    "near": "warn",
    # each row of a table
    "range": "error",
    "range_elsewhere": "warn",
    "category": "error",
    # each example of a later split, held against the earlier ones
    "id_apart": "error",
    "pair_apart": "error",
    "cluster_apart": "error",
    "copies_apart": "error",
    "rows_apart": "warn",
    "near_apart": "warn",
    # cells, classes, columns, distributions
    "support": "error",
    "imbalance": "error",
    "unknown": "error",
    "leak": "error",
    "drift": "warn",
}

# What expectations look at: the examples of all splits or of one, or a row for each split, cell, class, and so on.
TableName = Literal["examples", "train", "tune", "gate", "splits", "cells", "classes", "columns", "drift"]


def _check(name: object) -> str:
    if not isinstance(name, str) or name not in CHECKS:
        raise ValueError(f"there is no check {name!r}; choose from {', '.join(CHECKS)}")
    return name


def _suites(value: object) -> object:
    """A path alone is a suite for the examples of every split."""
    return {"examples": value} if isinstance(value, str) else value


class Values(Section):
    """The range that every pixel, or number of the image, lies in; the unit is that of the prepared file."""

    low: Annotated[float, Field(allow_inf_nan=False)]
    high: Annotated[float, Field(allow_inf_nan=False)]

    @model_validator(mode="after")
    def _range(self) -> "Values":
        if self.low >= self.high:
            raise ValueError(f"low is below high; got {self.low:g} and {self.high:g}")
        return self


class Near(Section):
    """How near counts as a near duplicate, see `validation.near`.

    Attributes
    ----------
    distance : of an image's 64 blocks, how many may be on another of four levels
    difference : mean absolute difference of the blocks, where 1 is an image's own range
    """

    distance: Annotated[int, Field(ge=0, le=4)]
    difference: Fraction


class Drift(Section):
    """How far the training data may have moved from those of a reference.

    Attributes
    ----------
    reference : a validation.json of the earlier data, or what `fair-distill data reference` wrote; from the workspace
    maximum_psi : of the population stability index
    maximum_variation : of the total variation distance
    """

    reference: Annotated[str, Field(min_length=1)]
    maximum_psi: PositiveFloat | None = None
    maximum_variation: Fraction | None = None

    @model_validator(mode="after")
    def _some(self) -> "Drift":
        if self.maximum_psi is None and self.maximum_variation is None:
            raise ValueError("drift needs maximum_psi, maximum_variation or both")
        return self


class Own(Named):
    """An expectation of one's own or of Great Expectations: `{name: package.module:Class, table: train, ...}`.

    What else stands there are the expectation's arguments.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    table: TableName
    severity: Severity = "error"

    @property
    def arguments(self) -> dict[str, Any]:
        return self.options


class Validate(Section):
    """The contract. What is optional is off where it is not there, or as strict as docs/data-contract.md says.

    Attributes
    ----------
    minimum_per_cell : examples of every class and known group, in every split
    maximum_imbalance : largest over smallest cell of a class, in train
    maximum_unknown : share of examples whose group is not known, in any class of any split
    maximum_leak : of a table's column, how much of what there is to know of the class it tells alone
    shape : channels, height, width
    classes, groups : the declared names; those that the data were prepared with, if not given
    severity : of a check, by its name, where it is to be other than the contract's own; `off` leaves a check out
    suite : files with suites as Great Expectations writes them, by the table that each is for
    own : further expectations
    privacy : `restricted` salts ids and shows no value of any example
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
    own: Annotated[tuple[Own, ...], Field(strict=False)] = ()
    privacy: Literal["open", "restricted"] = "open"

    def level(self, check: str) -> Level:
        """How much a check matters."""
        return self.severity.get(check, CHECKS[check])
