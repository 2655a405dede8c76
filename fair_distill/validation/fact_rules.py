"""What the contract asks of splits, cells, classes, columns and distributions: a finding for each row of such a table.

What it asks of examples stands in `rules`, and so does how a check is added.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from fair_distill.config import Validate
from fair_distill.validation.expectations import Expectation
from fair_distill.validation.ids import SHOWN, Ids
from fair_distill.validation.rules import BETWEEN, IN_SET, Finding, Row, Rule, counted, expect


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
    anew = "Run `fair-distill stage prepare` again"
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
                sentence=self._sentence(cell, named := first.get((cell["split"], cell["class"], cell["group"]), [])),
                count=cell["count"],
                label=cell["class"],
                group=cell["group"],
                examples=self.ids.shown(named),
            )
            for cell in rows.to_dict("records")
        ]

    def _sentence(self, cell: Row, first: Sequence[object]) -> str:
        # No minimum is below 1, so lowering it does not mend an empty cell.
        remedy = "lower params.yaml: validate.minimum_per_cell" if cell["count"] else "drop the class or the group"
        more = cell["count"] - len(first)
        named = f" ({self.ids.named(first)}{f' and {more} more' if more else ''})" if first else ""
        return (
            f"class {cell['class']!r} has {counted(cell['count'])} of group {cell['group']!r} in {cell['split']}"
            f"{named}; at least {self.minimum} {'is' if self.minimum == 1 else 'are'} needed. Add data, or {remedy}"
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
            f"column {row['column']!r}, fitted in {split}, alone tells {100 * row['leak']:.3g} % of what there is to "
            f"know of the class in the other splits; {allowed}. Leave the column out, or set params.yaml: "
            "validate.maximum_leak or severity.leak"
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
