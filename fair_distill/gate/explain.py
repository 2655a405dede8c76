"""The lines that `fair-distill gate explain` prints for a verdict."""

from fair_distill.gate.verdict import Finding, Verdict


def explain(verdict: Verdict) -> list[str]:
    """Return for each clause how it ended, every culprit with a remedy, and the noise floor."""
    return [line for finding in verdict.findings for line in _lines(finding)]


def _lines(finding: Finding) -> list[str]:
    lines = [f"{finding.outcome.upper()}: {_without_culprit(finding)}"]
    for number, culprit in enumerate(finding.culprits):
        bound = "" if culprit.bound is None else f", bound {culprit.bound:.3f}"
        numbers = f" ({culprit.value:.3f}{bound}, limit {finding.limit:.3f})" if number else ""
        lines += [f"  - {culprit.sentence}{numbers}", f"    remedy: {culprit.remedy}"]
    if finding.noise is not None and finding.per_seed is not None:
        lines.append(
            f"  noise floor: {finding.noise:.3f}, which a perfectly fair classifier would show by chance; "
            f"mean over seeds: {finding.per_seed:.3f}"
        )
    return lines


def _without_culprit(finding: Finding) -> str:
    """Return the sentence of a finding without its first culprit, which is printed on separate lines."""
    if not finding.culprits:
        return finding.sentence
    first = finding.culprits[0]
    return finding.sentence.replace(f"; {first.sentence}; {first.remedy}", "", 1)
