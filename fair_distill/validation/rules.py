"""What the contract asks of examples: each rule is an ordinary expectation, and the sentence for what does not meet it.

A check is added here or in `fact_rules`, by a line in the function for the table it looks at, and its name and severity
in config.CHECKS. The thresholds stand in params.yaml: validate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import pandas as pd

from fair_distill.config import Validate
from fair_distill.formats.row_schema import Numeric, RowSchema
from fair_distill.validation.expectations import Expectation
from fair_distill.validation.ids import SHOWN, Ids

NOT_NULL = "ExpectColumnValuesToNotBeNull"
NULL = "ExpectColumnValuesToBeNull"
IN_SET = "ExpectColumnValuesToBeInSet"
BETWEEN = "ExpectColumnValuesToBeBetween"
UNIQUE = "ExpectColumnValuesToBeUnique"
UNIQUE_TOGETHER = "ExpectCompoundColumnsToBeUnique"

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """Where an expectation was not met, and the line for whoever has to mend it; see `result.Failure`."""

    split: str
    sentence: str
    count: int
    label: str | None = None
    group: str | None = None
    examples: tuple[int | str, ...] = ()


class Rule(Protocol):
    """An expectation of the rows of a table, and what the rows that do not meet it amount to."""

    @property
    def check(self) -> str: ...

    @property
    def expectation(self) -> Expectation: ...

    def findings(self, rows: pd.DataFrame, observed: object) -> list[Finding]: ...


@dataclass(frozen=True)
class ExampleRule:
    """A rule for the examples of a split: one finding, however many examples.

    Attributes
    ----------
    fault, remedy : completes "3 examples in train …" and "… (pairs 1, 2, 5); …"
    show_values : whether the sentence names the values that came
    by : the column whose entries name the examples
    """

    check: str
    split: str
    expectation: Expectation
    fault: str
    remedy: str
    ids: Ids
    show_values: bool = False
    by: str = "id"

    def findings(self, rows: pd.DataFrame, observed: object) -> list[Finding]:
        column = self.expectation.column
        # Names of splits are no secret; what is in a column of the data may be.
        shown = self.show_values and (self.ids.open or column.endswith("_also_in"))
        came = f" {listed(sorted(rows[column].unique().tolist()))}" if shown else ""
        named = rows[self.by].tolist()
        return [
            Finding(
                split=self.split,
                sentence=(
                    f"{counted(len(rows))} in {self.split} {self.fault}{came} ({self.ids.named(named)}); {self.remedy}"
                ),
                count=len(rows),
                examples=self.ids.shown(named),
            )
        ]


def example_rules(
    split: str, *, classes: Sequence[str], groups: Sequence[str], ids: Ids, rules: Validate, rows: bool
) -> list[Rule]:
    """What is expected of every example of a split, whatever the other splits hold; of images, or of a table's rows."""
    needed = "every example needs one. Mend the data, or leave it out"
    declared = "declared are {}. Mend the data, or the names they are prepared with"
    what = "number" if rows else "pixel"
    rule = _Examples(split, ids)
    found: list[Rule] = [
        rule("class_given", expect(NOT_NULL, "class"), "without a class", needed),
        rule("group_given", expect(NOT_NULL, "group"), "without a group", needed),
        rule(
            "class_declared",
            expect(IN_SET, "class", value_set=list(classes)),
            "of undeclared class",
            declared.format(listed(classes)),
            show_values=True,
        ),
        rule(
            "group_declared",
            expect(IN_SET, "group", value_set=list(groups)),
            "of undeclared group",
            declared.format(listed(groups)),
            show_values=True,
        ),
        rule(
            "finite",
            expect(IN_SET, "finite", value_set=[True]),
            f"with NaN or infinite {what}s",
            f"every {what} is to be finite. Mend the data, or leave the example out",
        ),
        rule(
            "pair_once",
            Expectation(UNIQUE_TOGETHER, {"column_list": ["pair", "group"]}),
            "with the pair and the group of another",
            "a pair has one example of each group. Number the pairs apart, or leave the copies out",
            by="pair",
        ),
    ]
    if ids.word == "example":
        once = "an id names one example. Number the examples anew, or leave the copies out"
        found.append(rule("id_once", expect(UNIQUE, "id"), "with the id of another", once))
    if rows:
        return found
    if rules.values is not None:
        low, high = rules.values.low, rules.values.high
        remedy = f"params.yaml: validate.values has {low:g} to {high:g}. Mend the data, or the range"
        for column, word in (("minimum", "darkest"), ("maximum", "brightest")):
            reach = expect(BETWEEN, column, min_value=low, max_value=high)
            found.append(rule("values", reach, f"whose {word} pixel is outside the range:", remedy, show_values=True))
    return [
        *found,
        rule(
            "copies",
            expect(UNIQUE, "pixels"),
            "with exactly the pixels of another",
            "a copy counts twice. Leave it out, unless it is meant",
        ),
        rule(
            "near",
            expect(NULL, "near_in"),
            "that, colour apart, nearly equal another",
            "a copy counts twice. Look at them; if it is the same, leave one out",
        ),
    ]


