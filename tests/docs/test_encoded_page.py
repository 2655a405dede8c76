"""The tables and the figures of docs/encoded.md are those of the results."""

import json

import pytest

from benchmarks.encoded_table import PAGE, TABLES, filled, results
from benchmarks.measure import RESULTS

TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_are_up_to_date(name: str) -> None:
    assert filled(TEXT, name) == TEXT, "run: python -m benchmarks.encoded_table"


def test_the_words_count_the_gains_of_the_table() -> None:
    counts = {True: 0, False: 0}
    for data in results()["data"].values():
        for ipc in ("1", "4", "10"):
            gain = data["over_best_coreset"][ipc]["gain"]
            counts[gain[1] > 0] += 1

    words = f"In {counts[True]} of {sum(counts.values())} rows with at most ten examples per class"
    assert words in " ".join(TEXT.split())


def test_the_figures_of_speed_are_those_of_the_results() -> None:
    speed = json.loads((RESULTS / "encoded_speed_cpu.json").read_text())
    large, ratio = speed["thousand_classes"], speed["barycentric_over_pooled"]

    for words in (
        f"takes {speed['cpu_seconds']['barycentric']:.1f} CPU-seconds",
        f"{ratio['median']:.2f} times that of the pooled set",
        f"({ratio['low']:.2f} to {ratio['high']:.2f} in three rounds)",
        f"a step takes {large['cpu_seconds_per_step']:.1f} CPU-seconds",
        f"at most {large['peak_memory_gb']:.1f} GB of memory",
    ):
        assert words in " ".join(TEXT.split())
