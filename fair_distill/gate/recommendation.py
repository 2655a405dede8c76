"""The one recommendation that `gate explain` gives for a whole verdict.

A violation that is shown needs another set, and an undecided set may need another evaluation. There is one
recommendation for all clauses, so it cannot contradict itself.
"""

from fair_distill.gate.advice import CHANCE, Advice, Evaluation
from fair_distill.gate.metrics import METRICS
from fair_distill.gate.remedies import value_remedy
from fair_distill.gate.set_kind import SetKind
from fair_distill.gate.verdict import Finding, Verdict


def recommend(verdict: Verdict, kind: SetKind, advice: Advice | None = None) -> list[str]:
    """Return the lines of the recommendation; none if the set passes.

    Parameters
    ----------
    kind : how the set was made
    advice : the simulated evaluations, for an undecided set
    """
    unmet = [finding for finding in verdict.findings if not finding.satisfied and finding.waiver is None]
    failing = [finding for finding in unmet if finding.outcome == "fail"]
    insufficient = [finding for finding in unmet if finding.outcome == "insufficient"]
    if not unmet:
        return []
    if failing:
        clauses = ", ".join(finding.clause for finding in failing)
        shown = "" if verdict.alpha is None else ", which is shown, so another evaluation would not help"
        return [f"recommendation: the set violates {clauses}{shown}; {_change(failing, kind)}"]
    if insufficient:
        return [f"recommendation: first provide the evidence that is missing for {insufficient[0].clause}, see above"]
    return [] if advice is None else _for_undecided(verdict, unmet, kind, advice)


def _for_undecided(verdict: Verdict, unmet: list[Finding], kind: SetKind, advice: Advice) -> list[str]:
    if advice.best is None:
        return [
            f"recommendation: evaluate with more seeds or more examples, whichever limits a clause; {_omitted(advice)}"
        ]
    if advice.proposed is None:
        return _no_evaluation(unmet, kind, advice, advice.best)
    clauses = f"all other clauses pass then; {_omitted(advice)}" if advice.omitted else "all clauses pass then"
    return [
        f"recommendation: evaluate with {_size(advice.proposed, advice)}; in {100 * advice.proposed.chance:.0f} % of "
        f"simulated evaluations {clauses}",
        *_cost(verdict, advice),
    ]


def _omitted(advice: Advice) -> str:
    """Return the clauses without a simulation and the seeds that they need at least."""
    each = [
        f"{name}{'' if least is None else f' (at least {least:,} seeds)'}" for name, least in advice.omitted.items()
    ]
    return f"not simulated: {', '.join(each)}"


def needs_simulation(verdict: Verdict) -> bool:
    """Return whether `recommend` can use simulated evaluations: the set is undecided, and nothing else is missing."""
    return verdict.outcome == "inconclusive" and verdict.alpha is not None


def _no_evaluation(unmet: list[Finding], kind: SetKind, advice: Advice, best: Evaluation) -> list[str]:
    return [
        f"recommendation: no simulated evaluation passes all clauses with a chance of {100 * CHANCE:.0f} %; the best "
        f"chance is {100 * best.chance:.0f} %, with {_size(best, advice)}, and {best.hardest} passes least often. "
        f"Change the set: {_change(unmet, kind)}"
    ]


def _change(findings: list[Finding], kind: SetKind) -> str:
    """Return what could change the set. One change for all clauses: that for a gap, if some clause limits a gap."""
    from_predictions = [finding for finding in findings if METRICS[finding.metric].computed_from == "predictions"]
    if not from_predictions:
        return findings[0].culprits[0].remedy if findings[0].culprits else findings[0].sentence
    return value_remedy(kind, is_gap=any(METRICS[finding.metric].is_gap for finding in from_predictions))


def _size(evaluation: Evaluation, advice: Advice) -> str:
    parts = []
    if evaluation.seeds > advice.seeds:
        parts.append(f"{evaluation.seeds} seeds (evaluate.seeds, now {advice.seeds})")
    if evaluation.examples > 1:
        parts.append(f"{evaluation.examples:g} times the examples in the gate split")
    return " and ".join(parts)


def _cost(verdict: Verdict, advice: Advice) -> list[str]:
    return [
        f"  that is the next attempt at this split, so it is simulated at alpha {advice.alpha:.2g} instead of "
        f"{verdict.alpha:.2g}. For the next set, evaluate with the final numbers of seeds and examples from the start, "
        "or plan several attempts (gate.attempts)"
    ]
