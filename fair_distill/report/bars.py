"""How each class fares in each group, as bars: an SVG without scripts, fonts or links, for run pages."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# Okabe and Ito's colours, which colour-blind people tell apart, less the yellow that white paper swallows.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
_LEFT, _BAR, _GAP, _WIDE = 130, 12, 10, 420


@dataclass(frozen=True)
class Rate:
    """The share of a class that is recognised in a group; None where the cell is empty."""

    network: str
    label: str
    group: str
    examples: int
    recall: float | None

    @property
    def shown(self) -> str:
        return "–" if self.recall is None else f"{100 * self.recall:.1f} %"


def read_rates(content: bytes) -> list[Rate]:
    """Read what `evaluate` wrote: artifacts/rates/SET.csv."""
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


def bars_svg(rates: Sequence[Rate], *, title: str) -> str:
    """Return bars, one a group, under each class of each network; the numbers stand beside them."""
    groups = list(dict.fromkeys(rate.group for rate in rates))
    cells = {(rate.network, rate.label, rate.group): rate for rate in rates}
    places = list(dict.fromkeys((rate.network, rate.label) for rate in rates))
    parts, top = [], 40
    for i, group in enumerate(groups):
        x = _LEFT + i * 110
        parts.append(f'<rect x="{x}" y="14" width="12" height="12" fill="{_COLOURS[i % len(_COLOURS)]}"/>')
        parts.append(f'<text x="{x + 18}" y="24">{escape(group)}</text>')
    before = None
    for network, label in places:
        if network != before:
            parts.append(f'<text x="0" y="{top + 12}" font-weight="bold">{escape(network)}</text>')
            top, before = top + 22, network
        middle = top + len(groups) * _BAR / 2 + 4
        parts.append(f'<text x="{_LEFT - 10}" y="{middle}" text-anchor="end">{escape(label)}</text>')
        for i, group in enumerate(groups):
            rate = cells.get((network, label, group))
            wide = _WIDE * (rate.recall or 0) if rate else 0
            colour = _COLOURS[i % len(_COLOURS)]
            parts.append(
                f'<rect x="{_LEFT}" y="{top}" width="{wide:.1f}" height="{_BAR - 1}" fill="{colour}"/>'
                f'<text x="{_LEFT + wide + 6:.1f}" y="{top + 9}" font-size="10">{rate.shown if rate else "–"}</text>'
            )
            top += _BAR
        top += _GAP
    width = max(_LEFT + _WIDE + 60, _LEFT + 110 * len(groups))
    told = f"{title}: recall of each class in each group"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="12"><title>{escape(told)}</title>'
        f'<rect width="{width}" height="{top}" fill="white"/>{"".join(parts)}</svg>\n'
    )
