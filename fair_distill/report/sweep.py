"""The page on a sweep: every candidate as the tune split shows it, and what became of the one that was chosen."""

from collections.abc import Sequence

from fair_distill.config import Gate
from fair_distill.gate.metrics import ACCURACY
from fair_distill.report import figures, wording
from fair_distill.report.render import Table, render
from fair_distill.report.report_data import Swept, gated, limit_on


def sweep_page(
    dataset: str, points: Sequence[Swept], policy: Gate, *, chosen: str | None, outcome: str | None
) -> bytes:
    """Return the page as HTML.

    Parameters
    ----------
    chosen : the name of the candidate that was judged on the gate split; None if none should have passed
    outcome : of its verdict

    Raises
    ------
    ConfigError
        If Jinja is not installed.
    """
    gap = gated(policy)
    limit, floor = limit_on(policy, gap), limit_on(policy, ACCURACY.name)
    own = next((one for one in points if one.name == chosen), None)
    return render(
        "sweep.html.j2",
        {
            "title": f"{dataset}: the smallest set that should pass",
            "dataset": dataset,
            "own": own,
            "outcome": outcome,
            "lead": _lead(points, own, outcome),
            "limited": limit is not None,
            "figure": figures.swept(points, gap, limit, floor, chosen),
            "table_of": _table(points, gap),
        },
    )


def _lead(points: Sequence[Swept], own: Swept | None, outcome: str | None) -> str:
    if own is None:
        return f"None of {len(points):,} candidates should pass, so the gate split was not looked at. Add larger ones."
    smaller = sum(one.examples < own.examples for one in points)
    ended = wording.OUTCOME_WORDS[outcome or ""]
    return (
        f"It has {own.examples:,} examples. Of {len(points):,} candidates {smaller:,} are smaller, and by the tune "
        f"split none of those should keep every limit. Judged on the gate split, it {ended}."
    )


def _table(points: Sequence[Swept], gap: str) -> Table:
    """The smallest first; of those of a size, the ones that keep their limits best."""
    others = [clause for clause in points[0].values if clause not in (ACCURACY.name, gap)]
    return Table(
        "Every candidate on the tune split, the smallest first",
        (
            "candidate",
            "examples",
            "accuracy",
            wording.metric(gap).lower(),
            "margin, points",
            *(wording.metric(clause).lower() for clause in others),
        ),
        tuple(
            (
                one.name,
                f"{one.examples:,}",
                wording.percent(one.accuracy),
                wording.percent(one.gap),
                "–" if one.margin is None else f"{100 * one.margin:+.1f}",
                *(wording.percent(one.values[clause]) for clause in others),
            )
            for one in sorted(
                points, key=lambda one: (one.examples, -1.0 if one.margin is None else -one.margin, one.name)
            )
        ),
    )
