"""Holds prepared splits against the contract, and says what was seen. What is expected stands in `rules` and `own`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from fair_distill.config import CHECKS, Severity, Validate
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.errors import ConfigError, DataError
from fair_distill.files import sha256
from fair_distill.validation import fact_rules
from fair_distill.validation import rules as ask
from fair_distill.validation.contract_tables import TRAIN, Tables, tables_of
from fair_distill.validation.custom_expectations import OwnRule, own_expectations
from fair_distill.validation.drift import Profile
from fair_distill.validation.expectations import Suite, run
from fair_distill.validation.ids import Ids
from fair_distill.validation.result import Failure, Validation
from fair_distill.validation.rules import Rule

__all__ = ["Contract", "Failure", "Validation", "contract_of", "outcome_of", "validate"]


@dataclass(frozen=True)
class Part:
    """A table, and the rules for it with how much each matters."""

    name: str
    table: pd.DataFrame
    rules: tuple[tuple[Rule, Severity], ...]

    @property
    def suite(self) -> Suite:
        return Suite(self.name, self.table, [(rule.expectation, severity) for rule, severity in self.rules])


@dataclass(frozen=True)
class Contract:
    """Everything that is to be evaluated, and the facts that the outcome will rest on."""

    splits: tuple[str, ...]
    parts: tuple[Part, ...]
    facts: Validation


def validate(
    splits: Mapping[str, GroupedDataset], rules: Validate, *, root: Path = Path(), salt: bytes | None = None
) -> Validation:
    """Return every breach of the contract and the facts it rests on. A breach is a result, not an exception.

    Takes and raises what `contract_of` does, and

    Raises
    ------
    MeasurementError
        If Great Expectations could not evaluate an expectation.
    """
    return outcome_of(contract_of(splits, rules, root=root, salt=salt))


def outcome_of(contract: Contract) -> Validation:
    """Evaluate a contract."""
    outcomes = run([part.suite for part in contract.parts])
    failures = [
        Failure(
            check=rule.check,
            split=found.split,
            expectation=rule.expectation.name,
            column=rule.expectation.column,
            severity=severity,
            label=found.label,
            group=found.group,
            count=found.count,
            examples=found.examples,
            sentence=found.sentence,
        )
        for part, results in zip(contract.parts, outcomes, strict=True)
        for (rule, severity), outcome in zip(part.rules, results, strict=True)
        if not outcome.success
        for found in rule.findings(part.table.iloc[list(outcome.rows)], outcome.observed)
    ]
    failures.sort(key=lambda failure: (failure.severity != "error", contract.splits.index(failure.split)))
    return replace(contract.facts, failures=tuple(failures))


def contract_of(
    splits: Mapping[str, GroupedDataset], rules: Validate, *, root: Path = Path(), salt: bytes | None = None
) -> Contract:
    """Make the tables and the rules.

    Parameters
    ----------
    splits : the prepared splits by name, training data first
        What two of them share is reported for the later one.
    rules : the section `validate` of params.yaml
    root : the folder that files named in `rules` lie in
    salt : for ids, where `rules` say that privacy is restricted; see `ids.salt_of`

    Raises
    ------
    DataError
        If no split is named "train", or a file that `rules` name is not what it should be.
    ConfigError
        If such a file is not there, an expectation cannot be made, or a salt is needed and there is none.
    """
    if TRAIN not in splits:
        raise DataError(f"a split named {TRAIN!r} is needed, got {', '.join(splits) or 'none'}")
    if rules.privacy == "restricted" and salt is None:
        raise ConfigError("params.yaml: validate.privacy is restricted, and no salt was given")
    own = own_expectations(rules, root)
    reference, digest = _reference(rules, root)
    tables = tables_of(splits, rules, reference)
    word = "pair" if splits[TRAIN].ids is None else "example"
    ids = Ids(word, salt if rules.privacy == "restricted" else None)

    parts = [
        Part(name, table, tuple((rule, level) for rule in part if (level := rules.level(rule.check)) != "off"))
        for name, table, part in _parts(splits, rules, tables, ids)
    ]
    for name, expectation, severity in own.expectations:
        for split, table in tables.named(name):
            rule = OwnRule(name, expectation, severity, ids, split)
            parts.append(Part(f"own expectation {len(parts)}", table, ((rule, severity),)))
    return Contract(tuple(splits), tuple(parts), _facts(rules, tables, parts, sources=own.sources | digest))


def _parts(
    splits: Mapping[str, GroupedDataset], rules: Validate, tables: Tables, ids: Ids
) -> Iterator[tuple[str, pd.DataFrame, Sequence[Rule]]]:
    for position, (split, dataset) in enumerate(splits.items()):
        rows, examples = dataset.schema is not None, tables.examples[split]
        unknown = [name for name, known in zip(dataset.groups, dataset.known, strict=True) if not known]
        part = ask.example_rules(
            split,
            classes=rules.classes or dataset.classes,
            groups=[*rules.groups, *unknown] if rules.groups else dataset.groups,
            ids=ids,
            rules=rules,
            rows=rows,
        )
        if dataset.schema is not None:
            part += ask.row_rules(split, dataset.schema, ids=ids, in_train=split == TRAIN)
        if position:
            part += ask.overlap_rules(split, ids=ids, clusters="cluster" in examples, rows=rows)
        yield split, examples, part
    cells, classes = tables.cells, tables.classes
    train = tables.splits.to_dict("records")[list(splits).index(TRAIN)]
    yield "splits", tables.splits, fact_rules.split_rules(rules, train=train)
    # Not to know a group is no group to have examples of.
    known = cells[cells["known"]].reset_index(drop=True)
    yield "cells", known, [fact_rules.SupportRule(rules.minimum_per_cell, tables.examples, ids)]
    in_train = classes[classes["split"] == TRAIN].reset_index(drop=True)
    yield "classes", in_train, [fact_rules.imbalance_rule(rules.maximum_imbalance)]
    if rules.maximum_unknown is not None:
        yield "classes of every split", classes, [fact_rules.unknown_rule(rules.maximum_unknown)]
    if tables.columns is not None:
        yield "columns", tables.columns, [fact_rules.leak_rule(rules.maximum_leak, TRAIN)]
    if tables.drift is not None:
        yield "drift", tables.drift, fact_rules.drift_rules(rules, TRAIN, len(splits[TRAIN]))


def _reference(rules: Validate, root: Path) -> tuple[Profile | None, dict[str, str]]:
    if rules.drift is None:
        return None, {}
    name = rules.drift.reference
    try:
        content = (root / name).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"params.yaml: validate.drift.reference is {name!r}, which cannot be read: {error.strerror}; "
            "`fair-distill data reference` writes one from the registry"
        ) from None
    return Profile.from_json(content, name=name), {name: sha256(content)}


def _facts(rules: Validate, tables: Tables, parts: Sequence[Part], *, sources: dict[str, str]) -> Validation:
    columns = [] if tables.columns is None else tables.columns.to_dict("records")
    drift = [] if tables.drift is None else tables.drift.to_dict("records")
    return Validation(
        expectations=sum(len(part.rules) for part in parts),
        failures=(),
        off=tuple(check for check in CHECKS if rules.level(check) == "off"),
        cells=_counts(tables.cells),
        imbalance=_by_class(tables.classes, "imbalance"),
        unknown=_by_class(tables.classes, "unknown"),
        profile=tables.profile,
        leak={row["column"]: _number(row["leak"]) for row in columns},
        drift={row["what"]: {"psi": row["psi"], "variation": row["variation"]} for row in drift},
        not_compared=tables.not_compared,
        sources=sources,
        privacy=rules.privacy,
    )


def _counts(cells: pd.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for cell in cells.to_dict("records"):
        counts.setdefault(cell["split"], {}).setdefault(cell["class"], {})[cell["group"]] = cell["count"]
    return counts


def _by_class(classes: pd.DataFrame, column: str) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for row in classes.to_dict("records"):
        found.setdefault(row["split"], {})[row["class"]] = _number(row[column])
    return found


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
