"""The contract itself: each rule is an ordinary expectation, and the sentence for what does not meet it.

The one place a rule is added: a line in the function for the table it looks at. The thresholds stand in
params.yaml: validate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from fair_distill.rows import Numeric, RowSchema
from fair_distill.validation.expectations import Expectation
from fair_distill.validation.result import Failure, Severity

_SHOWN = 5


class Rule(Protocol):
    """An expectation of the rows of a table, and what the rows that do not meet it amount to."""

    @property
    def expectation(self) -> Expectation: ...

    def failures(self, rows: pd.DataFrame) -> list[Failure]: ...


@dataclass(frozen=True)
class ExampleRule:
    """A rule for the examples table of a split: one failure, however many examples.

    Attributes
    ----------
    fault, remedy : completes "3 examples in train …" and "… (pairs 1, 2, 5); …"
    show_values : whether the sentence names the values that came
    """

    split: str
    expectation: Expectation
    fault: str
    remedy: str
    show_values: bool = False

    def failures(self, rows: pd.DataFrame) -> list[Failure]:
        pairs = rows["pair"].unique().tolist()
        came = f" {_listed(sorted(rows[self.expectation.column].unique().tolist()))}" if self.show_values else ""
        which = f"{'pair' if len(pairs) == 1 else 'pairs'} {_listed(pairs)}"
        return [
            Failure(
                split=self.split,
                expectation=self.expectation.name,
                column=self.expectation.column,
                severity=self.expectation.severity,
                label=None,
                group=None,
                count=len(rows),
                examples=tuple(pairs[:_SHOWN]),
                sentence=f"{_counted(len(rows))} in {self.split} {self.fault}{came} ({which}); {self.remedy}",
            )
        ]


@dataclass(frozen=True)
class SupportRule:
    """The rule for the cells table: a failure for each class and group with too few examples."""

    minimum: int
    tables: Mapping[str, pd.DataFrame]

    @property
    def expectation(self) -> Expectation:
        return _expect("ExpectColumnValuesToBeBetween", "count", min_value=self.minimum)

    def failures(self, rows: pd.DataFrame) -> list[Failure]:
        first: dict[tuple[str, str, str], list[int]] = {}
        for split, table in self.tables.items():
            few = table.groupby(["class", "group"]).head(_SHOWN)
            for label, group, pair in zip(few["class"], few["group"], few["pair"], strict=True):
                first.setdefault((split, label, group), []).append(pair)
        return [
            Failure(
                split=cell["split"],
                expectation=self.expectation.name,
                column="count",
                severity=self.expectation.severity,
                label=cell["class"],
                group=cell["group"],
                count=cell["count"],
                examples=tuple(first.get((cell["split"], cell["class"], cell["group"]), ())),
                sentence=self._sentence(cell),
            )
            for cell in rows.to_dict("records")
        ]

    def _sentence(self, cell: Mapping[str, Any]) -> str:
        # No minimum is below 1, so lowering it does not mend an empty cell.
        remedy = "lower params.yaml: validate.minimum_per_cell" if cell["count"] else "drop the class or the group"
        return (
            f"class {cell['class']!r} has {_counted(cell['count'])} of group {cell['group']!r} in {cell['split']}; "
            f"at least {self.minimum} {'is' if self.minimum == 1 else 'are'} needed. Add data, or {remedy}"
        )


@dataclass(frozen=True)
class ImbalanceRule:
    """The rule for the classes table: a failure for each class whose groups are too unequal.

    A class with an empty cell has no imbalance to compare; the rule of support names it.
    """

    maximum: float

    @property
    def expectation(self) -> Expectation:
        return _expect("ExpectColumnValuesToBeBetween", "imbalance", max_value=self.maximum)

    def failures(self, rows: pd.DataFrame) -> list[Failure]:
        return [
            Failure(
                split=row["split"],
                expectation=self.expectation.name,
                column="imbalance",
                severity=self.expectation.severity,
                label=row["class"],
                group=None,
                count=row["smallest"],
                examples=(),
                sentence=(
                    f"class {row['class']!r} has {row['largest']} examples of its largest group and {row['smallest']} "
                    f"of its smallest in {row['split']}, {row['imbalance']:.4g} to 1; at most {self.maximum:g} to 1 is "
                    "allowed. Add data, or raise params.yaml: validate.maximum_imbalance"
                ),
            )
            for row in rows.to_dict("records")
        ]


def example_rules(split: str, *, classes: Sequence[str], groups: Sequence[str], rows: bool) -> list[Rule]:
    """What is expected of every example of a split, whatever the other splits hold; of images, or of a table's rows."""
    needed = "every example needs one. Mend the data, or leave it out"
    declared = "declared are {}. Mend the data, or the names they are prepared with"
    return [
        ExampleRule(split, _expect("ExpectColumnValuesToNotBeNull", "class"), "without a class", needed),
        ExampleRule(split, _expect("ExpectColumnValuesToNotBeNull", "group"), "without a group", needed),
        ExampleRule(
            split,
            _expect("ExpectColumnValuesToBeInSet", "class", value_set=list(classes)),
            "of undeclared class",
            declared.format(_listed(classes)),
            show_values=True,
        ),
        ExampleRule(
            split,
            _expect("ExpectColumnValuesToBeInSet", "group", value_set=list(groups)),
            "of undeclared group",
            declared.format(_listed(groups)),
            show_values=True,
        ),
        ExampleRule(
            split,
            _expect("ExpectColumnValuesToBeInSet", "finite", value_set=[True]),
            f"with NaN or infinite {'numbers' if rows else 'pixels'}",
            f"every {'number' if rows else 'pixel'} is to be finite. Mend the data, or leave the example out",
        ),
        ExampleRule(
            split,
            Expectation("ExpectCompoundColumnsToBeUnique", {"column_list": ["pair", "group"]}),
            "with the pair and the group of another",
            "a pair has one example of each group. Number the pairs apart, or leave the copies out",
        ),
        *([] if rows else [_no_copies(split)]),
    ]


