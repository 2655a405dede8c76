"""The data contract: builds the tables and rules for prepared splits, evaluates them, and returns the outcome."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from fair_distill.config import CHECKS, Severity, Validate
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.errors import ConfigError, DataError
from fair_distill.files import sha256
from fair_distill.validation import example_rules, summary_rules
from fair_distill.validation.contract_tables import TRAIN, ContractTables, build_tables
from fair_distill.validation.custom_expectations import CustomRule, read_custom_expectations
from fair_distill.validation.drift import Profile
from fair_distill.validation.expectations import Suite, evaluate_suites
from fair_distill.validation.ids import IdFormatter
from fair_distill.validation.result import Failure, Validation
from fair_distill.validation.rule import Rule
from fair_distill.validation.spellings import spelling_rules

__all__ = ["Contract", "Failure", "Validation", "build_contract", "evaluate_contract", "validate"]


@dataclass(frozen=True)
class TableRules:
    """A table, and its rules with their severities."""

    name: str
    table: pd.DataFrame
    rules: tuple[tuple[Rule, Severity], ...]

    @property
    def suite(self) -> Suite:
        return Suite(self.name, self.table, [(rule.expectation, severity) for rule, severity in self.rules])


@dataclass(frozen=True)
class Contract:
    """The tables and rules to evaluate.

    Attributes
    ----------
    splits : the names of the splits, in order
    summary : the outcome without failures: counts and statistics
    """

    splits: tuple[str, ...]
    tables: tuple[TableRules, ...]
    summary: Validation


def validate(
    splits: Mapping[str, GroupedDataset], config: Validate, *, root: Path = Path(), salt: bytes | None = None
) -> Validation:
    """Build and evaluate the contract, and return all failures. A failure is a result, not an exception.

    Parameters and errors are those of `build_contract`, and in addition

    Raises
    ------
    MeasurementError
        If Great Expectations could not evaluate an expectation.
    """
    return evaluate_contract(build_contract(splits, config, root=root, salt=salt))


def evaluate_contract(contract: Contract) -> Validation:
    """Evaluate all rules of a contract."""
    outcomes = evaluate_suites([table.suite for table in contract.tables])
    failures = [
        Failure(
            check=rule.check,
            split=finding.split,
            expectation=rule.expectation.name,
            column=rule.expectation.column,
            severity=severity,
            label=finding.label,
            group=finding.group,
            count=finding.count,
            examples=finding.examples,
            sentence=finding.sentence,
        )
        for table, results in zip(contract.tables, outcomes, strict=True)
        for (rule, severity), outcome in zip(table.rules, results, strict=True)
        if not outcome.success
        for finding in rule.findings(table.table.iloc[list(outcome.rows)], outcome.observed)
    ]
    failures.sort(key=lambda failure: (failure.severity != "error", contract.splits.index(failure.split)))
    return replace(contract.summary, failures=tuple(failures))


def build_contract(
    splits: Mapping[str, GroupedDataset], config: Validate, *, root: Path = Path(), salt: bytes | None = None
) -> Contract:
    """Build the tables and the rules.

    Parameters
    ----------
    splits : the prepared splits by name, training data first. An overlap of two splits is reported for the later one
    config : the section `validate` of params.yaml
    root : the folder of the files that the section names
    salt : for ids if privacy is restricted; see `ids.read_salt`

    Raises
    ------
    DataError
        If no split is named "train", or a file has the wrong content.
    ConfigError
        If a file is missing, an expectation is invalid, or a salt is required and missing.
    """
    if TRAIN not in splits:
        raise DataError(f"a split named {TRAIN!r} is needed; the splits are {', '.join(splits) or 'none'}")
    if config.privacy == "restricted" and salt is None:
        raise ConfigError("params.yaml: validate.privacy is 'restricted', which needs a salt; none was passed")
    custom = read_custom_expectations(config, root)
    reference, digests = _read_reference(config, root)
    tables = build_tables(splits, config, reference)
    noun = "pair" if splits[TRAIN].ids is None else "example"
    ids = IdFormatter(noun, salt if config.privacy == "restricted" else None)

    checked = [
        TableRules(name, table, tuple((rule, level) for rule in rules if (level := config.level(rule.check)) != "off"))
        for name, table, rules in _built_in_rules(splits, config, tables, ids)
    ]
    for name, expectation, severity in custom.expectations:
        for split, table in tables.select(name):
            rule = CustomRule(name, expectation, severity, ids, split)
            checked.append(TableRules(f"own expectation {len(checked)}", table, ((rule, severity),)))
    summary = _summary(config, tables, checked, sources=custom.sources | digests)
    return Contract(tuple(splits), tuple(checked), summary)


def _built_in_rules(
    splits: Mapping[str, GroupedDataset], config: Validate, tables: ContractTables, ids: IdFormatter
) -> Iterator[tuple[str, pd.DataFrame, Sequence[Rule]]]:
    for position, (split, dataset) in enumerate(splits.items()):
        is_table, examples = dataset.schema is not None, tables.examples[split]
        unknown = [name for name, known in zip(dataset.groups, dataset.known, strict=True) if not known]
        rules = example_rules.example_rules(
            split,
            classes=config.classes or dataset.classes,
            groups=[*config.groups, *unknown] if config.groups else dataset.groups,
            ids=ids,
            config=config,
            rows=is_table,
        )
        if dataset.schema is not None:
            rules += example_rules.row_rules(split, dataset.schema, ids=ids, is_train=split == TRAIN)
        if position:
            rules += example_rules.overlap_rules(split, ids=ids, clusters="cluster" in examples, rows=is_table)
        yield split, examples, rules
    cells, classes = tables.cells, tables.classes
    train = tables.splits.to_dict("records")[list(splits).index(TRAIN)]
    yield "splits", tables.splits, summary_rules.split_rules(config, train=train)
    # Unknown groups need no examples.
    known = cells[cells["known"]].reset_index(drop=True)
    yield "cells", known, [summary_rules.SupportRule(config.minimum_per_cell, tables.examples, ids, known)]
    train_classes = classes[classes["split"] == TRAIN].reset_index(drop=True)
    yield "classes", train_classes, [summary_rules.imbalance_rule(config.maximum_imbalance)]
    for what, rule in spelling_rules(TRAIN).items():
        yield f"spellings of {what}s", tables.spellings[tables.spellings["what"] == what].reset_index(drop=True), [rule]
    if config.maximum_unknown is not None:
        yield "classes of every split", classes, [summary_rules.unknown_rule(config.maximum_unknown)]
    if tables.columns is not None:
        yield "columns", tables.columns, [summary_rules.leak_rule(config.maximum_leak, TRAIN)]
    if tables.drift is not None:
        yield "drift", tables.drift, summary_rules.drift_rules(config, TRAIN, len(splits[TRAIN]))


def _read_reference(config: Validate, root: Path) -> tuple[Profile | None, dict[str, str]]:
    """Return the profile to compare with, and the digest of its file by name."""
    if config.drift is None:
        return None, {}
    name = config.drift.reference
    try:
        content = (root / name).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"params.yaml: validate.drift.reference is {name!r}, which cannot be read: {error.strerror}. "
            "Write it from the registry with `fair-distill data reference`"
        ) from None
    return Profile.from_json(content, name=name), {name: sha256(content)}


def _summary(
    config: Validate, tables: ContractTables, checked: Sequence[TableRules], *, sources: dict[str, str]
) -> Validation:
    columns = [] if tables.columns is None else tables.columns.to_dict("records")
    drift = [] if tables.drift is None else tables.drift.to_dict("records")
    return Validation(
        expectations=sum(len(table.rules) for table in checked),
        failures=(),
        off=tuple(check for check in CHECKS if config.level(check) == "off"),
        cells=_counts(tables.cells),
        imbalance=_by_class(tables.classes, "imbalance"),
        unknown=_by_class(tables.classes, "unknown"),
        profile=tables.profile,
        leak={row["column"]: _number(row["leak"]) for row in columns},
        drift={row["what"]: {"psi": row["psi"], "variation": row["variation"]} for row in drift},
        not_compared=tables.not_compared,
        sources=sources,
        privacy=config.privacy,
    )


def _counts(cells: pd.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for cell in cells.to_dict("records"):
        counts.setdefault(cell["split"], {}).setdefault(cell["class"], {})[cell["group"]] = cell["count"]
    return counts


def _by_class(classes: pd.DataFrame, column: str) -> dict[str, dict[str, float | None]]:
    values: dict[str, dict[str, float | None]] = {}
    for row in classes.to_dict("records"):
        values.setdefault(row["split"], {})[row["class"]] = _number(row[column])
    return values


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
