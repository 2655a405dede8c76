"""Figures in the pages about results are those of a row in `benchmarks/results`."""

import json
import re
from functools import cache
from statistics import mean

import pytest
from small_workspace import REPOSITORY

from benchmarks.ablation import table
from benchmarks.measure import RESULTS

ABLATION = (REPOSITORY / "docs" / "ablation.md").read_text(encoding="utf-8")
README = (
    (REPOSITORY / "benchmarks" / "README.md").read_text(encoding="utf-8").partition("## The table of the papers")[2]
)
METRICS = {"accuracy": "accuracy", "EODM": "eo_diag_max", "EODA": "eo_diag_mean"}

# Each claim: its words, and for each of its figures the data set, the method and the metric, on the paired test.
CLAIMS: dict[str, list[tuple[str, str, str]]] = {
    "mosaics of 2×2 has 91.0 / 18.5 (accuracy / EODM": [
        ("c_mnist_fg", "balanced_formation", "accuracy"),
        ("c_mnist_fg", "balanced_formation", "EODM"),
    ],
    "FairDD has 81.9 / 84.8": [("c_mnist_fg", "fairdd", "accuracy"), ("c_mnist_fg", "fairdd", "EODM")],
    "released has 65.5 / 100": [("c_mnist_fg", "cobra_code", "accuracy"), ("c_mnist_fg", "cobra_code", "EODM")],
    "has 93.7 / 9.7": [("c_mnist_fg", "ours", "accuracy"), ("c_mnist_fg", "ours", "EODM")],
    "9.5 (ours 10.0) on C-MNIST background": [("c_mnist_bg", "joined", "EODM"), ("c_mnist_bg", "ours", "EODM")],
    "32.3 (ours 34.3) on C-FMNIST background": [("c_fmnist_bg", "joined", "EODM"), ("c_fmnist_bg", "ours", "EODM")],
    "15.6 (ours 19.2) on CIFAR10-S": [("cifar10_s", "joined", "EODM"), ("cifar10_s", "ours", "EODM")],
    "have 51.3 EODA on C-MNIST foreground, and 1.7 with": [
        ("c_mnist_fg", "full", "EODA"),
        ("c_mnist_fg", "full_resampled", "EODA"),
    ],
}


@cache
def figure(benchmark: str, method: str, metric: str, budget: str = "lean_cuda") -> float:
    """Return the mean over seeds of a metric on the paired test, in per cent."""
    results = json.loads((RESULTS / f"reproduce_dm_ipc10_{budget}.json").read_text())["results"]
    return 100 * mean(
        result["tests"]["paired"]["per_network"][METRICS[metric]]
        for result in results
        if (result["benchmark"], result["method"]) == (benchmark, method) and "tests" in result
    )


def numbers(text: str) -> list[str]:
    return re.findall(r"(?<![\d.×])\d+(?:\.\d+)?(?![\d×])", text.replace("2×2", ""))


@pytest.mark.parametrize("words", CLAIMS)
def test_a_figure_of_the_tables_is_that_of_a_row(words: str) -> None:
    stated = numbers(words.replace("C-MNIST", "").replace("CIFAR10-S", ""))

    assert words in " ".join(README.split())
    assert len(stated) == len(CLAIMS[words])
    for text, source in zip(stated, CLAIMS[words], strict=True):
        decimals = len(text.partition(".")[2])
        assert text == f"{figure(*source):.{decimals}f}", source


def test_no_figure_with_a_decimal_is_without_a_row() -> None:
    prose = " ".join(README.split())
    for words in CLAIMS:
        prose = prose.replace(words, "")

    # Standard deviations of pixels, and the length of the training on the full data.
    assert re.findall(r"\d+\.\d+", prose) == ["0.22", "0.25", "0.5", "2.5"]


def test_fairer_selections_of_real_images_are_named_where_they_are_fairer() -> None:
    ours = figure("cifar10_s", "ours", "EODM")

    assert "On CIFAR10-S, group-balanced random images, herding, k-centre and balanced mosaics have smaller gaps" in (
        " ".join(README.split())
    )
    for method in ("balanced", "herding", "k_centre", "balanced_formation"):
        assert figure("cifar10_s", method, "EODM") < ours

    assert "On C-FMNIST foreground, so do herding, balanced mosaics and each group separately" in " ".join(
        README.split()
    )
    for method in ("herding", "balanced_formation", "joined"):
        assert figure("c_fmnist_fg", method, "EODM", "small_cpu") < figure("c_fmnist_fg", "ours", "EODM", "small_cpu")


def test_the_table_of_the_ablation_is_that_of_its_results() -> None:
    rows = table(RESULTS).strip().splitlines()[2:]  # without the two lines of the header

    assert "\n".join(rows) in ABLATION


def test_the_results_of_the_ablation_cite_rows_that_exist() -> None:
    results = ABLATION.partition("**Results.**")[2].partition("**The chosen row")[0]
    in_table = set(re.findall(r"\d+\.\d", table(RESULTS)))
    cited = set(re.findall(r"\d+\.\d", results))

    assert cited - in_table == {"91.0", "18.5", "9.7"}  # of benchmarks/README.md, which the tests above check