def _no_copies(split: str) -> Rule:
    return ExampleRule(
        split,
        _expect("ExpectColumnValuesToBeUnique", "pixels", severity="warn"),
        "with exactly the pixels of another",
        "a copy counts twice. Leave it out, unless it is meant",
    )


def row_rules(split: str, schema: RowSchema, *, in_train: bool) -> list[Rule]:
    """What is expected of the rows of a table: declared values, numbers in the range of the training data.

    Ranges are those that the training data have, so another split may well go beyond them: that is a warning there.
    """
    rules: list[Rule] = []
    for column in schema.columns:
        name = f"row.{column.name}"
        if isinstance(column, Numeric):
            reach = _expect(
                "ExpectColumnValuesToBeBetween",
                name,
                min_value=column.low,
                max_value=column.high,
                severity="error" if in_train else "warn",
            )
            fault = f"whose {column.name} is outside {column.low:g} to {column.high:g}, the range in train:"
            rules.append(ExampleRule(split, reach, fault, "mend the data, or leave the rows out", show_values=True))
        else:
            marked = _expect("ExpectColumnValuesToNotBeNull", name)
            fault = f"whose {column.name} is none, or more than one, of its {len(column.values)} values"
            rules.append(ExampleRule(split, marked, fault, "run `fair-distill prepare` again"))
    return rules


def overlap_rules(split: str, *, rows: bool) -> list[Rule]:
    """What is expected of the examples of a split that comes after others: that those do not hold them too.

    Two equal rows may well be two people, so they are no proof that a split has leaked; two equal images are.
    """
    pair = ExampleRule(
        split,
        _expect("ExpectColumnValuesToBeNull", "pair_also_in"),
        "of a pair that is also in",
        "splits share no pair. Number pairs over all splits, and divide the data by pair",
        show_values=True,
    )
    if rows:
        equal = _expect("ExpectColumnValuesToBeNull", "pixels_also_in", severity="warn")
        remedy = "two people may be alike in all columns. If it is one, leave one row out, or name a cluster"
        return [pair, ExampleRule(split, equal, "with exactly the values of one in", remedy, show_values=True)]
    return [
        pair,
        ExampleRule(
            split,
            _expect("ExpectColumnValuesToBeNull", "pixels_also_in"),
            "with exactly the pixels of one in",
            "what is measured on must not have been trained on. Leave one of the two out",
            show_values=True,
        ),
        ExampleRule(
            split,
            _expect("ExpectColumnValuesToBeNull", "near_also_in", severity="warn"),
            "that, colour apart, nearly equal one in",
            "what is measured on must not have been trained on. Look at them; if it is the same, leave one out",
            show_values=True,
        ),
    ]


def _expect(name: str, column: str, *, severity: Severity = "error", **arguments: object) -> Expectation:
    return Expectation(name, {"column": column, **arguments}, severity)


def _counted(count: int) -> str:
    return "no examples" if count == 0 else f"{count} example{'' if count == 1 else 's'}"


def _listed(values: Sequence[object]) -> str:
    """The first few, and how many more there are."""
    shown = ", ".join(repr(value) for value in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} more"
