"""A verdict is only about the set, split, exam and context that are in the workspace now."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_evidence import write_evidence, write_gate_split, write_manifest
from small_predictions import drawn
from small_workspace import run, small_params, write_params

from fair_distill.config import ENGINE, Config, load_config
from fair_distill.data.split_file import read_split, write_split
from fair_distill.files import sha256, write_bytes
from fair_distill.gate.predictions import Predictions
from fair_distill.workspace import Workspace

SET, WORSE = "barycentric", "pooled"
FAIR, UNFAIR = ((0.9, 0.9), (0.9, 0.9)), ((0.95, 0.2), (0.9, 0.9))
NET = {"name": "convnet", "width": 8, "depth": 2}


def params_with(**gate: Any) -> dict[str, Any]:
    params = small_params()
    params["evaluate"] = {"seeds": 3, "networks": [dict(NET)]}
    params["gate"] = {
        "mode": "bounds",
        "alpha": 0.05,
        "minimum_seeds": 3,
        "minimum_per_cell": 20,
        "limits": [{"metric": "eo_diag_max", "at_most": 0.3, "why": "a test"}],
    } | gate
    return params


def place(root: Path, **gate: Any) -> tuple[Workspace, Config]:
    """A workspace whose barycentric set passes and whose pooled set fails."""
    write_evidence(root, params_with(**gate), names=(WORSE,), rates=UNFAIR, of=60)
    return write_evidence(root, params_with(**gate), names=(SET, "full"), rates=FAIR, of=60)


def table(workspace: Workspace, name: str) -> Predictions:
    return Predictions.from_parquet(workspace.predictions(name).read_bytes())


def rows(predictions: Predictions, kept: Any) -> Predictions:
    return replace(predictions, columns={name: column[kept] for name, column in predictions.columns.items()})


def test_the_two_sets_pass_and_fail_by_their_own_predictions(tmp_path: Path) -> None:
    place(tmp_path)

    assert run(tmp_path, "enforce", SET).code == 0
    assert run(tmp_path, "enforce", WORSE).code == 1


# --- what was changed, the exit code, and the words of the message


def take_predictions_of_another_set(workspace: Workspace, config: Config) -> None:
    shutil.copy(workspace.predictions(SET), workspace.predictions(WORSE))


def take_another_set_with_its_predictions(workspace: Workspace, config: Config) -> None:
    shutil.copy(workspace.predictions(SET), workspace.predictions(WORSE))
    shutil.copy(workspace.set(SET) / "manifest.json", workspace.set(WORSE) / "manifest.json")


def distil_again(workspace: Workspace, config: Config) -> None:
    path = workspace.set(WORSE) / "manifest.json"
    write_bytes(path, path.read_bytes().replace(b"c" * 64, b"d" * 64))


def remove_the_set(workspace: Workspace, config: Config) -> None:
    shutil.rmtree(workspace.set(WORSE))


def change_a_parameter(workspace: Workspace, config: Config) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    params["distill"]["steps"] += 1
    write_params(workspace.root, params)


def exchange_the_gate_split(workspace: Workspace, config: Config) -> None:
    write_gate_split(workspace, drawn(FAIR, 61, np.random.default_rng(9)))


def brighten_an_image_of_the_split(workspace: Workspace, config: Config) -> None:
    split = read_split(workspace.split("gate"))
    write_split(replace(split, images=split.images + np.uint8(1)), workspace.split("gate"))


def leave_hard_pairs_out(workspace: Workspace, config: Config) -> None:
    for name in (WORSE, "full"):
        whole = table(workspace, name)
        missed = set(whole.columns["example"][whole.columns["predicted"] != whole.columns["label"]].tolist())
        kept = ~np.isin(whole.columns["example"], list(missed))
        workspace.predictions(name).write_bytes(rows(whole, kept).to_parquet())


def call_wrong_answers_right(workspace: Workspace, config: Config) -> None:
    whole = table(workspace, WORSE)
    easier = replace(whole, columns=whole.columns | {"label": whole.columns["predicted"]})
    workspace.predictions(WORSE).write_bytes(easier.to_parquet())


def lower_the_seeds_in_the_file(workspace: Workspace, config: Config) -> None:
    whole = table(workspace, WORSE)
    workspace.predictions(WORSE).write_bytes(rows(whole, whole.columns["seed"] < 2).to_parquet())


def name_other_options(workspace: Workspace, config: Config) -> None:
    whole = table(workspace, WORSE)
    other = replace(whole, options={"convnet": {"width": 64, "depth": 2}})
    workspace.predictions(WORSE).write_bytes(other.to_parquet())


def raise_the_engine(workspace: Workspace, config: Config) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    write_params(workspace.root, params | {"engine": params["engine"] + 1})


def evaluate_on_tune(workspace: Workspace, config: Config) -> None:
    shutil.copy(workspace.split("gate"), workspace.split("tune"))
    write_gate_split(workspace, drawn(FAIR, 61, np.random.default_rng(9)))


CHANGES: list[tuple[Callable[[Workspace, Config], None], int, str]] = [
    (take_predictions_of_another_set, 5, "has the predictions of the set 'barycentric', not of 'pooled'"),
    (take_another_set_with_its_predictions, 5, "is the manifest of the set 'barycentric', not 'pooled'"),
    (distil_again, 4, "and the set has changed since; run `fair-distill stage evaluate pooled`"),
    (remove_the_set, 4, "manifest.json is missing; run `fair-distill stage distill pooled`"),
    (change_a_parameter, 4, "was made with distill.steps: 5; params.yaml has distill.steps: 6. Run"),
    (raise_the_engine, 2, f"engine is {ENGINE + 1}, and the installed fair-distill has engine {ENGINE}; install"),
    (exchange_the_gate_split, 4, "and the gate split has changed to"),
    (brighten_an_image_of_the_split, 4, "and the gate split has changed to"),
    (evaluate_on_tune, 5, "was evaluated on the tune split, not on the gate split"),
    (leave_hard_pairs_out, 5, "one for each example and network. Evaluate again"),
    (call_wrong_answers_right, 5, "differs from the gate split; evaluate again"),
    (lower_the_seeds_in_the_file, 4, "has 2 seeds of convnet depth 2 width 8; params.yaml: evaluate has 3 seeds"),
    (name_other_options, 4, "convnet depth 2 width 64; params.yaml: evaluate has 3 seeds of convnet depth 2 width 8"),
]


@pytest.mark.parametrize(("change", "code", "says"), CHANGES, ids=[change.__name__ for change, *_ in CHANGES])
def test_what_does_not_belong_together_gets_no_verdict_from_any_command(
    tmp_path: Path, change: Callable[[Workspace, Config], None], code: int, says: str
) -> None:
    workspace, config = place(tmp_path)
    change(workspace, config)

    for command in ("enforce", "judge", "explain"):
        ended = run(tmp_path, command, WORSE)
        assert (ended.code, ended.out) == (code, ""), command
        assert ended.err.count("\n") == 1
        assert says in ended.err
    row = json.loads(run(tmp_path, "table", "--json").out)[WORSE]
    assert (row["verdict"], row["networks"]) == (None, None)


def test_after_an_upgrade_a_set_of_the_earlier_engine_gets_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, config = place(tmp_path)
    raise_the_engine(workspace, config)
    monkeypatch.setattr("fair_distill.config.engine.ENGINE", config.engine + 1)

    ended = run(tmp_path, "enforce", WORSE)

    assert ended.code == 4
    assert f"was made with engine: {config.engine}; params.yaml has engine: {config.engine + 1}. Run" in ended.err


def test_the_table_says_why_a_set_has_no_verdict(tmp_path: Path) -> None:
    workspace, config = place(tmp_path)
    take_predictions_of_another_set(workspace, config)

    shown = run(tmp_path, "table").out

    assert "contradictory" in shown
    assert "pooled: " in shown
    assert "has the predictions of the set 'barycentric'" in shown


# --- the policy declares the exam


def test_a_policy_from_another_branch_requires_that_branchs_evaluation(tmp_path: Path) -> None:
    place(tmp_path)
    base = params_with()
    for change, says in (
        ({"seeds": 5}, "5 seeds are required; evaluated: 3"),
        ({"networks": [NET, {"name": "mlp", "width": 8, "depth": 1}]}, "network 'mlp' is required; evaluated: convnet"),
        ({"networks": [NET | {"width": 16}]}, "network 'convnet' needs the options"),
    ):
        (tmp_path / "base.yaml").write_text(yaml.safe_dump(base | {"evaluate": base["evaluate"] | change}))
        ended = run(tmp_path, "enforce", SET, "--policy", str(tmp_path / "base.yaml"))
        assert ended.code == 4
        assert says in ended.err
        assert "base.yaml: gate" in ended.err
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base | {"recipe": base["recipe"] | {"steps": 999}}))
    assert (
        "recipe.steps must be 999; evaluated: 20"
        in run(tmp_path, "enforce", SET, "--policy", str(tmp_path / "base.yaml")).err
    )
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base | {"evaluate": base["evaluate"] | {"seeds": 2}}))
    assert run(tmp_path, "enforce", SET, "--policy", str(tmp_path / "base.yaml")).code == 0


def test_an_exam_names_the_gate_split_or_how_it_may_grow(tmp_path: Path) -> None:
    exam = {"networks": [NET], "seeds": 3}
    workspace, _ = place(tmp_path)
    digest = sha256(workspace.split("gate"))

    for split, code in (
        ({"examples": 240}, 0),
        ({"examples": 241}, 4),
        ({"sha256": digest}, 0),
        ({"sha256": "0" * 64}, 4),
    ):
        write_params(tmp_path, params_with(exam=exam | {"split": split}))
        assert run(tmp_path, "enforce", SET).code == code, split


def test_without_the_split_file_a_policy_that_declares_the_split_is_enough(tmp_path: Path) -> None:
    workspace, _ = place(tmp_path)
    workspace.split("gate").unlink()

    ended = run(tmp_path, "enforce", SET)
    assert ended.code == 4
    assert "gate.arrow is missing; run `fair-distill stage prepare`" in ended.err
    write_params(tmp_path, params_with(exam={"networks": [NET], "seeds": 3, "split": {"examples": 240}}))
    assert run(tmp_path, "enforce", SET).code == 0


def test_evaluate_must_satisfy_the_exam_of_its_own_file(tmp_path: Path) -> None:
    place(tmp_path)
    write_params(tmp_path, params_with(exam={"networks": [NET], "seeds": 4}))

    ended = run(tmp_path, "judge", SET)

    assert ended.code == 2
    assert "evaluate and recipe do not satisfy gate.exam: 4 seeds are required; evaluated: 3" in ended.err


def test_a_floor_requires_its_exam_too(tmp_path: Path) -> None:
    place(tmp_path)
    floor = params_with()["gate"] | {"exam": {"networks": [NET], "seeds": 10}}
    (tmp_path / "floor.yaml").write_text(yaml.safe_dump(floor))

    ended = run(tmp_path, "enforce", SET, "--policy-floor", str(tmp_path / "floor.yaml"))

    assert ended.code == 4
    assert "floor.yaml: gate: 10 seeds are required; evaluated: 3" in ended.err


# --- the context


def test_an_attempt_belongs_to_one_set_and_one_split(tmp_path: Path) -> None:
    workspace, _ = place(tmp_path)
    version, split = sha256(workspace.set(SET) / "manifest.json"), sha256(workspace.split("gate"))

    def attempt_of(name: str, **reserved: Any) -> Any:
        workspace.context.write_text(json.dumps({"attempt": {"set": version, "split": split, "number": 4} | reserved}))
        ended = run(tmp_path, "enforce", name, "--json")
        return json.loads(ended.out)["attempt"] if ended.out else (ended.code, ended.err)

    assert attempt_of(SET) == 4
    assert attempt_of(WORSE) == 5  # the number it would get, and never that of another set
    code, message = attempt_of(SET, split="0" * 64)
    assert code == 4
    assert "Run `fair-distill gate reserve`" in message


@pytest.mark.parametrize("number", [0, -1, 10**400, 1_000_001, "1", 1.5, None])
def test_an_attempt_number_that_is_none_is_one_line(tmp_path: Path, number: Any) -> None:
    workspace, _ = place(tmp_path)
    attempt = {"set": "a" * 64, "split": "b" * 64, "number": number}
    for content in ({"attempt": attempt}, {"attempt": number}):
        if content == {"attempt": None}:
            continue
        workspace.context.write_text(json.dumps(content))
        ended = run(tmp_path, "enforce", SET)
        assert ended.code == 2
        assert "context.json" in ended.err
        assert ended.err.count("\n") == 1


# --- what a verdict names


def test_a_verdict_names_everything_that_it_is_computed_from(tmp_path: Path) -> None:
    workspace, _ = place(tmp_path)

    verdict = json.loads(run(tmp_path, "enforce", SET, "--json").out)

    assert verdict["set"] == sha256(workspace.set(SET) / "manifest.json")
    assert (verdict["split"], verdict["examples"]) == (sha256(workspace.split("gate")), 240)
    assert verdict["predictions"] == sha256(workspace.predictions(SET))
    assert verdict["evaluation"]["networks"] == {"convnet": {"width": 8, "depth": 2}}
    assert verdict["evaluation"]["seeds"] == 3
    assert len(verdict["evaluation"]["recipe"]) == 64
    assert verdict["gate"]["limits"][0]["at_most"] == 0.3
    assert verdict["context"] == sha256(workspace.context)


def test_a_manifest_with_another_recipe_gives_another_verdict(tmp_path: Path) -> None:
    workspace, _ = place(tmp_path)
    before = json.loads(run(tmp_path, "enforce", SET, "--json").out)["evaluation"]["recipe"]
    params = params_with()
    params["recipe"]["steps"] += 1
    write_params(tmp_path, params)
    config = load_config(workspace.params)
    for name in (SET, "full"):
        version = write_manifest(workspace, config, name)
        write_bytes(workspace.predictions(name), replace(table(workspace, name), set=version).to_parquet())

    assert json.loads(run(tmp_path, "enforce", SET, "--json").out)["evaluation"]["recipe"] != before
