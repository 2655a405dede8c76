"""`gate plan --write`: proposed limits, their reasons, and the text of params.yaml."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from small_workspace import run, small_params, write_params

from fair_distill.config import Gate, load_config
from fair_distill.config.gate_text import with_gate
from fair_distill.errors import ConfigError
from fair_distill.gate.fair_sets import Assumptions, Cells
from fair_distill.gate.plan import plan
from fair_distill.gate.proposal import GAPS, Observations, planned_clauses, propose

CELLS = Cells(np.full((2, 2), 400), paired=False, classes=("no", "yes"), groups=("a", "b"))
BOUNDS = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 5, "minimum_per_cell": 50}


def proposed(observed: Observations) -> dict[str, tuple[float, str]]:
    policy = Gate.model_validate({**BOUNDS, "limits": [limit.model_dump() for limit in planned_clauses("balanced")]})
    assumed = [Assumptions(accuracy=0.8, seeds=5, seed_sd=0.02)]
    rows = plan(CELLS, policy, assumed, rng=np.random.default_rng(0), draws=200).rows
    limits = propose(rows, observed, classes=2, unit="rows")
    return {
        limit.name: (limit.at_least if limit.at_most is None else limit.at_most, limit.why)  # type: ignore[misc]
        for limit in limits
    }


def test_fair_data_get_the_limits_that_the_split_can_show() -> None:
    fair = Observations("full_resampled", {"eo_diag_max": 0.01, "eo_diag_mean": 0.01, "balanced_accuracy": 0.9})
    limits, unknown = proposed(fair), proposed(Observations("full_resampled", None))

    assert limits["accuracy_over_majority"][0] == 0
    assert limits["accuracy over balanced"][0] < 0
    assert 0.5 < limits["balanced_accuracy"][0] < 0.8
    for name in GAPS:
        assert limits[name][0] == unknown[name][0] < 0.3
        assert "have a gap of 0.01" in limits[name][1]
        assert "not known whether the data are unfair" in unknown[name][1]


def test_data_that_are_unfair_in_themselves_are_named() -> None:
    fair = proposed(Observations("full_resampled", None))
    unfair = Observations("full_resampled", {"eo_diag_max": 0.3, "eo_diag_mean": 0.3, "balanced_accuracy": 0.6})
    limits = proposed(unfair)

    for name in GAPS:
        assert limits[name][0] == pytest.approx(fair[name][0] + 0.3, abs=0.011)
        assert "The data are unfair in themselves" in limits[name][1]
    assert limits["balanced_accuracy"] == (
        0.55,
        "a constant answer has 0.50; the limit is halfway to what full_resampled shows",
    )


def test_the_scatter_of_draws_needs_more_seeds() -> None:
    limit = {"metric": "accuracy", "over": "balanced", "at_least": -0.07, "why": "a test"}
    policy = Gate.model_validate({**BOUNDS, "limits": [limit]})

    def planned(seeds: int, **more: object) -> tuple[float, tuple[str, ...]]:
        assumed = [Assumptions(accuracy=0.8, seeds=seeds, seed_sd=0.02)]
        power = plan(CELLS, policy, assumed, rng=np.random.default_rng(0), draws=400, **more)  # type: ignore[arg-type]
        return power.rows[0].chance, power.advice

    steady, scattered = planned(5)[0], planned(5, draw_sd={"balanced": 0.08})
    assert steady > 0.95
    assert scattered[0] < 0.7
    (advice,) = [sentence for sentence in scattered[1] if "own draw of balanced" in sentence]
    needed = int(advice.partition(" seeds are enough")[0].rpartition(" ")[2])
    assert needed > 5
    assert planned(needed, draw_sd={"balanced": 0.08})[0] > 0.75


def test_only_the_section_gate_changes() -> None:
    text = (
        "# head\na: 1\n\n# about limits\n# of digits\ngate:\n  mode: point\n\n  # inner\n  limits: []\n\n# tail\nb: 2\n"
    )
    policy = Gate.model_validate({"mode": "point", "limits": [{"metric": "accuracy", "at_least": 0.5, "why": "x: y"}]})

    changed = with_gate(text, policy, comment="new", name="params.yaml")

    assert changed.startswith("# head\na: 1\n\n# new\ngate:\n")
    assert changed.endswith("\n\n# tail\nb: 2\n")
    assert "digits" not in changed
    assert Gate.model_validate(yaml.safe_load(changed)["gate"]) == policy
    with pytest.raises(ConfigError, match=r"params.yaml has no section `gate`"):
        with_gate("a: 1\n", policy, comment="new", name="params.yaml")


def test_foreign_limits_are_replaced_before_anything_is_judged(tmp_path: Path) -> None:
    params = small_params()
    params["gate"] = {
        **BOUNDS,
        "planned_for": "table, credit.csv",
        "limits": [{"metric": "eo_diag_max", "at_most": 0.2, "why": "no loan"}],
    }
    write_params(tmp_path, params)
    (tmp_path / "context.json").write_text("{}\n")
    for command in ("prepare", "validate", "references random", "evaluate random"):
        assert run(tmp_path, "stage", *command.split()).code == 0
    before = load_config(tmp_path / "params.yaml")

    refused = run(tmp_path, "stage", "judge", "random")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "planned for the data set 'table, credit.csv', and these data are 'digits'" in refused.err
    written = run(tmp_path, "gate", "plan", "--accuracy", "0.9", "--write")

    assert written.code == 0, written.err
    config = load_config(tmp_path / "params.yaml")
    assert config == before.model_copy(update={"gate": config.gate})
    assert config.gate.planned_for == "digits"
    assert "no loan" not in (tmp_path / "params.yaml").read_text()
    assert all(f"{limit.name}: " in written.out for limit in config.gate.limits)
