"""The tables of suspected label errors in the training split."""

from collections.abc import Mapping
from typing import Any

from fair_distill.report.render import Table
from fair_distill.report.wording import percent
from fair_distill.text import ABSENT


def label_tables(audit: Mapping[str, Any] | None) -> list[Table]:
    """Return a table by group and a table by class and group; none without an audit."""
    if audit is None:
        return []
    by_group = Table(
        "Suspected label errors of each group",
        ("group", "examples", "suspected", "share", "interval, 95 %", "really wrong", "error rate", "interval"),
        tuple(
            (
                row["group"] + (" (significantly more than the others)" if row["is_high"] else ""),
                *_share(row["suspected"]),
                _precision(row),
                percent(row["error_rate"]["value"]),
                _interval(row["error_rate"]),
            )
            for row in audit["groups"]
        ),
    )
    by_cell = Table(
        "Suspected label errors of each class and group",
        ("class", "group", "examples", "suspected", "share", "interval, 95 %", "really wrong"),
        tuple((row["label"], row["group"], *_share(row["suspected"]), _precision(row)) for row in audit["cells"]),
        words=2,
    )
    return [by_group, by_cell]


def _share(share: Mapping[str, Any]) -> tuple[str, ...]:
    return f"{share['total']:,}", f"{share['count']:,}", percent(share["value"]), _interval(share)


def _interval(share: Mapping[str, Any]) -> str:
    return f"{percent(share['low'])} to {percent(share['high'])}"


def _precision(row: Mapping[str, Any]) -> str:
    return ABSENT if row["precision"] is None else percent(row["precision"])
