"""The rules for the tables with one row per split, cell, class, column or distribution: one finding for each row.

See `rule` for how to add a check, and `example_rules` for the rules about single examples.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from fair_distill.config import Validate
from fair_distill.validation.expectations import Expectation
from fair_distill.validation.ids import MAX_SHOWN, IdFormatter
from fair_distill.validation.rule import BETWEEN, IN_SET, Finding, Row, Rule, counted, expect

# From this number on, thin cells of a split get a summary.
_MANY_CELLS = 4


@dataclass(frozen=True)
class SummaryRule:
    """A rule with a finding for each row that violates it.

    Attributes
    ----------
    finding : returns the finding for a row
    """

    check: str
    expectation: Expectation
    finding: Callable[[Row], Finding]

    def findings(self, rows: pd.DataFrame, observed: object) -> list[Finding]:
        return [self.finding(row) for row in rows.to_dict("records")]


def split_rules(config: Validate, *, train: Row) -> list[Rule]:
    """Return the rules for the splits table: one data type and shape, and the classes, groups and columns of train.

    Parameters
    ----------
    train : the row of the training data
    """
    types = ["float32"] if train["columns"] else ["uint8", "float32"]
    shape = train["shape"] if config.shape is None else ", ".join(map(str, config.shape))
    repeat = "Run `fair-distill stage prepare` again"
    fix_shape = repeat if config.shape is None else "Correct the data, or params.yaml: validate.shape"
    fix_names = "Every split needs the classes, known groups and columns of the training data: correct data.source"
    rules: list[Rule] = [
        _split_rule("type", "type", types, noun="data type", remedy=repeat),
        _split_rule("shape", "shape", [shape], noun="shape", remedy=fix_shape),
    ]
    for column, declared in (("classes", config.classes), ("groups", config.groups), ("columns", None)):
        # A declared name that does not occur is an empty cell, which the rule of support reports.
        if declared is None:
            rules.append(_split_rule("names", column, [train[column]], noun=column, remedy=fix_names))
    return rules


def _split_rule(check: str, column: str, allowed: Sequence[str], *, noun: str, remedy: str) -> Rule:
    expected = " or ".join(allowed) or "none"

    def finding(row: Row) -> Finding:
        fault = f"{row['split']} has the {noun} {row[column] or 'none'}; expected {expected}"
        return Finding(row["split"], f"{fault}. {remedy}", row["examples"])

    return SummaryRule(check, expect(IN_SET, column, value_set=list(allowed)), finding)


@dataclass(frozen=True)
class SupportRule:
    """The rule for the cells table: a finding for each class and group with too few examples.

    Attributes
    ----------
    tables : the examples of each split, to name some of them
    cells : the cells table with all cells that need examples
    """

    minimum: int
    tables: Mapping[str, pd.DataFrame]
    ids: IdFormatter
    cells: pd.DataFrame
    check: str = field(default="support", init=False)

    @property
    def expectation(self) -> Expectation:
        return expect(BETWEEN, "count", min_value=self.minimum)

    def findings(self, rows: pd.DataFrame, observed: object) -> list[Finding]:
        members = self._first_members()
        findings = self._summaries(rows)
        for cell in rows.to_dict("records"):
            names = members.get((cell["split"], cell["class"], cell["group"]), [])
            findings.append(
                Finding(
                    split=cell["split"],
                    sentence=self._sentence(cell, names),
                    count=cell["count"],
                    label=cell["class"],
                    group=cell["group"],
                    examples=self.ids.sample(names),
                )
            )
        return findings

    def _summaries(self, rows: pd.DataFrame) -> list[Finding]:
        """Return a finding for each split with many thin cells: their number, and the size or share that would do."""
        summaries = []
        totals = self.cells.groupby(["class", "group"], sort=False)["count"].sum()
        n_splits = self.cells["split"].nunique()
        for split, thin in rows.groupby("split", sort=False):
            if len(thin) < _MANY_CELLS:
                continue
            smallest = thin.loc[thin["count"].idxmin()]
            least = int(min(totals[name] for name in zip(thin["class"], thin["group"], strict=True)))
            sentence = (
                f"{len(thin)} of {(self.cells['split'] == split).sum()} cells have fewer than {self.minimum} examples "
                f"in {split}; the smallest is class {smallest['class']!r}, group {smallest['group']!r}, with "
                f"{smallest['count']}. {self._remedy(split, least, n_splits)}"
            )
            summaries.append(Finding(split, sentence, len(thin)))
        return summaries

    def _remedy(self, split: object, least: int, n_splits: int) -> str:
        """Return what would give every cell the minimum.

        Parameters
        ----------
        least : the examples of the smallest thin cell in all splits together
        """
        if least >= self.minimum * n_splits:
            share = math.ceil(100 * self.minimum / least)
            return f"A share of {share} % in {split} would do: change params.yaml: data.splits"
        lower = f", or lower params.yaml: validate.minimum_per_cell to {least // n_splits}" if least >= n_splits else ""
        return (
            f"The smallest cell has {counted(least)} in all splits together, and {self.minimum * n_splits} are needed: "
            "add data, or merge or drop attribute values with params.yaml: data.groups.merge or data.groups.drop, or "
            f"merge groups with data.missing_cells.merge{lower}"
        )

    def _first_members(self) -> dict[tuple[str, str, str], list[object]]:
        """Return the ids of the first few examples of each split, class and group."""
        members: dict[tuple[str, str, str], list[object]] = {}
        for split, table in self.tables.items():
            first = table.groupby(["class", "group"]).head(MAX_SHOWN)
            for label, group, name in zip(first["class"], first["group"], first["id"].tolist(), strict=True):
                members.setdefault((split, label, group), []).append(name)
        return members

    def _sentence(self, cell: Row, names: Sequence[object]) -> str:
        # The minimum is at least 1, so a lower one does not help an empty cell.
        remedy = (
            "lower params.yaml: validate.minimum_per_cell"
            if cell["count"]
            else "drop the class (params.yaml: data.missing_cells: drop_class)"
        )
        remedy += ", or merge or drop the attribute value (data.groups.merge, data.groups.drop)"
        hidden = cell["count"] - len(names)
        members = f" ({self.ids.phrase(names)}{f' and {hidden} more' if hidden else ''})" if names else ""
        return (
            f"class {cell['class']!r} has {counted(cell['count'])} of group {cell['group']!r} in {cell['split']}"
            f"{members}; at least {self.minimum} {'is' if self.minimum == 1 else 'are'} needed. Add data, {remedy}"
        )


def imbalance_rule(maximum: float) -> Rule:
    """Return the rule for the classes table: the groups of a class do not differ too much in size.

    A class with an empty cell has no ratio. The rule of support reports the empty cell.
    """

    def finding(row: Row) -> Finding:
        sentence = (
            f"class {row['class']!r} has {row['largest']} examples of its largest group and {row['smallest']} "
            f"of its smallest in {row['split']}, a ratio of {row['imbalance']:.4g}; at most {maximum:g} is "
            "allowed. Add data, or raise params.yaml: validate.maximum_imbalance"
        )
        return Finding(row["split"], sentence, row["smallest"], label=row["class"])

    return SummaryRule("imbalance", expect(BETWEEN, "imbalance", max_value=maximum), finding)


def unknown_rule(maximum: float) -> Rule:
    """Return the rule for the classes table: few examples of each class have an unknown group."""

    def finding(row: Row) -> Finding:
        count = round(row["unknown"] * row["total"])
        sentence = (
            f"class {row['class']!r} has {count} of {row['total']} examples in {row['split']} with an unknown group, "
            f"{100 * row['unknown']:.3g} %; at most {100 * maximum:g} % is allowed. Label more examples, or raise "
            "params.yaml: validate.maximum_unknown"
        )
        return Finding(row["split"], sentence, count, label=row["class"])

    return SummaryRule("unknown", expect(BETWEEN, "unknown", max_value=maximum), finding)


def leak_rule(maximum: float | None, split: str) -> Rule:
    """Return the rule for the columns table: no column predicts the class. Without a maximum, lambda is below 1."""

    def finding(row: Row) -> Finding:
        limit = "limit: below 1" if maximum is None else f"limit {maximum:g}"
        sentence = (
            f"column {row['column']!r}, fitted in {split}, predicts the label of the other splits with "
            f"Goodman–Kruskal lambda {row['leak']:.3g} ({limit}). It probably contains the label: remove it from "
            "data.source.columns, or set params.yaml: validate.maximum_leak or severity.leak"
        )
        return Finding(split, sentence, 0)

    limits: dict[str, Any] = {"max_value": 1.0, "strict_max": True} if maximum is None else {"max_value": maximum}
    return SummaryRule("leak", expect(BETWEEN, "leak", **limits), finding)


def drift_rules(config: Validate, split: str, examples: int) -> list[Rule]:
    """Return the rules for the drift table: no distribution is too far from that of the reference.

    Parameters
    ----------
    split, examples : the split that is compared, and its number of examples
    """
    assert config.drift is not None
    rules: list[Rule] = []
    for column, statistic, key in (
        ("psi", "population stability index", "maximum_psi"),
        ("variation", "total variation distance", "maximum_variation"),
    ):
        maximum = getattr(config.drift, key)
        if maximum is not None:
            finding = _drift_finding(split, examples, column, statistic, key, maximum)
            rules.append(SummaryRule("drift", expect(BETWEEN, column, max_value=maximum), finding))
    return rules


def _drift_finding(
    split: str, examples: int, column: str, statistic: str, key: str, maximum: float
) -> Callable[[Row], Finding]:
    def finding(row: Row) -> Finding:
        subject = "the distribution of the cells" if row["what"] == "cells" else f"the distribution of {row['what']}"
        sentence = (
            f"{subject} in {split} differs from the reference: {statistic} {row[column]:.3g} (limit {maximum:g}). "
            f"The largest change is in {row['most']}, from {100 * row['was']:.3g} % to {100 * row['is']:.3g} % of the "
            f"examples. Check the data, or change params.yaml: validate.drift.{key} or reference"
        )
        return Finding(split, sentence, examples)

    return finding
