"""The page on a sweep says which was chosen and why, and shows every candidate once."""

from dataclasses import replace

from small_sweep import POLICY, swept

from fair_distill.report import figures
from fair_distill.report.plot import Dot
from fair_distill.report.sweep import sweep_page

CHOSEN = "barycentric · dm · ipc 50 · seed 1"


def shown(chosen: str | None = CHOSEN, outcome: str | None = "pass") -> str:
    return sweep_page("faces", swept(), POLICY, chosen=chosen, outcome=outcome).decode()


def test_it_says_what_was_chosen_and_what_the_gate_said() -> None:
    assert "It has 500 examples. 8 of 12 candidates are smaller" in shown()
    assert "On the gate split, the chosen set passes." in shown()
    assert "On the gate split, the chosen set fails." in shown(outcome="fail")
    assert "None of 12 candidates is expected to pass" in shown(None, None)


def test_every_candidate_has_one_mark_and_one_row() -> None:
    marks = [mark for mark in figures.sweep(swept(), "eo_diag_max", 0.2, 0.8, CHOSEN).marks if isinstance(mark, Dot)]

    assert [mark.title.partition(":")[0] for mark in marks] == [one.name for one in swept()]
    assert [mark.style for mark in marks].count("chosen") == 1
    assert len({(mark.hue, mark.shape) for mark in marks}) == 6
    assert all(shown().count(f">{one.name}</th>") == 1 for one in swept())


def test_rows_stand_the_smallest_first_and_of_a_size_the_best_first() -> None:
    order = sorted(swept(), key=lambda one: (one.examples, -(one.margin or 0)))
    places = [shown().index(f">{one.name}</th>") for one in order]

    assert places == sorted(places)


def test_what_could_not_be_measured_is_a_dash_and_no_mark() -> None:
    unknown = replace(swept()[0], gap=None, margin=None)
    marks = figures.sweep([unknown], "eo_diag_max", None, None, None).marks

    assert not [mark for mark in marks if isinstance(mark, Dot)]
    assert "–" in sweep_page("faces", [unknown], POLICY, chosen=None, outcome=None).decode()


def test_names_are_text() -> None:
    evil = replace(swept()[0], name="<script>", kind="<script>")

    assert "<script>" not in sweep_page("<script>", [evil], POLICY, chosen=evil.name, outcome="pass").decode()
