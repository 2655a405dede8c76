"""Every interface gives the same verdict for the same context, in less than a second and without torch."""

import json
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from small_evidence import write_evidence
from small_workspace import run, small_params

from fair_distill.config import Config, load_gate
from fair_distill.files import sha256
from fair_distill.gate.judge import judge
from fair_distill.gate.verdict import Verdict
from fair_distill.stages.judge import compute_verdict
from fair_distill.workspace import Workspace

SET = "barycentric"


def place(root: Path, *, of: int = 60, rates: Any = ((0.9, 0.9), (0.8, 0.8)), **gate: Any) -> tuple[Workspace, Config]:
    """A workspace that holds no more than judging needs: params, context, the gate split, manifests and predictions."""
    params = small_params()
    params["evaluate"] = {"seeds": 3, "networks": [params["evaluate"]["networks"][0]]}
    params["gate"] = {
        "mode": "bounds",
        "alpha": 0.05,
        "minimum_seeds": 3,
        "minimum_per_cell": 20,
        "limits": [
            {"metric": "eo_diag_max", "at_most": 0.3, "why": "a test"},
            {"metric": "accuracy", "over": "full", "at_least": -0.2, "why": "a test"},
        ],
    } | gate
    return write_evidence(root, params, names=(SET, "full"), rates=rates, of=of)


def told_digest(out: str) -> str:
    (line,) = (line for line in out.splitlines() if line.startswith("  verdict "))
    return line.removeprefix("  verdict ")


def test_api_stage_command_line_and_enforce_give_the_same_verdict(tmp_path: Path) -> None:
    workspace, config = place(tmp_path)

    by_api = judge(
        workspace.predictions(SET).read_bytes(),
        config.gate,
        context=workspace.context.read_bytes(),
        engine=config.engine,
        manifest=(workspace.set(SET) / "manifest.json").read_bytes(),
        references={"full": workspace.predictions("full").read_bytes()},
        now=date(2026, 1, 1),
    )
    by_promotion = compute_verdict(workspace, config, SET, now=date(2027, 1, 1))
    by_graph = run(tmp_path, "judge", SET)
    by_ci = run(tmp_path, "enforce", SET, "--markdown", str(tmp_path / "x.md"), "--junit", str(tmp_path / "x.xml"))

    stored = sha256(workspace.verdict(SET))
    assert {by_api.digest, by_promotion.digest, told_digest(by_graph.out), told_digest(by_ci.out)} == {stored}
    assert Verdict.from_json(workspace.verdict(SET).read_bytes()) == by_api
    assert (tmp_path / "x.md").read_text().startswith(f"## {SET}: ")
    assert "<testsuites>" in (tmp_path / "x.xml").read_text()


def test_another_policy_is_judged_by_and_a_floor_is_kept(tmp_path: Path) -> None:
    workspace, config = place(tmp_path)
    strict = config.gate.model_dump(mode="json", exclude_none=True)
    strict["limits"][0]["at_most"] = 0.01
    (tmp_path / "strict.yaml").write_text(yaml.safe_dump(strict))

    assert run(tmp_path, "enforce", SET).code == 0
    assert run(tmp_path, "enforce", SET, "--policy", str(tmp_path / "strict.yaml")).code == 3
    ended = run(tmp_path, "enforce", SET, "--policy-floor", str(tmp_path / "strict.yaml"))
    assert ended.code == 2
    assert "the policy floor requires the clause 'eo_diag_max' with at_most 0.01" in ended.err
    verdict = compute_verdict(workspace, config, SET, floor=load_gate(workspace.params))
    assert verdict.policy_floor == verdict.policy


def test_each_outcome_has_its_exit_code(tmp_path: Path) -> None:
    place(tmp_path, rates=((0.9, 0.1), (0.8, 0.8)))
    assert run(tmp_path, "enforce", SET).code == 1
    place(tmp_path, minimum_per_cell=61)
    assert run(tmp_path, "enforce", SET).code == 3
    workspace, _ = place(tmp_path)
    workspace.predictions("full").write_bytes(workspace.predictions(SET).read_bytes())
    assert run(tmp_path, "enforce", SET).code == 5
    workspace.predictions("full").write_bytes(b"x")
    assert run(tmp_path, "enforce", SET).code == 4
    workspace.predictions("full").unlink()
    assert run(tmp_path, "enforce", SET).code == 4
    (tmp_path / "params.yaml").unlink()
    assert run(tmp_path, "enforce", SET).code == 2


