"""The lines that `fair-distill gate explain` prints for a verdict."""

from fair_distill.gate.verdict import Finding, Verdict


def explain(verdict: Verdict) -> list[str]:
    """Return for each clause the finding, its noise floor, and every further culprit with its remedy."""
    return [line for finding in verdict.findings for line in _lines(finding)]


def _lines(finding: Finding) -> list[str]:
    lines = [f"{finding.outcome.upper()}: {finding.sentence}"]
    if finding.noise is not None and finding.per_seed is not None:
        lines.append(
            f"  a perfectly fair classifier would show {finding.noise:.3f} here by chance; "
            f"the mean of each seed's own figure is {finding.per_seed:.3f}"
        )
    for culprit in finding.culprits[1:]:
        bound = "" if culprit.bound is None else f", bound {culprit.bound:.3f}"
        lines.append(
            f"  also: {culprit.sentence} ({culprit.value:.3f}{bound}, limit {finding.limit:.3f}); {culprit.remedy}"
        )
    return lines
