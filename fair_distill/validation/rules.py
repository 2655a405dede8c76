"""What the contract asks: each rule is an ordinary expectation, and the sentence for what does not meet it.

The one place a check is added: a line in the function for the table it looks at, and its name and severity in
config.CHECKS. The thresholds stand in params.yaml: validate.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import pandas as pd

from fair_distill.config import CHECKS, Validate
from fair_distill.rows import Numeric, RowSchema
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


@dataclass(frozen=True)
class RowRule:
    """A rule for a table of facts: a finding for each row that does not meet it.

    Attributes
    ----------
    finding : says what is wrong with a row
    """

    check: str
    expectation: Expectation
    finding: Callable[[Row], Finding]

    def findings(self, rows: pd.DataFrame, observed: object) -> list[Finding]:
        return [self.finding(row) for row in rows.to_dict("records")]


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
            found.append(rule("category", expect(NOT_NULL, name), fault, "run `fair-distill prepare` again"))
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


def split_rules(rules: Validate, *, train: Row) -> list[Rule]:
    """What is expected of the splits: images of one type and shape, and the same classes, groups and columns."""

    def differs(what: str, wanted: str, remedy: str) -> Callable[[Row], Finding]:
        def finding(row: Row) -> Finding:
            fault = f"the {what} in {row['split']} are {row[column[what]] or 'none'}; wanted are {wanted or 'none'}"
            return Finding(row["split"], f"{fault}. {remedy}", row["examples"])

        return finding

    column = {name: name for name in ("classes", "groups", "columns")} | {"values": "type", "shapes": "shape"}
    types = ["float32"] if train["columns"] else ["uint8", "float32"]
    shape = train["shape"] if rules.shape is None else ", ".join(map(str, rules.shape))
    anew = "Run `fair-distill prepare` again"
    mended = anew if rules.shape is None else "Mend the data, or params.yaml: validate.shape"
    same = "Every split has the classes, the known groups and the columns of the training data. Mend data.source"
    found: list[Rule] = [
        RowRule("type", expect(IN_SET, "type", value_set=types), differs("values", " or ".join(types), anew)),
        RowRule("shape", expect(IN_SET, "shape", value_set=[shape]), differs("shapes", shape, mended)),
    ]
    for name, declared in (("classes", rules.classes), ("groups", rules.groups), ("columns", None)):
        # What is declared and does not occur is an empty cell, and named there.
        if declared is None:
            wanted = train[name]
            found.append(RowRule("names", expect(IN_SET, name, value_set=[wanted]), differs(name, wanted, same)))
    return found


@dataclass(frozen=True)
class SupportRule:
    """The rule for the cells table: a finding for each class and group with too few examples."""

    minimum: int
    tables: Mapping[str, pd.DataFrame]
    ids: Ids
    check: str = field(default="support", init=False)

    @property
    def expectation(self) -> Expectation:
        return expect(BETWEEN, "count", min_value=self.minimum)

    def findings(self, rows: pd.DataFrame, observed: object) -> list[Finding]:
        first: dict[tuple[str, str, str], list[object]] = {}
        for split, table in self.tables.items():
            few = table.groupby(["class", "group"]).head(SHOWN)
            for label, group, name in zip(few["class"], few["group"], few["id"].tolist(), strict=True):
                first.setdefault((split, label, group), []).append(name)
        return [
            Finding(
                split=cell["split"],
                sentence=self._sentence(cell),
                count=cell["count"],
                label=cell["class"],
                group=cell["group"],
                examples=self.ids.shown(first.get((cell["split"], cell["class"], cell["group"]), ())),
            )
            for cell in rows.to_dict("records")
        ]

    def _sentence(self, cell: Row) -> str:
        # No minimum is below 1, so lowering it does not mend an empty cell.
        remedy = "lower params.yaml: validate.minimum_per_cell" if cell["count"] else "drop the class or the group"
        return (
            f"class {cell['class']!r} has {counted(cell['count'])} of group {cell['group']!r} in {cell['split']}; "
            f"at least {self.minimum} {'is' if self.minimum == 1 else 'are'} needed. Add data, or {remedy}"
        )


def imbalance_rule(maximum: float) -> Rule:
    """The rule for the classes table: groups of a class are not too unequal.

    A class with an empty cell has no imbalance to compare; the rule of support names it.
    """

    def finding(row: Row) -> Finding:
        sentence = (
            f"class {row['class']!r} has {row['largest']} examples of its largest group and {row['smallest']} "
            f"of its smallest in {row['split']}, {row['imbalance']:.4g} to 1; at most {maximum:g} to 1 is "
            "allowed. Add data, or raise params.yaml: validate.maximum_imbalance"
        )
        return Finding(row["split"], sentence, row["smallest"], label=row["class"])

    return RowRule("imbalance", expect(BETWEEN, "imbalance", max_value=maximum), finding)


def unknown_rule(maximum: float) -> Rule:
    """The rule for the classes table: the group is known of most examples of every class."""

    def finding(row: Row) -> Finding:
        count, of = round(row["unknown"] * row["total"]), row["total"]
        sentence = (
            f"class {row['class']!r} has {counted(count)} of {of} in {row['split']} whose group is not known, "
            f"{100 * row['unknown']:.3g} %; at most {100 * maximum:g} % is allowed. Label some, or raise params.yaml: "
            "validate.maximum_unknown"
        )
        return Finding(row["split"], sentence, count, label=row["class"])

    return RowRule("unknown", expect(BETWEEN, "unknown", max_value=maximum), finding)


def leak_rule(maximum: float | None, split: str) -> Rule:
    """The rule for the columns table: no column tells the class. Without a limit, none tells all of it."""

    def finding(row: Row) -> Finding:
        allowed = "telling all is a leak" if maximum is None else f"at most {100 * maximum:g} % is allowed"
        sentence = (
            f"column {row['column']!r} alone tells {100 * row['leak']:.3g} % of what there is to know of the class in "
            f"{split}; {allowed}. Leave the column out, or set params.yaml: validate.maximum_leak or severity.leak"
        )
        return Finding(split, sentence, 0)

    limit: dict[str, Any] = {"max_value": 1.0, "strict_max": True} if maximum is None else {"max_value": maximum}
    return RowRule("leak", expect(BETWEEN, "leak", **limit), finding)


def drift_rules(rules: Validate, split: str, examples: int) -> list[Rule]:
    """The rules for the drift table: what was measured on the reference is much the same."""
    assert rules.drift is not None
    found: list[Rule] = []
    for column, what, key in (
        ("psi", "population stability index", "maximum_psi"),
        ("variation", "total variation distance", "maximum_variation"),
    ):
        maximum = getattr(rules.drift, key)
        if maximum is not None:
            found.append(
                RowRule(
                    "drift",
                    expect(BETWEEN, column, max_value=maximum),
                    _moved(split, examples, column, what, key, maximum),
                )
            )
    return found


def _moved(split: str, examples: int, column: str, what: str, key: str, maximum: float) -> Callable[[Row], Finding]:
    def finding(row: Row) -> Finding:
        which = "the cells have" if row["what"] == "cells" else f"{row['what']} has"
        sentence = (
            f"{which} moved in {split} from the reference, {what} {row[column]:.3g}; at most {maximum:g} is allowed. "
            f"Most moved {row['most']}, from {100 * row['was']:.3g} % to {100 * row['is']:.3g} %. Look at the data, or "
            f"set params.yaml: validate.drift.{key}, or another reference"
        )
        return Finding(split, sentence, examples)

    return finding


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


def severities(rules: Validate) -> dict[str, str]:
    """How much each check matters by these rules."""
    return {check: rules.level(check) for check in CHECKS}


def counted(count: int) -> str:
    return "no examples" if count == 0 else f"{count} example{'' if count == 1 else 's'}"


def listed(values: Sequence[object]) -> str:
    """The first few, and how many more there are."""
    shown = ", ".join(repr(value) for value in values[:SHOWN])
    return shown if len(values) <= SHOWN else f"{shown} and {len(values) - SHOWN} more"
