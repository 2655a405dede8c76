"""The texts of a verdict are complete, have a bounded size, and never contain markup from names."""

import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from small_predictions import drawn

from fair_distill.config import Gate
from fair_distill.gate.explain import explain
from fair_distill.gate.judge import Verdict, judge
from fair_distill.gate.render import MOST_BYTES, junit, markdown

POLICY = Gate.model_validate(
    {
        "mode": "bounds",
        "alpha": 0.05,
        "minimum_seeds": 3,
        "minimum_per_cell": 50,
        "limits": [
            {"metric": "eo_diag_max", "at_most": 0.2, "why": "a test"},
            {"metric": "accuracy", "at_least": 0.5, "why": "a test"},
            {"metric": "accuracy", "over": "full", "at_least": -0.1, "why": "a test"},
        ],
    }
)
FULL = drawn([[0.9, 0.9], [0.9, 0.9]], 200, np.random.default_rng(9), set="f" * 64).to_parquet()


def verdict_on(rates: Any, of: int = 200, *, policy: Gate = POLICY, context: bytes = b"{}", **more: Any) -> Verdict:
    predictions = drawn(rates, of, np.random.default_rng(0), **more).to_parquet()
    return judge(predictions, policy, context=context, engine=1, references={"full": FULL})


FAIR = verdict_on([[0.95, 0.95], [0.9, 0.9]])
UNFAIR = verdict_on([[0.95, 0.2], [0.9, 0.9]])


def test_a_summary_shows_clauses_groups_with_n_and_intervals_and_the_difference_to_references() -> None:
    shown = markdown("barycentric", FAIR)

    assert shown.startswith("## barycentric: PASS\n\n95.5 % confidence (attempt 1 at this split)\n")
    assert "| eo_diag_max | pass | " in shown
    assert "| group1 | convnet | 400 | 400 | " in shown
    assert " to " in shown.split("| group1 | convnet")[1].splitlines()[0]
    assert "| metric | network | this set | full | Δ |" in shown
    assert f"verdict `{FAIR.digest[:12]}`" in shown


def test_what_was_not_met_is_told_in_sentences_with_a_remedy() -> None:
    shown = markdown("pooled", UNFAIR)

    assert shown.startswith("## pooled: FAIL")
    assert "class 'class0' is recognised in" in shown
    assert "of 200 examples of group 'group1'" in shown
    assert "the training data or the training has to change" in shown


def test_a_change_of_the_policy_is_shown_and_cannot_close_its_fence() -> None:
    change = "-      at_most: 0.2\n+      at_most: 0.9\n+```\n+## PASS\n"
    shown = markdown("pooled", UNFAIR, change=change)

    assert "uses those of the base branch" in shown
    assert "````diff\n-      at_most: 0.2\n+      at_most: 0.9\n+```\n+## PASS\n````" in shown
    assert "policy of the base" not in markdown("pooled", UNFAIR, change=" \n")


def test_names_are_text_whatever_they_hold() -> None:
    evil = replace(
        UNFAIR,
        groups=tuple(
            replace(row, group="a|b\n## PASS <img src=x> `c` [d](e) @team https://x.y &lt; \u202e\x1b[2J")
            for row in UNFAIR.groups
        ),
    )
    shown = markdown("x](y) | z", evil)

    assert "\n## PASS" not in shown
    for markup in ("<img", "`c`", "[d]", "@team", "https://x", " &lt; ", "\u202e", "\x1b"):
        assert markup not in shown.replace(f"\\{markup}", ""), markup
    rows = [line for line in shown.splitlines() if line.startswith("| a&#124;b")]
    assert rows
    assert all(line.count("|") == 7 for line in rows)


def test_a_summary_fits_into_a_comment_however_many_groups_there_are() -> None:
    many = replace(UNFAIR, groups=UNFAIR.groups * 5000)
    long = replace(many, findings=tuple(replace(f, sentence=f.sentence + " x" * 40_000) for f in many.findings))

    assert len(markdown("pooled", many, change="+y\n" * 100_000).encode()) <= MOST_BYTES
    assert "more groups in the verdict" in markdown("pooled", many)
    shown = markdown("pooled", long)
    assert len(shown.encode()) <= MOST_BYTES
    assert shown.rstrip().endswith("have all.")