def row_rules(split: str, schema: RowSchema, *, ids: Ids, in_train: bool) -> list[Rule]:
    """What is expected of the rows of a table: declared values, numbers in the range of the training data.

    Ranges are those that the training data have, so another split may well go beyond them: that is a check of its own.
    """
    rule = _Examples(split, ids)
    found: list[Rule] = []
    for column in schema.columns:
        name = f"row.{column.name}"
        if isinstance(column, Numeric):
            reach = expect(BETWEEN, name, min_value=column.low, max_value=column.high)
            fault = f"whose {column.name} is outside {column.low:g} to {column.high:g}, the range in train:"
            check = "range" if in_train else "range_elsewhere"
            found.append(rule(check, reach, fault, "mend the data, or leave the rows out", show_values=True))
        else:
            fault = f"whose {column.name} is none, or more than one, of its {len(column.values)} values"
            found.append(rule("category", expect(NOT_NULL, name), fault, "run `fair-distill stage prepare` again"))
    return found


def overlap_rules(split: str, *, ids: Ids, clusters: bool, rows: bool) -> list[Rule]:
    """What is expected of the examples of a split that comes after others: that those do not hold them too.

    Two equal rows may well be two people, so they are no proof that a split has leaked; two equal images are.
    """
    rule = _Examples(split, ids)
    trained = "what is measured on must not have been trained on"
    found: list[Rule] = [
        rule(
            "pair_apart",
            expect(NULL, "pair_also_in"),
            "of a pair that is also in",
            "splits share no pair. Number pairs over all splits, and divide the data by pair",
            show_values=True,
            by="pair",
        )
    ]
    if ids.word == "example":
        remedy = f"{trained}. Divide the data by id"
        found.append(rule("id_apart", expect(NULL, "id_also_in"), "whose id is also in", remedy, show_values=True))
    if clusters:
        fault, remedy = "of a cluster that is also in", f"{trained}. Divide the data by cluster"
        found.append(rule("cluster_apart", expect(NULL, "cluster_also_in"), fault, remedy, show_values=True))
    if rows:
        fault = "with exactly the values of one in"
        remedy = "two people may be alike in all columns. If it is one, leave one row out, or name a cluster"
        return [*found, rule("rows_apart", expect(NULL, "pixels_also_in"), fault, remedy, show_values=True)]
    return [
        *found,
        rule(
            "copies_apart",
            expect(NULL, "pixels_also_in"),
            "with exactly the pixels of one in",
            f"{trained}. Leave one of the two out",
            show_values=True,
        ),
        rule(
            "near_apart",
            expect(NULL, "near_also_in"),
            "that, colour apart, nearly equal one in",
            f"{trained}. Look at them; if it is the same, leave one out",
            show_values=True,
        ),
    ]


@dataclass(frozen=True)
class _Examples:
    """Makes the rules for the examples of one split."""

    split: str
    ids: Ids

    def __call__(
        self,
        check: str,
        expectation: Expectation,
        fault: str,
        remedy: str,
        *,
        show_values: bool = False,
        by: str = "id",
    ) -> Rule:
        ids = replace(self.ids, word="pair") if by == "pair" else self.ids
        return ExampleRule(check, self.split, expectation, fault, remedy, ids, show_values, by)


def expect(name: str, column: str, **arguments: object) -> Expectation:
    return Expectation(name, {"column": column, **arguments})


def counted(count: int) -> str:
    return "no examples" if count == 0 else f"{count} example{'' if count == 1 else 's'}"


def listed(values: Sequence[object]) -> str:
    """The first few, and how many more there are."""
    shown = ", ".join(repr(value) for value in values[:SHOWN])
    return shown if len(values) <= SHOWN else f"{shown} and {len(values) - SHOWN} more"