def test_a_clause_over_nobody_is_told(tmp_path: Path) -> None:
    clause = {"metric": "accuracy", "over": "nobody", "at_least": 0.0, "why": "a test"}
    _, config = place(tmp_path)
    policy = config.gate.model_dump(mode="json", exclude_none=True) | {"limits": [clause]}
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy))  # used without other files, so it has no references

    ended = run(tmp_path, "enforce", SET, "--policy", str(tmp_path / "policy.yaml"))
    assert ended.code == 2
    assert "references has no 'nobody'" in ended.err


def test_a_waiver_counts_on_its_day_and_not_in_the_graph(tmp_path: Path) -> None:
    workspace, _ = place(tmp_path, rates=((0.9, 0.1), (0.8, 0.8)))
    waiver = {
        "set": sha256(workspace.set(SET) / "manifest.json"),
        "clause": "eo_diag_max",
        "who": "Ada",
        "approved_by": "Grace",
        "why": "a trial",
        "expires": "2126-06-30",
    }
    (tmp_path / "context.json").write_text(json.dumps({"waivers": [waiver]}))

    ended = run(tmp_path, "enforce", SET, "--now", "2126-06-30")
    assert ended.code == 0
    assert ended.out.startswith(f"{SET}: WAIVED")
    assert "waived until 2126-06-30 by Ada, approved by Grace: a trial" in ended.out
    assert run(tmp_path, "enforce", SET, "--now", "2126-07-01").code == 1
    assert "this verdict has no date" in run(tmp_path, "judge", SET).out


def test_a_day_in_the_past_revives_no_waiver(tmp_path: Path) -> None:
    workspace, _ = place(tmp_path, rates=((0.9, 0.1), (0.8, 0.8)))
    waiver = {
        "set": sha256(workspace.set(SET) / "manifest.json"),
        "clause": "eo_diag_max",
        "who": "Ada",
        "approved_by": "Grace",
        "why": "a trial",
        "expires": "2020-06-30",
    }
    (tmp_path / "context.json").write_text(json.dumps({"waivers": [waiver]}))

    for command in ("enforce", "explain", "judge"):
        ended = run(tmp_path, command, SET, "--now", "2020-06-30")
        assert ended.code == 2, command
        assert "on which expired waivers would count again" in ended.err
    assert run(tmp_path, "enforce", SET).code == 1


def test_a_day_that_is_none_is_told(tmp_path: Path) -> None:
    ended = run(tmp_path, "enforce", SET, "--now", "foo")

    assert ended.code == 2
    assert "argument --now: 'foo' is not a date; write it as 2027-03-31" in ended.err


def test_explain_says_what_decides(tmp_path: Path) -> None:
    place(tmp_path, rates=((0.9, 0.1), (0.8, 0.8)))

    ended = run(tmp_path, "explain", SET)
    assert ended.code == 0
    assert "class 'class0' is recognised in" in ended.out
    assert "by chance" in ended.out


def test_explain_names_the_label_errors_that_would_change_a_pass(tmp_path: Path) -> None:
    place(tmp_path)
    ended = run(tmp_path, "explain", SET)

    assert f"{SET}: PASS" in ended.out
    lines = [line.strip() for line in ended.out.splitlines() if "label errors:" in line]
    assert len(lines) == 2
    assert any("would no longer hold if" in line and "of the labels of group" in line for line in lines)


def test_a_hundred_thousand_predictions_are_enforced_in_a_second_and_without_torch(tmp_path: Path) -> None:
    place(tmp_path, of=8334)
    code = (
        "import sys; from fair_distill.cli import main; "
        f"code = main(['--workspace', {str(tmp_path)!r}, 'enforce', {SET!r}]); "
        "heavy = {'torch', 'scipy', 'pandas', 'great_expectations', 'prefect', 'dvc', 'boto3'} & set(sys.modules); "
        "print('heavy', sorted(heavy)); sys.exit(code)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    assert "heavy []" in ended.stdout

    # in this process, so that a busy machine's start-up is not measured
    began = time.process_time()
    assert run(tmp_path, "enforce", SET).code == 0
    assert time.process_time() - began < 1