def test_a_summary_is_cut_when_it_is_a_byte_longer_than_its_limit() -> None:
    def padded(count: int) -> str:
        findings = tuple(replace(f, sentence=f"{f.clause}: {'x' * count * (not f.satisfied)}") for f in UNFAIR.findings)
        return markdown("pooled", replace(UNFAIR, findings=findings[:1]))

    missing = MOST_BYTES - 199 - len(padded(0).encode())  # The last line break is not counted.
    assert len(padded(missing).encode()) == MOST_BYTES - 199
    assert "have all." not in padded(missing)
    assert padded(missing + 1).rstrip().endswith("have all.")


def test_junit_has_a_case_per_clause_and_a_failure_per_clause_that_was_not_met() -> None:
    for verdict, failures in ((FAIR, 0), (UNFAIR, 2)):
        root = ElementTree.fromstring(junit("a set", verdict).encode())
        (suite,) = root
        assert root.tag == "testsuites"
        assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", str(failures), "0")
        clauses = ["eo_diag_max", "accuracy", "accuracy over full"]
        assert [case.get("name") for case in suite.findall("testcase")] == clauses
        told = suite.find("system-out")
        assert told is not None
        assert told.text is not None
        outcome, assumption, *groups = told.text.splitlines()
        assert assumption == f"assumption: {verdict.assumption}"
        assert outcome == f"{verdict.outcome.upper()}: set {verdict.set}, split {verdict.split}"
        worst = min(verdict.groups, key=lambda row: row.accuracy or 0)
        assert groups[0] == (
            f"{worst.group}, {worst.network}: accuracy {worst.accuracy:.3f} ({worst.low:.3f} to {worst.high:.3f}), "
            f"n {worst.examples}, independent {worst.clusters}"
        )
        assert len(groups) == len(verdict.groups)
        assert len(suite.findall("testcase/failure")) == failures
    message = UNFAIR.findings[0].sentence
    assert ElementTree.fromstring(junit("a set", UNFAIR).encode())[0][0][0].get("message") == message


def test_junit_is_xml_whatever_names_hold() -> None:
    evil = replace(UNFAIR, findings=tuple(replace(f, clause='<&">\x00\x1b\ud800') for f in UNFAIR.findings))

    (suite,) = ElementTree.fromstring(junit("\x07 ]]> <b>", evil).encode())
    assert suite[0].get("name") == '<&">\ufffd\ufffd\ufffd'


def waived() -> Verdict:
    waiver = {
        "set": "a" * 64,
        "clause": "eo_diag_max",
        "who": "Ada",
        "approved_by": "Grace",
        "why": "a field trial",
        "expires": "2999-01-01",
    }
    from datetime import date

    predictions = drawn([[0.95, 0.2], [0.95, 0.95]], 200, np.random.default_rng(0)).to_parquet()
    policy = POLICY.model_copy(update={"limits": POLICY.limits[:1]})
    context = json.dumps({"waivers": [waiver]}).encode()
    return judge(predictions, policy, context=context, engine=1, now=date(2026, 1, 1))


def test_a_waiver_is_shown_wherever_the_verdict_is() -> None:
    verdict = waived()
    told = "waived until 2999-01-01 by Ada, approved by Grace: a field trial"

    assert verdict.outcome == "waived"
    assert told in markdown("x", verdict)
    assert "fail (waived)" in markdown("x", verdict)
    assert "PASS" not in markdown("x", verdict)
    assert told in junit("x", verdict)
    assert told in "\n".join(explain(verdict))


@pytest.mark.parametrize("waivers", [False, True])
@pytest.mark.parametrize("warnings", [(), ("accuracy: every set satisfies it",)])
def test_one_empty_line_is_above_the_table_of_clauses_and_the_list_of_waivers_and_warnings(
    waivers: bool, warnings: tuple[str, ...]
) -> None:
    verdict = replace(waived() if waivers else UNFAIR, warnings=warnings, assumption="")
    head, table = markdown("x", verdict).split("| clause |")
    items = [line for line in head.splitlines() if line.startswith("- ")]

    assert len(items) == waivers + len(warnings)
    assert head.endswith("\n\n")
    assert not items or "\n\n- " in head
    assert "\n\n\n" not in head
    assert table


def test_an_explanation_names_every_culprit_its_counts_bound_limit_and_remedy() -> None:
    lines = explain(verdict_on([[0.95, 0.2], [0.95, 0.3]]))

    assert lines[0].startswith("FAIL: eo_diag_max: ")
    assert lines[1].startswith("  - class 'class")
    for part in ("of 200 examples of group 'group1'", "bound ", "limit 0.200"):
        assert part in lines[3]
    for line in (lines[2], lines[4]):
        assert line.startswith("    remedy: the training data or the training has to change")
    assert "a perfectly fair classifier would show" in lines[5]


