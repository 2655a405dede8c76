"""The page on a sweep: the metrics of every candidate on the tune split, and the verdict on the chosen candidate."""

from collections.abc import Sequence

from fair_distill.config import Gate
from fair_distill.gate.metrics import ACCURACY
from fair_distill.report import figures, wording
from fair_distill.report.render import Table, render
from fair_distill.report.report_data import SweepCandidate, choose_gap_metric, limit_on


def sweep_page(
    dataset: str, candidates: Sequence[SweepCandidate], policy: Gate, *, chosen: str | None, outcome: str | None
) -> bytes:
    """Return the page as HTML.

    Parameters
    ----------
    chosen : the candidate that was judged on the gate split; None if none is expected to pass
    outcome : of its verdict; None without a chosen candidate

    Raises
    ------
    ConfigError
        If Jinja is not installed.
    """
    gap = choose_gap_metric(policy)
    limit, floor = limit_on(policy, gap), limit_on(policy, ACCURACY.name)
    winner = next((candidate for candidate in candidates if candidate.name == chosen), None)
    return render(
        "sweep.html.j2",
        {
            "title": f"{dataset}: the smallest set that is expected to pass",
            "dataset": dataset,
            "chosen": winner,
            "outcome": outcome,
            "lead": _lead(candidates, winner, outcome),
            "limited": limit is not None,
            "figure": figures.sweep(candidates, gap, limit, floor, chosen),
            "candidates": _table(candidates, gap),
        },
    )


def _lead(candidates: Sequence[SweepCandidate], chosen: SweepCandidate | None, outcome: str | None) -> str:
    if chosen is None:
        return (
            f"None of {len(candidates):,} candidates is expected to pass, so the gate split was not used. "
            "Add larger candidates."
        )
    smaller = sum(candidate.examples < chosen.examples for candidate in candidates)
    return (
        f"It has {chosen.examples:,} examples. {smaller:,} of {len(candidates):,} candidates are smaller; according to "
        "the tune split, none of them is expected to satisfy every limit. On the gate split, the chosen set "
        f"{wording.OUTCOME_WORDS[outcome or '']}."
    )


def _table(candidates: Sequence[SweepCandidate], gap: str) -> Table:
    """Return the table of candidates, sorted by size and then by margin."""
    other_clauses = [clause for clause in candidates[0].values if clause not in (ACCURACY.name, gap)]
    return Table(
        "All candidates on the tune split, the smallest first",
        (
            "candidate",
            "examples",
            "accuracy",
            wording.metric(gap).lower(),
            "margin, points",
            *(wording.metric(clause).lower() for clause in other_clauses),
        ),
        tuple(
            (
                candidate.name,
                f"{candidate.examples:,}",
                wording.percent(candidate.accuracy),
                wording.percent(candidate.gap),
                wording.points(candidate.margin, signed=True),
                *(wording.percent(candidate.values[clause]) for clause in other_clauses),
            )
            for candidate in sorted(
                candidates,
                key=lambda candidate: (
                    candidate.examples,
                    -1.0 if candidate.margin is None else -candidate.margin,
                    candidate.name,
                ),
            )
        ),
    )
