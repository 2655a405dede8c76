"""The rules for the table of examples: one row per example of a split. See `rule` for how to add a check."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from fair_distill.config import Validate
from fair_distill.formats.row_columns import Numeric
from fair_distill.formats.row_schema import RowSchema
from fair_distill.validation.expectations import Expectation
from fair_distill.validation.ids import IdFormatter
from fair_distill.validation.rule import (
    BETWEEN,
    IN_SET,
    NOT_NULL,
    NULL,
    UNIQUE,
    UNIQUE_TOGETHER,
    Finding,
    Rule,
    counted,
    expect,
    listed,
)


@dataclass(frozen=True)
class ExampleRule:
    """A rule for the examples of a split. It has one finding, however many examples violate it.

    Attributes
    ----------
    fault : completes the sentence "train has 3 examples …"
    remedy : the sentence after it
    values_after : the text between the fault and the values that violate the expectation; None omits the values
    id_column : the column that names the examples
    """

    check: str
    split: str
    expectation: Expectation
    fault: str
    remedy: str
    ids: IdFormatter
    values_after: str | None = None
    id_column: str = "id"

    def findings(self, rows: pd.DataFrame, observed: object) -> list[Finding]:
        names = rows[self.id_column].tolist()
        fault = f"{self.split} has {counted(len(rows))} {self.fault}{self._values(rows)}"
        return [
            Finding(
                split=self.split,
                sentence=f"{fault} ({self.ids.phrase(names)}). {self.remedy}",
                count=len(rows),
                examples=self.ids.sample(names),
            )
        ]

    def _values(self, rows: pd.DataFrame) -> str:
        column = self.expectation.column
        # The names of splits are public; the values of a data column may be private.
        if self.values_after is None or not (self.ids.is_open or column.endswith("_also_in")):
            return ""
        return f"{self.values_after}{listed(sorted(rows[column].unique().tolist()))}"


@dataclass(frozen=True)
class _RuleFactory:
    """Makes the rules for the examples of one split."""

    split: str
    ids: IdFormatter

    def __call__(
        self,
        check: str,
        expectation: Expectation,
        fault: str,
        remedy: str,
        *,
        values_after: str | None = None,
        id_column: str = "id",
    ) -> Rule:
        ids = replace(self.ids, noun="pair") if id_column == "pair" else self.ids
        return ExampleRule(check, self.split, expectation, fault, remedy, ids, values_after, id_column)


def example_rules(
    split: str, *, classes: Sequence[str], groups: Sequence[str], ids: IdFormatter, config: Validate, rows: bool
) -> list[Rule]:
    """Return the rules for every example of a split that do not depend on other splits.

    Parameters
    ----------
    classes, groups : the declared names
    config : the section `validate` of params.yaml
    rows : whether the examples are rows of a table instead of images
    """
    element = "number" if rows else "pixel"
    rule = _RuleFactory(split, ids)
    rules = [
        rule(
            "class_given",
            expect(NOT_NULL, "class"),
            "without a class",
            "Every example needs a class: correct the data, or remove the example",
        ),
        rule(
            "group_given",
            expect(NOT_NULL, "group"),
            "without a group",
            "Every example needs a group: correct the data, or remove the example",
        ),
        rule(
            "class_declared",
            expect(IN_SET, "class", value_set=list(classes)),
            "whose class is not declared",
            f"The declared classes are {listed(classes)}: correct the data, or params.yaml: validate.classes",
            values_after=": ",
        ),
        rule(
            "group_declared",
            expect(IN_SET, "group", value_set=list(groups)),
            "whose group is not declared",
            f"The declared groups are {listed(groups)}: correct the data, or params.yaml: validate.groups",
            values_after=": ",
        ),
        rule(
            "finite",
            expect(IN_SET, "finite", value_set=[True]),
            f"with NaN or infinite {element}s",
            f"Every {element} must be finite: correct the data, or remove the example",
        ),
        rule(
            "pair_once",
            Expectation(UNIQUE_TOGETHER, {"column_list": ["pair", "group"]}),
            "with the same pair and group as another example",
            "A pair has one example of each group: correct the pair numbers, or remove the copies",
            id_column="pair",
        ),
    ]
    if ids.noun == "example":
        rules.append(
            rule(
                "id_once",
                expect(UNIQUE, "id"),
                "with the same id as another example",
                "An id must name one example: correct the ids, or remove the copies",
            )
        )
    return rules if rows else [*rules, *_image_rules(rule, config)]


def _image_rules(rule: _RuleFactory, config: Validate) -> list[Rule]:
    rules = []
    if config.values is not None:
        low, high = config.values.low, config.values.high
        for column, adjective in (("minimum", "darkest"), ("maximum", "brightest")):
            rules.append(
                rule(
                    "values",
                    expect(BETWEEN, column, min_value=low, max_value=high),
                    f"whose {adjective} pixel is outside the range {low:g} to {high:g}",
                    "Correct the data, or params.yaml: validate.values",
                    values_after=": ",
                )
            )
    return [
        *rules,
        rule(
            "copies",
            expect(UNIQUE, "pixels"),
            "with exactly the same pixels as another example",
            "A copy counts twice: remove it unless it is intended",
        ),
        rule(
            "near",
            expect(NULL, "near_in"),
            "with nearly the same pixels as another example, colour aside",
            "A copy counts twice: look at the images, and remove one if they show the same",
        ),
    ]


def row_rules(split: str, schema: RowSchema, *, ids: IdFormatter, is_train: bool) -> list[Rule]:
    """Return the rules for the rows of a table: numbers in the range of the training data, and known categories.

    The ranges come from the training data, so rows of another split may well be outside. That is a separate check.
    """
    rule = _RuleFactory(split, ids)
    rules = []
    for column in schema.columns:
        name = f"row.{column.name}"
        if isinstance(column, Numeric):
            rules.append(
                rule(
                    "range" if is_train else "range_elsewhere",
                    expect(BETWEEN, name, min_value=column.low, max_value=column.high),
                    f"whose {column.name} is outside the range of the training data, {column.low:g} to {column.high:g}",
                    "Correct the data, or remove the rows",
                    values_after=": ",
                )
            )
        else:
            rules.append(
                rule(
                    "category",
                    expect(NOT_NULL, name),
                    f"whose {column.name} is not exactly one of its {len(column.values)} values",
                    "Run `fair-distill stage prepare` again",
                )
            )
    return rules


def overlap_rules(split: str, *, ids: IdFormatter, clusters: bool, rows: bool) -> list[Rule]:
    """Return the rules for a split that comes after others: none of its examples is in an earlier split.

    Two equal images are a leak. Two equal rows may describe two people, so they have a separate check.

    Parameters
    ----------
    clusters : whether the examples have clusters
    rows : whether the examples are rows of a table instead of images
    """
    rule = _RuleFactory(split, ids)
    rules = [
        rule(
            "pair_apart",
            expect(NULL, "pair_also_in"),
            "of a pair that is also in",
            "A pair must be in one split only: number pairs over all splits, and split the data by pair",
            values_after=" ",
            id_column="pair",
        )
    ]
    if ids.noun == "example":
        rules.append(
            rule(
                "id_apart",
                expect(NULL, "id_also_in"),
                "whose id is also in",
                "An example must be in one split only: split the data by id",
                values_after=" ",
            )
        )
    if clusters:
        rules.append(
            rule(
                "cluster_apart",
                expect(NULL, "cluster_also_in"),
                "of a cluster that is also in",
                "A cluster must be in one split only: split the data by cluster",
                values_after=" ",
            )
        )
    if rows:
        rules.append(
            rule(
                "rows_apart",
                expect(NULL, "pixels_also_in"),
                "with exactly the same values as a row in",
                "Two people can have equal rows. If the rows describe one person, remove one, or declare a cluster",
                values_after=" ",
            )
        )
        return rules
    return [
        *rules,
        rule(
            "copies_apart",
            expect(NULL, "pixels_also_in"),
            "with exactly the same pixels as an image in",
            "An image must be in one split only: remove one of the two",
            values_after=" ",
        ),
        rule(
            "near_apart",
            expect(NULL, "near_also_in"),
            "with nearly the same pixels, colour aside, as an image in",
            "An image must be in one split only: look at the images, and remove one if they show the same",
            values_after=" ",
        ),
    ]
