"""One short function per stage: read declared files, call the domain, write declared files.

Torch and Great Expectations are imported by the stages that use them, so judging stays light.
"""

from fair_distill.stages.attest import attest
from fair_distill.stages.context import Known, reserve, reserve_attempt, waive
from fair_distill.stages.data import describe, prepare, reference, validate
from fair_distill.stages.evaluate import evaluate, evaluate_part, parts
from fair_distill.stages.experts import experts
from fair_distill.stages.judge import floor_at, judge, plan_gate, replay_gate, verdict_of
from fair_distill.stages.progress import Progress, Reached
from fair_distill.stages.project import project
from fair_distill.stages.publish import promote, publish
from fair_distill.stages.report import report, report_numbers
from fair_distill.stages.sets import distill, references

__all__ = [
    "Known",
    "Progress",
    "Reached",
    "attest",
    "describe",
    "distill",
    "evaluate",
    "evaluate_part",
    "experts",
    "floor_at",
    "judge",
    "parts",
    "plan_gate",
    "prepare",
    "project",
    "promote",
    "publish",
    "reference",
    "references",
    "replay_gate",
    "report",
    "report_numbers",
    "reserve",
    "reserve_attempt",
    "validate",
    "verdict_of",
    "waive",
]
