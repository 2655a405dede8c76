"""A team's own expectations: suites in files as Great Expectations writes them, and further ones by name."""

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
from fair_distill.validation.ids import Ids
from fair_distill.validation.rules import Finding, counted

CHECK = "own"
# What Great Expectations calls critical refuses the data; what it calls warning or info does not.
_SEVERITIES: dict[str, Severity] = {"critical": "error", "warning": "warn", "info": "warn"}


@dataclass(frozen=True)
class OwnRule:
    """An expectation of one's own, for one table.

    Attributes
    ----------
    split : whose examples the table has; None for a table of facts, whose rows say it
    """

    table: str
    expectation: Expectation
    severity: Severity
    ids: Ids
    split: str | None = None
    check: str = CHECK

    def findings(self, rows: pd.DataFrame, observed: object) -> list[Finding]:
        column = self.expectation.column
        what = f"{self.expectation.name} of {column}" if column else self.expectation.name
        remedy = f"Mend the data, or params.yaml: {self.expectation.where}"
        if "id" in rows and len(rows):
            split, ids = self.split or self.table, rows["id"].tolist()
            sentence = f"{counted(len(rows))} in {split} against {what} ({self.ids.named(ids)}). {remedy}"
            return [Finding(split, sentence, len(rows), examples=self.ids.shown(ids))]
        splits = rows["split"].unique().tolist() if "split" in rows and len(rows) else [self.split or "train"]
        found = []
        for split in splits:
            those = rows[rows["split"] == split] if "split" in rows else rows
            named = [_named(row) for row in those.head(5).to_dict("records")]
            saw = f" ({'; '.join(named)})" if named else ""
            # A value of one example would be one too many.
            saw = f"; observed was {observed!r}" if observed is not None and self.ids.open and not saw else saw
            sentence = f"the table of {self.table} in {split} is against {what}{saw}. {remedy}"
            found.append(Finding(split, sentence, len(those)))
        return found


def _named(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {row[key]!r}" for key in ("class", "group", "column", "what") if key in row)


@dataclass(frozen=True)
class Own:
    """Expectations by table, in the order in which they are written, and what they were read from.

    Attributes
    ----------
    sources : SHA-256 of each file, by the name that params.yaml has for it
    """

    expectations: tuple[tuple[str, Expectation, Severity], ...]
    sources: dict[str, str]


def own_expectations(rules: Validate, root: Path) -> Own:
    """Read what params.yaml names: `validate.own` first, since a suite's file may use a class that is named there.

    Raises
    ------
    ConfigError, DataError
        If a file is not there, or is no suite.
    """
    found: list[tuple[str, Expectation, Severity]] = [
        (own.table, Expectation(own.name, own.arguments, f"validate.own.{i}", custom=True), own.severity)
        for i, own in enumerate(rules.own)
    ]
    sources = custom_source_digests([own.model_dump() for own in rules.own])
    for table, name in rules.suite.items():
        where = f"validate.suite.{table}"
        try:
            content = (root / name).read_bytes()
        except OSError as error:
            raise ConfigError(f"params.yaml: {where} is {name!r}, which cannot be read: {error.strerror}") from None
        found += [(table, *read) for read in _read(content, where, name)]
        sources[name] = sha256(content)
    return Own(tuple(found), sources)


def _read(content: bytes, where: str, name: str) -> list[tuple[Expectation, Severity]]:
    written = parse_json(content, name=name)
    try:
        return [
            (
                Expectation(str(entry["type"]), dict(entry["kwargs"]), where),
                _SEVERITIES[entry.get("severity", "critical")],
            )
            for entry in written["expectations"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{name} is no suite as Great Expectations writes it ({error!r}); write one with suite.to_json_dict(), or "
            f"take it out of params.yaml: {where}"
        ) from None