@pytest.mark.parametrize("verdict", [FAIR, UNFAIR])
def test_the_same_verdict_gives_the_same_text(verdict: Verdict) -> None:
    again = Verdict.from_json(verdict.to_json())

    assert markdown("x", again) == markdown("x", verdict)
    assert junit("x", again) == junit("x", verdict)
    assert explain(again) == explain(verdict)


def test_a_summary_has_the_numbers_of_the_verdict_to_three_places() -> None:
    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    lines = markdown("pooled", UNFAIR).splitlines()

    for finding in UNFAIR.findings:
        row = (finding.value, finding.bound, finding.limit, finding.noise, finding.per_seed)
        assert f"| {finding.clause} | {finding.outcome} | {' | '.join(map(number, row))} |" in lines
    rows = [line for line in lines if line.startswith("| group")][1:]
    ordered = sorted(UNFAIR.groups, key=lambda row: row.accuracy or 0)
    assert rows == [
        f"| {row.group} | {row.network} | {row.examples} | {row.clusters} | {number(row.accuracy)} | "
        f"{number(row.low)} to {number(row.high)} |"
        for row in ordered
    ]
    ours, theirs = UNFAIR.numbers["convnet"]["eo_diag_max"]["value"], UNFAIR.compared["full"]["convnet"]["eo_diag_max"]
    assert ours is not None
    assert theirs is not None
    assert f"| eo_diag_max | convnet | {ours:.3f} | {theirs:.3f} | {ours - theirs:+.3f} |" in lines
    assert lines[-2] == (
        f"<sub>verdict `{UNFAIR.digest[:12]}` · set `{UNFAIR.set[:12]}` · split `{UNFAIR.split[:12]}` · predictions "
        f"`{UNFAIR.predictions[:12]}` · policy `{UNFAIR.policy[:12]}` · context `{UNFAIR.context[:12]}` · full "
        f"`{UNFAIR.references['full'][:12]}` · engine 1</sub>"
    )


def test_other_culprits_follow_the_worst_one_which_the_sentence_has() -> None:
    both = verdict_on([[0.95, 0.2], [0.9, 0.3]])
    finding = both.findings[0]
    worst, second = finding.culprits[:2]

    assert finding.sentence.endswith(f"; {worst.sentence}; {worst.remedy}")
    assert abs(worst.value) > abs(second.value)
    shown = markdown("pooled", both)
    assert shown.count(worst.sentence.replace("_", "\\_")) == 1
    assert f"- {second.sentence}: " in shown
    text = ElementTree.fromstring(junit("pooled", both).encode())[0][0][0].text
    assert text is not None
    assert text.splitlines() == [finding.sentence, *(f"{c.sentence}; {c.remedy}" for c in finding.culprits[1:])]


def test_sixty_groups_are_shown_and_the_others_are_counted() -> None:
    many = replace(UNFAIR, groups=UNFAIR.groups * 31)

    shown = markdown("pooled", many)
    assert "\n2 more groups in the verdict's JSON.\n" in shown
    assert sum(line.startswith("| group") for line in shown.splitlines()) == 1 + 60
    assert "more groups" not in markdown("pooled", replace(UNFAIR, groups=UNFAIR.groups * 30))
    told = ElementTree.fromstring(junit("pooled", many).encode())[0].find("system-out")
    assert told is not None
    assert len((told.text or "").splitlines()) == 2 + 60


@pytest.mark.parametrize(("size", "whole"), [(MOST_BYTES // 3, True), (MOST_BYTES // 3 + 1, False)])
def test_a_change_of_a_third_of_the_summary_is_shown_whole(size: int, whole: bool) -> None:
    change = "+" * size

    shown = markdown("barycentric", FAIR, change=change)
    assert (change in shown) == whole
    assert shown.count("+" * (MOST_BYTES // 6)) >= 1
    assert "```diff\n+" in shown


def test_no_more_than_the_space_for_the_last_sentence_is_kept_free() -> None:
    def summary(letters: int) -> str:
        finding = replace(UNFAIR.findings[0], sentence="x" * letters, culprits=())
        return markdown("pooled", replace(UNFAIR, findings=(finding,), groups=(), compared={}))

    fixed = len(summary(0).encode())
    full = summary(MOST_BYTES - 200 - fixed)
    assert "does not fit" not in full
    assert MOST_BYTES - 210 <= len(full.encode()) <= MOST_BYTES
    assert "does not fit" in summary(MOST_BYTES - 190 - fixed)
