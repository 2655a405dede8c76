"""Random references: the network of each seed is trained on its own draw, and bounds contain the scatter of draws."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_predictions import predictions_from
from small_workspace import run, small_params, write_params
from test_evaluate import EASY, evaluated, generator

from fair_distill.config import Gate
from fair_distill.gate.judge import judge
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.verdict import Finding
from fair_distill.workspace import Workspace

FIRST, SECOND = np.arange(0, len(EASY), 2), np.arange(1, len(EASY), 2)


@pytest.mark.parametrize("together", [False, True])
def test_the_network_of_each_seed_is_trained_on_its_own_draw(together: bool) -> None:
    rows = np.concatenate([FIRST, SECOND])
    both = evaluated(images=EASY.images[rows], labels=EASY.labels[rows], draws=2, together=together)

    for seed, draw in enumerate((FIRST, SECOND)):
        alone = evaluated(
            images=EASY.images[draw], labels=EASY.labels[draw], seeds=1, generator=lambda _, seed=seed: generator(seed)
        )
        columns = [
            table.columns["probability"][table.columns["seed"] == number]
            for table, number in ((both, seed), (alone, 0))
        ]
        np.testing.assert_allclose(columns[0], columns[1], atol=1e-5 if together else 0)


def clause_over(reference: Predictions, candidate: Predictions) -> Finding:
    limit = {"metric": "accuracy", "over": "random", "at_least": 0.0, "why": "a test"}
    bounds = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 5, "minimum_per_cell": 10}
    policy = Gate.model_validate({**bounds, "limits": [limit]})
    references = {"random": reference.to_parquet()}
    return judge(candidate.to_parquet(), policy, context=b"", engine=1, references=references).findings[0]


def test_the_scatter_of_draws_widens_the_bound_of_an_uplift() -> None:
    labels, groups = np.arange(800) % 2, np.arange(800) // 400

    def right(shares: list[float]) -> Predictions:
        rng = np.random.default_rng(0)
        order = rng.permutation(800)
        answers = [np.where(order < share * 800, labels, 1 - labels) for share in shares]
        return predictions_from(answers, labels, groups)

    candidate = right([0.80] * 5)
    steady, scattered = right([0.75] * 5), right([0.60, 0.68, 0.75, 0.82, 0.90])
    one_draw, draws = clause_over(steady, candidate), clause_over(scattered, candidate)

    assert one_draw.value == pytest.approx(0.05)
    assert draws.value == pytest.approx(0.05)
    assert one_draw.outcome == "pass"
    assert draws.outcome == "inconclusive"  # five draws with a standard deviation of 0.12 show no uplift of 0.05
    assert one_draw.bound is not None
    assert draws.bound is not None
    assert draws.bound < one_draw.bound - 0.05


def run_stages(root: Path, *commands: str) -> None:
    for command in commands:
        ended = run(root, "stage", *command.split())
        assert ended.code == 0, ended.err


def test_references_are_drawn_for_each_seed_and_the_whole_data_are_trained_to_convergence(tmp_path: Path) -> None:
    params = small_params()
    plateau = {"every": 5, "improvement": 0.05, "patience": 1, "most": 60}
    params["references"] = {
        "majority": {"select": "majority"},
        "full": {"select": "all", "plateau": plateau},
        "full_resampled": {"select": "resampled", "plateau": plateau},
        "random": {"select": "random"},
    }
    params["distill"]["formation"] = 2
    params["evaluate"]["networks"] = [{"name": "mlp", "width": 8, "depth": 1}]
    params["sets"] = [*params["references"], "barycentric"]
    params["gate"]["exam"] = {"networks": params["evaluate"]["networks"], "seeds": 2, "recipe": params["recipe"]}
    write_params(tmp_path, params)
    (tmp_path / "context.json").write_text("{}\n")
    run_stages(tmp_path, "prepare", "validate")
    for name in params["references"]:
        run_stages(tmp_path, f"references {name}", f"evaluate {name}", f"judge {name}")
    at = Workspace(tmp_path)
    cards = {name: json.loads((at.set(name) / "manifest.json").read_bytes())["card"] for name in params["references"]}

    drawn = [(at.set("random") / path).read_bytes() for path in ("set.parquet", "draw-1.parquet")]
    assert drawn[0] != drawn[1]
    assert cards["random"]["recipe"]["formation"] == 2  # that of the candidates
    for name in ("full", "full_resampled"):
        assert cards[name]["recipe"]["steps"] >= params["recipe"]["steps"]
        assert cards[name]["diagnostics"]["steps_mlp"] <= 60
    constant = json.loads(at.evaluation("majority").read_bytes())["mlp"]
    assert constant["eo_diag_max"] == 0
    assert constant["accuracy_over_majority"] <= 0
    table = run(tmp_path, "table").out
    assert "mlp (one class)" in table.splitlines()[4]  # the first row is that of `majority`

    # Another number of seeds needs more draws.
    params["evaluate"]["seeds"] = 3
    write_params(tmp_path, params)
    ended = run(tmp_path, "stage", "evaluate", "random")
    assert (ended.code, "draw-2.parquet" in ended.err) == (5, True), ended.err
