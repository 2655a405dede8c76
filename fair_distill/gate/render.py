"""A verdict for people and machines: Markdown for a pull request, JUnit XML for a CI server. It decides nothing."""

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.verdict import Finding, Group, Verdict
from fair_distill.text import markdown as escaped

# GitHub cuts comments at 65,536 characters; other servers count bytes.
MOST_BYTES = 60_000
_MOST_GROUPS = 60
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def markdown(name: str, verdict: Verdict, *, change: str = "") -> str:
    """Return a summary of at most 60 kB.

    Parameters
    ----------
    change : how the policy differs from the one on the base branch, as a diff; shown if there is any
    """
    blocks = [
        _head(name, verdict),
        _table(
            ["clause", "outcome", "value", "bound", "limit", "by chance", "mean of seeds"],
            (_clause(finding) for finding in verdict.findings),
        ),
        *_reasons(verdict),
        *_changed(change),
        *_groups(verdict),
        *_compared(verdict),
        _digests(verdict),
    ]
    whole = ""
    for block in blocks:
        if len((whole + block).encode()) > MOST_BYTES - 200:
            whole += (
                "…the rest does not fit into a comment: `fair-distill gate explain` and the verdict's JSON have all.\n"
            )
            break
        whole += block + "\n"
    return whole


def without_verdict(name: str, message: str, *, change: str = "") -> str:
    """Return a summary for a set on which there is no verdict: the error, and how the rules differ."""
    return "\n".join([f"## {_text(name)}: no verdict\n\n{_text(message)}\n", *_changed(change)])


def _head(name: str, verdict: Verdict) -> str:
    sure = (
        "**mode: point: bare numbers, no confidence**"
        if verdict.alpha is None
        else f"{100 * (1 - verdict.alpha):.1f} % confidence (attempt {verdict.attempt} at this split)"
    )
    waived = [finding for finding in verdict.findings if finding.waiver]
    lines = [f"## {_text(name)}: {verdict.outcome.upper()}", "", sure, ""]
    lines += [f"- **waived**: {_text(finding.clause)}: {_text(finding.waiver or '')}" for finding in waived]
    lines += [f"- **warning**: {_text(warning)}" for warning in verdict.warnings]
    return "\n".join([*lines, ""] if waived or verdict.warnings else lines)


def _clause(finding: Finding) -> list[str]:
    outcome = f"{finding.outcome} (waived)" if finding.waiver else finding.outcome
    numbers = (finding.value, finding.bound, finding.limit, finding.noise, finding.per_seed)
    return [_text(finding.clause), outcome, *map(_number, numbers)]


def _reasons(verdict: Verdict) -> list[str]:
    blocks = []
    for finding in verdict.findings:
        if finding.kept:
            continue
        lines = [f"**{_text(finding.clause)}**: {_text(finding.sentence.removeprefix(f'{finding.clause}: '))}", ""]
        lines += [f"- {_text(culprit.sentence)}: {_text(culprit.remedy)}" for culprit in finding.culprits[1:]]
        blocks.append("\n".join([*lines, ""]))
    return blocks


def _changed(change: str) -> list[str]:
    if not change.strip():
        return []
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", change)), default=0))
    shown = change if len(change.encode()) <= MOST_BYTES // 3 else change[: MOST_BYTES // 6] + "\n…"
    return [
        "**This change touches the rules.** The verdict above uses those of the base branch.\n\n"
        f"{fence}diff\n{shown.rstrip()}\n{fence}\n"
    ]


def _groups(verdict: Verdict) -> list[str]:
    rows = _worst_first(verdict)
    shown = [
        [
            _text(row.group),
            _text(row.network),
            f"{row.examples:,}",
            f"{row.clusters:,}",
            _number(row.accuracy),
            "–" if row.low is None else f"{_number(row.low)} to {_number(row.high)}",
        ]
        for row in rows[:_MOST_GROUPS]
    ]
    left = f"\n{len(rows) - len(shown)} more groups in the verdict's JSON.\n" if len(rows) > len(shown) else ""
    return [_table(["group", "network", "n", "independent", "accuracy", "interval"], shown) + left]


def _group_lines(verdict: Verdict) -> list[str]:
    """The table of groups as plain text, the worst first."""
    lines = [f"{verdict.outcome.upper()}: set {verdict.set}, split {verdict.split}"]
    for row in _worst_first(verdict)[:_MOST_GROUPS]:
        interval = "" if row.low is None else f" ({_number(row.low)} to {_number(row.high)})"
        lines.append(
            f"{row.group}, {row.network}: accuracy {_number(row.accuracy)}{interval}, "
            f"n {row.examples:,}, independent {row.clusters:,}"
        )
    return lines


def _worst_first(verdict: Verdict) -> list[Group]:
    return sorted(verdict.groups, key=lambda row: (row.accuracy is not None, row.accuracy or 0, row.network, row.group))


def _compared(verdict: Verdict) -> list[str]:
    if not verdict.compared:
        return []
    header = ["metric", "network", "this set"]
    others = sorted(verdict.compared)
    for name in others:
        header += [_text(name), "Δ"]
    rows = []
    for network in sorted(verdict.numbers):
        for metric in PREDICTION_METRICS:
            value = verdict.numbers[network][metric]["value"]
            row = [metric, _text(network), _number(value)]
            for name in others:
                theirs = verdict.compared[name].get(network, {}).get(metric)
                row += [_number(theirs), _number(_minus(value, theirs), signed=True)]
            rows.append(row)
    return [_table(header, rows)]


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _digests(verdict: Verdict) -> str:
    named = {
        "verdict": verdict.digest,
        "set": verdict.set,
        "split": verdict.split,
        "predictions": verdict.predictions,
        "policy": verdict.policy,
        "policy floor": verdict.policy_floor,
        "context": verdict.context,
        **dict(sorted(verdict.references.items())),
    }
    told = [f"{_text(name)} `{digest[:12]}`" for name, digest in named.items() if digest]
    return f"<sub>{' · '.join(told)} · engine {verdict.engine}</sub>\n"


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _number(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def _text(value: str) -> str:
    """A name from somebody's data, as text: no markup, no link, no mention, no second line."""
    return escaped(" ".join(value.split()))


def junit(name: str, verdict: Verdict) -> str:
    """Return JUnit XML: a test case per clause; what could not be shown is a failure too, what is waived is skipped.

    What the suite says at the end is the table of groups, with n and intervals.
    """
    suite = ElementTree.Element("testsuite", name=_xml(f"fair-distill gate: {name}"), tests=str(len(verdict.findings)))
    failures = skipped = 0
    for finding in verdict.findings:
        case = ElementTree.SubElement(
            suite, "testcase", name=_xml(finding.clause), classname=_xml(f"gate.{name}.{finding.network}")
        )
        told = "\n".join([finding.sentence, *(f"{c.sentence}; {c.remedy}" for c in finding.culprits[1:])])
        if finding.waiver:
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=_xml(finding.sentence))
        elif not finding.kept:
            failures += 1
            failure = ElementTree.SubElement(case, "failure", type=finding.outcome, message=_xml(finding.sentence))
            failure.text = _xml(told)
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(told)
    ElementTree.SubElement(suite, "system-out").text = _xml("\n".join(_group_lines(verdict)))
    suite.set("failures", str(failures))
    suite.set("errors", "0")
    suite.set("skipped", str(skipped))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
