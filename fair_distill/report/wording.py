"""How the report says things: numbers with their units, metrics in words, the verdict in a sentence."""

from fair_distill.gate.metrics import METRICS
from fair_distill.gate.verdict import Finding, Verdict

# A number and its unit stay on one line.
_NARROW = "\u202f"

OUTCOME_WORDS = {
    "pass": "passes",
    "waived": "passes, by waiver",
    "fail": "is refused",
    "inconclusive": "is not shown to keep its limits",
    "insufficient": "could not be judged",
}


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction in per cent; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.{digits}f}{_NARROW}%"


def points(value: float | None) -> str:
    """Return a difference of fractions in percentage points."""
    return "–" if value is None else f"{100 * value:.1f}"


def number(value: float | None) -> str:
    """Return a length, to three digits that count."""
    return "–" if value is None else f"{value:#.3g}".rstrip(".")


def metric(name: str) -> str:
    """Return a metric, or a clause that begins with one, in words."""
    first, _, rest = name.partition(" ")
    known = METRICS.get(first)
    return " ".join(filter(None, (first if known is None else known.title, rest)))


def is_gap(name: str) -> bool:
    """Return whether a smaller value of a metric is better."""
    return name in METRICS and METRICS[name].direction == "at_most"


def sure(verdict: Verdict) -> str:
    return (
        "by bare numbers, with no confidence"
        if verdict.alpha is None
        else f"with {percent(1 - verdict.alpha)} confidence"
    )


def headline(name: str, verdict: Verdict) -> str:
    """Say how it ended, in a few words."""
    return f"{name} {OUTCOME_WORDS[verdict.outcome]}."


def lead(verdict: Verdict) -> str:
    """Say why it ended so: what was kept and how closely, or what was not."""
    all_of, unmet = len(verdict.findings), [finding for finding in verdict.findings if not finding.kept]
    if not unmet:
        limits = "The one limit is" if all_of == 1 else f"All {all_of} limits are"
        told = f"{limits} kept, {sure(verdict)}."
        tightest = min(verdict.findings, key=_room)
        return f"{told} {_closest(tightest)}" if tightest.value is not None else told
    first = unmet[0]
    broken = sum(finding.outcome == "fail" for finding in unmet)
    if broken:
        told = f"{broken} of {all_of} limits {'is' if broken == 1 else 'are'} broken, {sure(verdict)}."
        first = next(finding for finding in unmet if finding.outcome == "fail")
    else:
        told = f"{len(unmet)} of {all_of} limits {'is' if len(unmet) == 1 else 'are'} not shown to be kept."
    waived = " Two people stand by it by name." if verdict.outcome == "waived" else ""
    return f"{told} {_missed(first)}{waived}"


def _room(finding: Finding) -> float:
    """How far what decides lies from the limit, as a share of what lies on the right side of it."""
    decides = finding.value if finding.bound is None else finding.bound
    if decides is None:
        return 1.0
    if is_gap(finding.metric):
        return (finding.limit - decides) / max(finding.limit, 1e-9)
    return (decides - finding.limit) / max(1 - finding.limit, 1e-9)


def _closest(finding: Finding) -> str:
    decides = finding.value if finding.bound is None else finding.bound
    side = ("at most" if is_gap(finding.metric) else "at least") if finding.bound is not None else "measured at"
    what = metric(finding.clause)
    told = f"{what[0].lower()}{what[1:]}, {side} {percent(decides)}"
    return f"The closest call: {told} against a limit of {percent(finding.limit)}."


def _missed(finding: Finding) -> str:
    what = metric(finding.clause)
    if finding.value is None:
        return f"{what}: {finding.sentence.removeprefix(f'{finding.clause}: ')}."
    where = f": {finding.culprits[0].sentence}" if finding.culprits else ""
    bound = "" if finding.bound is None or finding.outcome == "fail" else f", which may be {percent(finding.bound)}"
    return f"{what}: {percent(finding.value)}{bound}, against a limit of {percent(finding.limit)}{where}."


def date_of(time: str) -> str:
    """Return the day of a time as the ledger writes it."""
    return time.partition("T")[0]
