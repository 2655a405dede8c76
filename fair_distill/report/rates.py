"""The recall of each class in each group, as `evaluate` wrote it, and as a Markdown table for the page of a run."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from fair_distill.text import ABSENT, markdown, markdown_table, percent

_BLOCKS = 10


@dataclass(frozen=True)
class Rate:
    """The recall of one class in one group, for one network; None if the group has no example of the class."""

    network: str
    label: str
    group: str
    examples: int
    recall: float | None


def read_rates(content: bytes) -> list[Rate]:
    """Read artifacts/rates/SET.csv."""
    return [
        Rate(
            row["network"],
            row["class"],
            row["group"],
            int(row["examples"]),
            float(row["recall"]) if row["recall"] else None,
        )
        for row in csv.DictReader(io.StringIO(content.decode()))
    ]


def rates_markdown(rates: Sequence[Rate]) -> str:
    """Return a table for each network, with a row for each class and a column for each group.

    A bar next to each recall makes rows easy to compare; the last column is the largest difference between groups.
    """
    groups = list(dict.fromkeys(rate.group for rate in rates))
    cells = {(rate.network, rate.label, rate.group): rate for rate in rates}
    blocks = []
    for network in dict.fromkeys(rate.network for rate in rates):
        labels = dict.fromkeys(rate.label for rate in rates if rate.network == network)
        rows = []
        for label in labels:
            recalls = [cells[network, label, group].recall for group in groups if (network, label, group) in cells]
            known = [recall for recall in recalls if recall is not None]
            gap = max(known) - min(known) if len(known) > 1 else None
            rows.append(
                [
                    markdown(label),
                    *(_cell(cells.get((network, label, group))) for group in groups),
                    percent(gap, unit=""),
                ]
            )
        header = ["class", *map(markdown, groups), "largest gap, points"]
        blocks.append(f"### {markdown(network)}\n\n{markdown_table(header, rows, align='l' * (1 + len(groups)) + 'r')}")
    return "\n".join(blocks)


def _cell(rate: Rate | None) -> str:
    if rate is None or rate.recall is None:
        return ABSENT
    filled = round(_BLOCKS * rate.recall)
    return f"{'█' * filled}{'░' * (_BLOCKS - filled)} {percent(rate.recall)}"
