"""What logs and terminals are told of a stage: rates by the clock that is given, few lines, silence when asked."""

import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from small_workspace import run

from fair_distill.cli.progress import progress_display
from fair_distill.stages.progress import StageProgress


@pytest.fixture
def asked_for_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIR_DISTILL_PROGRESS", "lines")


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def lines(
    reached: Iterable[StageProgress], capsys: pytest.CaptureFixture[str], *, moments: Iterable[float]
) -> list[dict[str, Any]]:
    with progress_display("distill", "pooled", quiet=False, clock=iter(moments).__next__) as progress:
        for each in reached:
            progress(each)
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def steps(of: int, *, start: int = 1, **other: Any) -> list[StageProgress]:
    return [StageProgress(step, of, **other) for step in range(start, of + 1)]


@pytest.mark.usefixtures("asked_for_lines")
def test_rates_are_those_of_the_clock(capsys: pytest.CaptureFixture[str]) -> None:
    told = lines(steps(4, loss=1.23456789, images=600), capsys, moments=[100.0, 100.5, 101.0, 101.5])

    assert [line["images_per_second"] for line in told] == [None, 1200.0, 1200.0, 1200.0]
    assert [line["seconds_left"] for line in told] == [None, 1.0, 0.5, 0.0]
    assert all(line["memory_mb"] > 10 for line in told)
    del told[0]["memory_mb"]
    assert told[0] == {
        "stage": "distill",
        "set": "pooled",
        "step": 1,
        "of": 4,
        "loss": 1.23457,
        "images_per_second": None,
        "seconds_left": None,
    }


@pytest.mark.usefixtures("asked_for_lines")
def test_a_run_that_was_taken_up_counts_from_where_it_began(capsys: pytest.CaptureFixture[str]) -> None:
    told = lines(steps(12, start=10, images=10), capsys, moments=[0.0, 2.0, 4.0])

    assert [line["step"] for line in told] == [10, 11, 12]
    assert [line["images_per_second"] for line in told] == [None, 5.0, 5.0]
    assert told[1]["seconds_left"] == 2.0


@pytest.mark.usefixtures("asked_for_lines")
def test_a_clock_that_stands_still_gives_no_rate(capsys: pytest.CaptureFixture[str]) -> None:
    told = lines(steps(3, images=10), capsys, moments=[7.0] * 3)

    assert [(line["images_per_second"], line["seconds_left"]) for line in told] == [(None, None)] * 2 + [(None, 0.0)]


@pytest.mark.parametrize("of", [1, 19, 20, 21, 25, 39, 40, 41, 1000, 12345])
@pytest.mark.usefixtures("asked_for_lines")
def test_no_run_writes_more_than_twenty_lines_and_the_last(of: int, capsys: pytest.CaptureFixture[str]) -> None:
    told = lines(steps(of), capsys, moments=map(float, range(of)))

    assert min(of, 10) <= len(told) <= 21
    assert told[-1]["step"] == of


@pytest.mark.usefixtures("asked_for_lines")
def test_memory_of_a_device_is_told_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    told = lines(steps(1, device_memory_mb=512.4), capsys, moments=[0.0])

    assert told[0]["device_memory_mb"] == 512


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    with progress_display("distill", "pooled", quiet=False, clock=iter([0.0, 1.0]).__next__) as progress:
        progress(StageProgress(1, 80, loss=2.0, images=1200))
        progress(StageProgress(2, 80, loss=1.5, images=1200, device_memory_mb=2048.0))

    shown_last = terminal.getvalue().rpartition("\r")[2]
    for figure in ("distill pooled", "2/80", "loss 1.5", "1,200 images/s", "1:18 left", "2,048 MB on the device"):
        assert figure in shown_last
    assert "{" not in shown_last


def test_the_cursor_comes_back_when_a_stage_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")

    def stage() -> None:
        with progress_display("distill", "pooled", quiet=False) as progress:
            progress(StageProgress(1, 3))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stage()

    hidden, back = "\x1b[?25l", "\x1b[?25h"
    assert terminal.getvalue().rindex(back) > terminal.getvalue().rindex(hidden)


@pytest.mark.usefixtures("asked_for_lines")
def test_both_stages_write_lines_that_parse_and_none_when_quiet(workspace: Path) -> None:
    for stage, last in (("distill", 5), ("evaluate", 4)):
        told = [json.loads(line) for line in run(workspace, stage, "pooled").err.splitlines()]
        assert [line["step"] for line in told] == list(range(1, last + 1))
        assert all(line["stage"] == stage for line in told)
        assert all((line["loss"] is None) == (stage == "evaluate") for line in told)

        silent = run(workspace, stage, "pooled", "--quiet")
        assert (silent.code, silent.err) == (0, "")
        assert silent.out


def test_a_stage_that_nobody_watches_says_its_answer_and_no_more(workspace: Path) -> None:
    ended = run(workspace, "evaluate", "pooled")

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("pooled, ")
