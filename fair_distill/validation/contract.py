"""Holds prepared splits against the contract, and says what was seen. What is expected stands in `rules`."""

from collections.abc import Mapping

import pandas as pd

from fair_distill.artifacts import SPLITS
from fair_distill.config import Validate
from fair_distill.data.grouped import GroupedDataset
from fair_distill.errors import DataError
from fair_distill.validation.expectations import Suite, run
from fair_distill.validation.result import Failure, Validation
from fair_distill.validation.rules import (
    ImbalanceRule,
    Rule,
    SupportRule,
    example_rules,
    overlap_rules,
    row_rules,
)
from fair_distill.validation.table import cell_table, class_table, example_table, with_overlaps

__all__ = ["Failure", "Validation", "validate"]

TRAIN = SPLITS[0]


def validate(splits: Mapping[str, GroupedDataset], rules: Validate) -> Validation:
    """Return every breach of the contract and the facts it rests on. A breach is a result, not an exception.

    Parameters
    ----------
    splits : the prepared splits by name, training data first
        What two of them share is reported for the later one.
    rules : the section `validate` of params.yaml

    Raises
    ------
    DataError
        If no split is named "train".
    MeasurementError
        If Great Expectations could not evaluate an expectation.
    """
    if TRAIN not in splits:
        raise DataError(f"a split named {TRAIN!r} is needed, got {', '.join(splits) or 'none'}")
    tables = with_overlaps({split: example_table(dataset) for split, dataset in splits.items()})
    cells = cell_table(splits)
    known = cells[cells["known"]].reset_index(drop=True)  # not to know a group is no group to have examples of
    classes = class_table(known)

    contract: list[tuple[str, pd.DataFrame, list[Rule]]] = []
    for position, (split, dataset) in enumerate(splits.items()):
        part = example_rules(
            split, classes=dataset.classes, groups=dataset.group_names, rows=dataset.schema is not None
        )
        if dataset.schema is not None:
            part += row_rules(split, dataset.schema, in_train=split == TRAIN)
        across = overlap_rules(split, rows=dataset.schema is not None) if position else []
        contract.append((split, tables[split], part + across))
    contract.append(("cells", known, [SupportRule(rules.minimum_per_cell, tables)]))
    in_train = classes[classes["split"] == TRAIN]
    contract.append(("classes", in_train, [ImbalanceRule(rules.maximum_imbalance)]))

    outcomes = run([Suite(name, table, [rule.expectation for rule in part]) for name, table, part in contract])
    failures = [
        failure
        for (_, table, part), results in zip(contract, outcomes, strict=True)
        for rule, outcome in zip(part, results, strict=True)
        if not outcome.success
        for failure in rule.failures(table.iloc[list(outcome.rows)])
    ]
    order = list(splits)
    return Validation(
        expectations=sum(len(part) for _, _, part in contract),
        failures=tuple(sorted(failures, key=lambda it: (it.severity != "error", order.index(it.split)))),
        cells=_counts(cells),
        imbalance=_imbalance(classes),
    )


def _counts(cells: pd.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for cell in cells.to_dict("records"):
        counts.setdefault(cell["split"], {}).setdefault(cell["class"], {})[cell["group"]] = cell["count"]
    return counts


def _imbalance(classes: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    imbalance: dict[str, dict[str, float | None]] = {}
    for row in classes.to_dict("records"):
        ratio = None if pd.isna(row["imbalance"]) else row["imbalance"]
        imbalance.setdefault(row["split"], {})[row["class"]] = ratio
    return imbalance
