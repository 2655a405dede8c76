"""A verdict as Markdown for a pull request, and as JUnit XML for a CI server. Nothing is decided here."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.verdict import Culprit, Finding, Group, Verdict
from fair_distill.text import ABSENT, decimal, markdown_table
from fair_distill.text import markdown as escaped

# GitHub cuts comments at 65,536 characters. Other servers count bytes.
MOST_BYTES = 60_000
_MOST_GROUPS = 60
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TRUNCATED = "…the rest does not fit into a comment: `fair-distill gate explain` and the verdict's JSON have all.\n"


def markdown(name: str, verdict: Verdict, *, change: str = "") -> str:
    """Return a summary of a verdict in at most 60 kB of Markdown.

    Parameters
    ----------
    name : name of the set
    change : the change of the policy with respect to the base branch, as a diff; omitted if empty
    """
    blocks = [
        _heading(name, verdict),
        _clauses(verdict.findings),
        *_reasons(verdict),
        *_policy_change(change),
        _groups(verdict),
        *_references(verdict),
        _digests(verdict),
    ]
    summary = ""
    for block in blocks:
        if len((summary + block).encode()) > MOST_BYTES - 200:
            return summary + _TRUNCATED
        summary += block + "\n"
    return summary


def without_verdict(name: str, message: str, *, change: str = "") -> str:
    """Return a summary for a set without a verdict: the error, and the change of the policy."""
    return "\n".join([f"## {_text(name)}: no verdict\n\n{_text(message)}\n", *_policy_change(change)])


def _heading(name: str, verdict: Verdict) -> str:
    confidence = (
        "**mode: point: bare numbers, no confidence**"
        if verdict.alpha is None
        else f"{100 * (1 - verdict.alpha):.1f} % confidence (attempt {verdict.attempt} at this split)"
    )
    waived = [finding for finding in verdict.findings if finding.waiver]
    notes = [f"- **waived**: {_text(finding.clause)}: {_text(finding.waiver or '')}" for finding in waived]
    notes += [f"- **assumption**: {_text(verdict.assumption)}"] if verdict.assumption else []
    notes += [f"- **warning**: {_text(warning)}" for warning in verdict.warnings]
    notes += [f"- {_text(note)}" for note in verdict.notes]
    lines = [f"## {_text(name)}: {verdict.outcome.upper()}", "", confidence, "", *notes]
    return "\n".join([*lines, ""] if notes else lines)


def _clauses(findings: Sequence[Finding]) -> str:
    header = ["clause", "outcome", "value", "bound", "limit", "by chance", "mean of seeds"]
    rows = []
    for finding in findings:
        outcome = f"{finding.outcome} (waived)" if finding.waiver else finding.outcome
        numbers = (finding.value, finding.bound, finding.limit, finding.noise, finding.per_seed)
        rows.append([_text(finding.clause), outcome, *map(decimal, numbers)])
    return markdown_table(header, rows)


def _reasons(verdict: Verdict) -> list[str]:
    blocks = []
    for finding in verdict.findings:
        if not finding.satisfied:
            sentence = finding.sentence.removeprefix(f"{finding.clause}: ")
            lines = [f"**{_text(finding.clause)}**: {_text(sentence)}", ""]
            lines += [f"- {_text(culprit.sentence)}: {_text(culprit.remedy)}" for culprit in _further(finding)]
            blocks.append("\n".join([*lines, ""]))
    return blocks


def _further(finding: Finding) -> tuple[Culprit, ...]:
    """Return the culprits that the sentence of the finding does not contain."""
    return finding.culprits[1:]


def _policy_change(diff: str) -> list[str]:
    if not diff.strip():
        return []
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", diff)), default=0))
    text = diff if len(diff.encode()) <= MOST_BYTES // 3 else diff[: MOST_BYTES // 6] + "\n…"
    return [
        "**This change touches the rules.** The verdict above uses those of the base branch.\n\n"
        f"{fence}diff\n{text.rstrip()}\n{fence}\n"
    ]


def _groups(verdict: Verdict) -> str:
    groups = _worst_first(verdict)
    rows = [
        [
            _text(group.group),
            _text(group.network),
            f"{group.examples:,}",
            f"{group.clusters:,}",
            decimal(group.accuracy),
            ABSENT if group.low is None else f"{decimal(group.low)} to {decimal(group.high)}",
        ]
        for group in groups[:_MOST_GROUPS]
    ]
    table = markdown_table(["group", "network", "n", "independent", "accuracy", "interval"], rows)
    if len(groups) == len(rows):
        return table
    return f"{table}\n{len(groups) - len(rows)} more groups in the verdict's JSON.\n"


def _worst_first(verdict: Verdict) -> list[Group]:
    return sorted(
        verdict.groups, key=lambda group: (group.accuracy is not None, group.accuracy or 0, group.network, group.group)
    )


def _references(verdict: Verdict) -> list[str]:
    """Return the table that compares the set with its references, if there are any."""
    if not verdict.compared:
        return []
    references = sorted(verdict.compared)
    header = ["metric", "network", "this set"]
    for name in references:
        header += [_text(name), "Δ"]
    rows = []
    for network in sorted(verdict.numbers):
        for metric in PREDICTION_METRICS:
            value = verdict.numbers[network].get(metric, {}).get("value")  # older verdicts have fewer metrics
            row = [metric, _text(network), decimal(value)]
            for name in references:
                reference = verdict.compared[name].get(network, {}).get(metric)
                difference = None if value is None or reference is None else value - reference
                row += [decimal(reference), decimal(difference, signed=True)]
            rows.append(row)
    return [markdown_table(header, rows)]


def _digests(verdict: Verdict) -> str:
    digests = {
        "verdict": verdict.digest,
        "set" if verdict.model is None else "model": verdict.set,
        "split": verdict.split,
        "predictions": verdict.predictions,
        "policy": verdict.policy,
        "policy floor": verdict.policy_floor,
        "context": verdict.context,
        **dict(sorted(verdict.references.items())),
    }
    items = [f"{_text(name)} `{digest[:12]}`" for name, digest in digests.items() if digest]
    return f"<sub>{' · '.join(items)} · engine {verdict.engine}</sub>\n"


def _text(value: str) -> str:
    """Return foreign text for one line of Markdown, without markup, links or mentions."""
    return escaped(" ".join(value.split()))


def junit(name: str, verdict: Verdict) -> str:
    """Return JUnit XML with one test case per clause, and the table of groups as the output of the suite.

    Clauses that are violated, inconclusive or insufficient are failures. Waived clauses are skipped tests.
    """
    suite = ElementTree.Element("testsuite", name=_xml(f"fair-distill gate: {name}"), tests=str(len(verdict.findings)))
    failures = skipped = 0
    for finding in verdict.findings:
        case = ElementTree.SubElement(
            suite, "testcase", name=_xml(finding.clause), classname=_xml(f"gate.{name}.{finding.network}")
        )
        details = "\n".join(
            [finding.sentence, *(f"{culprit.sentence}; {culprit.remedy}" for culprit in _further(finding))]
        )
        if finding.waiver:
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=_xml(finding.sentence))
        elif not finding.satisfied:
            failures += 1
            failure = ElementTree.SubElement(case, "failure", type=finding.outcome, message=_xml(finding.sentence))
            failure.text = _xml(details)
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(details)
    ElementTree.SubElement(suite, "system-out").text = _xml("\n".join(_group_lines(verdict)))
    suite.set("failures", str(failures))
    suite.set("errors", "0")
    suite.set("skipped", str(skipped))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _group_lines(verdict: Verdict) -> list[str]:
    """Return the outcome, the assumption, the warnings and the table of groups as plain text."""
    subject = "set" if verdict.model is None else "model"
    lines = [f"{verdict.outcome.upper()}: {subject} {verdict.set}, split {verdict.split}", *verdict.notes]
    lines += [f"assumption: {verdict.assumption}"] if verdict.assumption else []
    lines += [f"warning: {warning}" for warning in verdict.warnings]
    for group in _worst_first(verdict)[:_MOST_GROUPS]:
        interval = "" if group.low is None else f" ({decimal(group.low)} to {decimal(group.high)})"
        lines.append(
            f"{group.group}, {group.network}: accuracy {decimal(group.accuracy)}{interval}, "
            f"n {group.examples:,}, independent {group.clusters:,}"
        )
    return lines


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
