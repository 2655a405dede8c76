"""A team's own expectations: entries of `validate.own`, and suites in files as Great Expectations writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fair_distill.config import Severity, Validate
from fair_distill.errors import ConfigError, DataError
from fair_distill.files import parse_json, sha256
from fair_distill.plugins import custom_source_digests
from fair_distill.validation.expectations import Expectation
from fair_distill.validation.ids import IdFormatter
from fair_distill.validation.rule import Finding, counted

CHECK = "own"
_NAMED_ROWS = 5
# A critical expectation refuses the data. Warnings and information do not.
_SEVERITIES: dict[str, Severity] = {"critical": "error", "warning": "warn", "info": "warn"}


@dataclass(frozen=True)
class CustomRule:
    """A team's expectation about one table.

    Attributes
    ----------
    split : the split whose examples the table has; None for another table, whose rows name the split
    """

    table: str
    expectation: Expectation
    severity: Severity
    ids: IdFormatter
    split: str | None = None
    check: str = CHECK

    def findings(self, rows: pd.DataFrame, observed: object) -> list[Finding]:
        column = self.expectation.column
        rule = f"{self.expectation.name} on {column}" if column else self.expectation.name
        remedy = f"Correct the data, or params.yaml: {self.expectation.where}"
        if "id" in rows and len(rows):
            split, ids = self.split or self.table, rows["id"].tolist()
            sentence = f"{split} has {counted(len(rows))} violating {rule} ({self.ids.phrase(ids)}). {remedy}"
            return [Finding(split, sentence, len(rows), examples=self.ids.sample(ids))]
        splits = rows["split"].unique().tolist() if "split" in rows and len(rows) else [self.split or "train"]
        findings = []
        for split in splits:
            violations = rows[rows["split"] == split] if "split" in rows else rows
            names = [_row_name(row) for row in violations.head(_NAMED_ROWS).to_dict("records")]
            detail = f" ({'; '.join(names)})" if names else ""
            # An observed value may be the value of a single example, which restricted data must not show.
            if observed is not None and self.ids.is_open and not names:
                detail = f", with the observed value {observed!r}"
            sentence = f"the table {self.table} of {split} violates {rule}{detail}. {remedy}"
            findings.append(Finding(split, sentence, len(violations)))
        return findings


def _row_name(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {row[key]!r}" for key in ("class", "group", "column", "what") if key in row)


@dataclass(frozen=True)
class CustomExpectations:
    """Expectations with their tables and severities, in the order of params.yaml.

    Attributes
    ----------
    sources : the SHA-256 of each file and module, by its name in params.yaml
    """

    expectations: tuple[tuple[str, Expectation, Severity], ...]
    sources: dict[str, str]


def read_custom_expectations(config: Validate, root: Path) -> CustomExpectations:
    """Read the expectations that params.yaml names.

    The classes of `validate.own` are registered first, since a suite's file may use them.

    Raises
    ------
    ConfigError, DataError
        If a file is missing, or is not a suite.
    """
    expectations: list[tuple[str, Expectation, Severity]] = [
        (entry.table, Expectation(entry.name, entry.arguments, f"validate.own.{i}", custom=True), entry.severity)
        for i, entry in enumerate(config.own)
    ]
    sources = custom_source_digests([entry.model_dump() for entry in config.own])
    for table, name in config.suite.items():
        where = f"validate.suite.{table}"
        try:
            content = (root / name).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"params.yaml: {where} is {name!r}, which cannot be read: {error.strerror}. Correct the path"
            ) from None
        expectations += [(table, *entry) for entry in _read_suite(content, where, name)]
        sources[name] = sha256(content)
    return CustomExpectations(tuple(expectations), sources)


def _read_suite(content: bytes, where: str, name: str) -> list[tuple[Expectation, Severity]]:
    suite = parse_json(content, name=name)
    try:
        return [
            (
                Expectation(str(entry["type"]), dict(entry["kwargs"]), where),
                _SEVERITIES[entry.get("severity", "critical")],
            )
            for entry in suite["expectations"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{name} is not a suite of Great Expectations ({error!r}). Write one with suite.to_json_dict(), or remove "
            f"params.yaml: {where}"
        ) from None
