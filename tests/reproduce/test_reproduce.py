"""`python -m benchmarks.reproduce`: results are saved one by one, and no result is measured twice."""

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
from reproduce.small_benchmark import TINY, write_mnist
from small_workspace import Ended

from benchmarks.reproduce.__main__ import main
from benchmarks.reproduce.measure import Job, MeasurementPlan
from benchmarks.reproduce.record import Record, open_record
from benchmarks.reproduce.run import Selection, reproduce
from benchmarks.reproduce.table import markdown
from benchmarks.reproduce.workers import work
from fair_distill.errors import DataError

BUDGET = [f"{key}={value}" for key, value in TINY.to_dict().items()]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("data"))


def command(data: Path, out: Path, *more: str) -> Ended:
    chosen = ("--datasets", "mnist_writers", "--methods", "random", "vanilla", "--seeds", "2")
    arguments = ["--data", str(data), "--out", str(out), *chosen, "--set", *BUDGET, *more]
    stdout, stderr = StringIO(), StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr):
        try:
            code = main(arguments)
        except SystemExit as refusal:
            code = int(str(refusal.code))
    return Ended(code, stdout.getvalue(), stderr.getvalue())


def test_a_table_is_measured_once_and_taken_up_where_it_ends(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.json"

    first = command(data, out)
    assert first.code == 0, first.err
    held = json.loads(out.read_text())
    assert [(result["method"], result["seed"]) for result in held["results"]] == [
        ("random", 0),
        ("vanilla", 0),
        ("random", 1),
        ("vanilla", 1),
    ]
    assert held["about"]["budget"] == TINY.to_dict()
    assert held["methods"]["vanilla"]["steps"] == TINY.steps
    assert "| vanilla DM | 2 |" in (tmp_path / "table.md").read_text()

    # One result is lost, as if the run had been killed; only that one is measured, and comes out as it was.
    lost = held["results"].pop(1)
    out.write_text(json.dumps(held))
    again = command(data, out)
    assert again.err.startswith("1 of 1: mnist_writers, vanilla, seed 0: accuracy ")
    assert again.err.count("\n") == 1
    found = json.loads(out.read_text())["results"][-1]
    assert {**found, "cpu_seconds": 0, "run": 0} == {**lost, "cpu_seconds": 0, "run": 0}


def test_another_budget_does_not_go_into_the_same_file(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.json"
    about = {"table": "dm", "ipc": 10, "budget": TINY.to_dict(), "device": "cpu", "embedding": "exact"}
    open_record(out, about, {}).begun({})

    ended = command(data, out, "--ipc", "2")

    assert ended.code == 2
    assert "has results with other settings: ipc is 10 there and 2 here; pass another file with --out" in ended.err
    assert command(data, out, "--set", "width=8").code == 2


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--datasets", "cats"], "the data set is 'cats'; choose from"),
        (["--methods", "magic"], "the method is 'magic'; choose from"),
        (["--table", "mtt"], "the table is 'mtt'; choose from"),
        (["--budget", "huge"], "--budget is 'huge'; choose one of small, lean, medium, full"),
        (["--set", "steps"], "--set is 'steps'; write KEY=N, for example steps=500"),
        (["--set", "steps=0"], "the budget's steps is '0'; write a whole number above 0"),
        (["--set", "cats=3"], "a budget has no key 'cats'"),
        (["--seeds", "0"], "a whole number above 0 is required"),
        (["--device", "abacus"], "--device abacus"),
        (
            ["--data", "nosuch"],
            "--data is nosuch, which has no mnist/train-images-idx3-ubyte.gz; "
            "pass the folder that contains mnist/, fashion_mnist/ and cifar10_4k/",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_line(more: list[str], says: str, data: Path, tmp_path: Path) -> None:
    ended = command(data, tmp_path / "table.json", *more)

    assert ended.code == 2
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "table.json").exists()


def wanted(*methods: str) -> Selection:
    return Selection("dm", ["mnist_writers"], methods, seeds=1)


def plan(data: Path, ipc: int = 2) -> MeasurementPlan:
    return MeasurementPlan(data, TINY, ipc, "cpu")


def made(data: Path, out: Path, *methods: str, ipc: int = 2, **more: Any) -> Record:
    arguments: dict[str, Any] = {"out": out, "workers": 1, "today": "2026-01-01", "clock": lambda: 0.0} | more
    return reproduce(wanted(*methods), plan(data, ipc), **arguments)


def test_stopping_begins_nothing_new_and_keeps_what_there_is(data: Path, tmp_path: Path) -> None:
    answers = iter([False, True])

    record = made(data, tmp_path / "table.json", "random", "balanced", stopping=lambda: next(answers))

    assert [result["method"] for result in record.results] == ["random"]
    assert made(data, tmp_path / "table.json", "random", "balanced").results[0] == record.results[0]


def test_what_the_library_refuses_is_a_result_and_does_not_stop_the_others(data: Path, tmp_path: Path) -> None:
    record = made(data, tmp_path / "table.json", "random", "balanced_formation", ipc=39)

    assert "failed" not in record.results[0]
    assert "lower distill.ipc" in record.results[1]["failed"].lower()
    assert "| random, group-balanced, mosaics of 2×2 | 0 of 1 | class '0' has" in (tmp_path / "table.md").read_text()


def test_data_that_cannot_be_read_are_no_result(tmp_path: Path) -> None:
    data, out = write_mnist(tmp_path / "data"), tmp_path / "table.json"
    images = data / "mnist" / "train-images-idx3-ubyte.gz"
    sound = images.read_bytes()
    images.write_bytes(sound[:100])

    with pytest.raises(DataError):
        made(data, out, "random")

    assert json.loads(out.read_text())["results"] == []
    images.write_bytes(sound)
    assert [result["method"] for result in made(data, out, "random").results] == ["random"]


def seconds() -> float:
    return 0.0


def test_another_process_measures_what_this_one_does(data: Path) -> None:
    job = Job("mnist_writers", "vanilla", 0)

    def results(workers: int) -> list[Any]:
        return list(work([job], plan(data), workers=workers, clock=seconds, stopping=lambda: False))

    assert results(2) == results(1)


def test_an_exception_in_one_measurement_costs_that_one_only(data: Path) -> None:
    def clock() -> float:
        raise RuntimeError("no power")

    outcomes = list(
        work([Job("mnist_writers", "random", 0)], plan(data), workers=1, clock=clock, stopping=lambda: False)
    )

    assert [type(outcome) for _, outcome in outcomes] == [RuntimeError]


def result(seed: int, accuracy: float) -> dict[str, Any]:
    shown = {"accuracy": accuracy, "worst_group_accuracy": 0.5, "eo_diag_max": 0.25, "eo_diag_mean": 0.125}
    floors = {"eo_diag_max": 0.1, "eo_diag_mean": 0.05}
    test = {"per_network": shown, "mean_rates": shown, "floor_per_network": floors, "floor_mean_rates": floors}
    return {
        "benchmark": "c_mnist_fg",
        "method": "fairdd",
        "seed": seed,
        "cpu_seconds": {"made": 10.0, "evaluated": 20.0},
        "tests": {"official": test, "paired": test},
    }


def test_the_table_shows_intervals_over_seeds_beside_what_is_reported(tmp_path: Path) -> None:
    values = [0.80, 0.82, 0.90]
    about = {"table": "dm", "ipc": 10, "budget": TINY.to_dict(), "device": "cpu"}
    results = tuple(result(seed, accuracy) for seed, accuracy in enumerate(values))

    text = markdown(Record(tmp_path / "table.json", about, {}, (), results))

    low, high = scipy.stats.t.interval(0.95, 2, loc=84, scale=scipy.stats.sem([100 * value for value in values]))
    half = (high - low) / 2
    row = f"| FairDD | 3 | 84.0 ± {half:.1f} | 25.0 ± 0.0 (25.0) | 12.5 ± 0.0 (12.5) | 10.0 / 5.0 | "
    assert row in text
    assert "| 10 + 20 |" in text
    assert "| FairDD | 25.0 / 12.5 / 84.0 | 7.3 / 94.0 | 17.0 / 8.0 / 94.6 |" in text
    assert "| COBRA, as released | – / – / – | 6.7 / 94.1 | – / – / – |" in text
