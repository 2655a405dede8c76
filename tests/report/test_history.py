"""The history tells what the ledger tells: which versions, by which policy, what became of them."""

from dataclasses import replace

import pytest
from small_registry import NAME, NOW, POLICY, MemoryStore, package, promote, publish, ship

from fair_distill.config import Gate, Limit
from fair_distill.gate.judge import judge
from fair_distill.registry import retraction
from fair_distill.registry.actor import Actor
from fair_distill.report.figures import history
from fair_distill.report.history import read_history
from fair_distill.report.plot import Dot, Line

STRICTER = Gate(mode="point", limits=(Limit(metric="eo_diag_max", at_most=0.25, why="a test's"),))


def shipped() -> MemoryStore:
    store = MemoryStore()
    first, second, third = package(1), package(2, mistakes=2), package(3, mistakes=1)
    ship(store, first)
    publish(store, second)
    third = replace(third, verdict=judge(third.predictions, STRICTER, context=b"", engine=1))
    publish(store, third)
    promote(store, third)
    return store


def test_every_version_has_its_gap_and_its_standing() -> None:
    moments = read_history(shipped(), NAME, "eo_diag_max")

    assert [moment.number for moment in moments] == [1, 2, 3]
    assert [moment.value for moment in moments] == pytest.approx([0.0, 0.2, 0.1])  # a mistake of ten is a tenth
    assert [moment.verdict is None for moment in moments] == [False, True, False]
    assert [moment.channels for moment in moments] == [(), (), ("candidate", "staging", "production")]


def test_a_change_of_policy_is_marked_where_it_came() -> None:
    moments = read_history(shipped(), NAME, "eo_diag_max")

    assert [moment.new_policy for moment in moments] == [False, False, True]
    drawn = history(moments, "eo_diag_max")
    assert drawn is not None
    assert "The policy changed with v3" in drawn.description
    across = [mark for mark in drawn.marks if isinstance(mark, Line) and mark.style == "policy"]
    assert [mark.x1 for mark in across] == [pytest.approx(200 / 3)]


def test_what_was_never_promoted_is_hollow_and_what_was_revoked_is_gone() -> None:
    store = shipped()
    retraction.revoke(store, NAME, package(1).version, reason="a leak", actor=Actor("ada", NOW, "x"))

    moments = read_history(store, NAME, "eo_diag_max")
    drawn = history(moments, "eo_diag_max")

    assert moments[0].revoked == "a leak"
    assert drawn is not None
    assert [mark.style for mark in drawn.marks if isinstance(mark, Dot)] == ["gone", "hollow", "solid"]


def test_nothing_published_is_no_history() -> None:
    assert read_history(MemoryStore(), NAME, "eo_diag_max") == ()
    assert history((), "eo_diag_max") is None
    assert POLICY.limits[0].metric == "eo_diag_max"
