"""The texts of a report: numbers with their units, the names of metrics, and the verdict in sentences."""

from fair_distill import text
from fair_distill.gate.metrics import METRICS
from fair_distill.gate.verdict import Finding, Verdict

# A narrow no-break space keeps a number and its unit on one line.
PERCENT = "\u202f%"

OUTCOME_WORDS = {
    "pass": "passes",
    "waived": "passes with a waiver",
    "fail": "fails",
    "inconclusive": "is inconclusive",
    "insufficient": "could not be judged",
}


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction in per cent, or a dash for None."""
    return text.percent(value, digits, unit=PERCENT)


def points(value: float | None, *, signed: bool = False) -> str:
    """Return a difference of fractions in percentage points, without a unit, or a dash for None."""
    return text.percent(value, unit="", signed=signed)


def number(value: float | None) -> str:
    """Return a number with three significant digits, or a dash for None."""
    return text.ABSENT if value is None else f"{value:#.3g}".rstrip(".")


def metric(clause: str) -> str:
    """Return the name of a clause with the title of its metric: `accuracy over full` is `Accuracy over full`."""
    name, _, rest = clause.partition(" ")
    title = METRICS[name].title if name in METRICS else name
    return f"{title} {rest}" if rest else title


def is_gap(name: str) -> bool:
    """Return whether a smaller value of a metric is better."""
    return name in METRICS and METRICS[name].direction == "at_most"


def confidence(verdict: Verdict) -> str:
    """Return the confidence of a verdict as a part of a sentence."""
    if verdict.alpha is None:
        return "by the measured values, without a confidence level"
    return f"with {percent(1 - verdict.alpha)} confidence"


def headline(name: str, verdict: Verdict) -> str:
    """Return the outcome as a short sentence."""
    return f"{name} {OUTCOME_WORDS[verdict.outcome]}."


def lead(verdict: Verdict) -> str:
    """Return the reason for the outcome: the smallest margin, or the first limit that is not satisfied."""
    count, unmet = len(verdict.findings), [finding for finding in verdict.findings if not finding.satisfied]
    if not unmet:
        limits = "The only limit is" if count == 1 else f"All {count} limits are"
        summary = f"{limits} satisfied, {confidence(verdict)}."
        tightest = min(verdict.findings, key=_margin)
        return f"{summary} {_tightest(tightest)}" if tightest.value is not None else summary
    failed = [finding for finding in unmet if finding.outcome == "fail"]
    verb = "is" if len(failed or unmet) == 1 else "are"
    if failed:
        summary = f"{len(failed)} of {count} limits {verb} violated, {confidence(verdict)}."
    else:
        summary = f"{len(unmet)} of {count} limits {verb} not demonstrated."
    waived = " Two people have signed a waiver." if verdict.outcome == "waived" else ""
    return f"{summary} {_unmet(failed[0] if failed else unmet[0])}{waived}"


def _margin(finding: Finding) -> float:
    """Return the distance to the limit as a share of the allowed range."""
    decisive = finding.value if finding.bound is None else finding.bound
    if decisive is None:
        return 1.0
    if is_gap(finding.metric):
        return (finding.limit - decisive) / max(finding.limit, 1e-9)
    return (decisive - finding.limit) / max(1 - finding.limit, 1e-9)


def _tightest(finding: Finding) -> str:
    name = metric(finding.clause)
    if finding.bound is None:
        value = f"measured at {percent(finding.value)}"
    else:
        value = f"{'at most' if is_gap(finding.metric) else 'at least'} {percent(finding.bound)}"
    return f"The smallest margin: {name[0].lower()}{name[1:]} is {value}; the limit is {percent(finding.limit)}."


def _unmet(finding: Finding) -> str:
    name = metric(finding.clause)
    if finding.value is None:
        return f"{name}: {finding.sentence.removeprefix(f'{finding.clause}: ')}."
    bound = "" if finding.bound is None or finding.outcome == "fail" else f" (bound {percent(finding.bound)})"
    culprit = f": {finding.culprits[0].sentence}" if finding.culprits else ""
    return f"{name} is {percent(finding.value)}{bound}; the limit is {percent(finding.limit)}{culprit}."


def day(time: str) -> str:
    """Return the day of a time stamp of the ledger."""
    return time.partition("T")[0]
