"""Predictions count for a pull request only with the signature of an evaluator that the policy trusts."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_evidence import write_evidence
from small_workspace import run, small_params, write_params

from fair_distill.config import Config, load_config
from fair_distill.errors import Undecided
from fair_distill.files import sha256
from fair_distill.stages.judge import compute_verdict
from fair_distill.statements import new_key, read_envelope
from fair_distill.workspace import Workspace

SET = "barycentric"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, str]]:
    """Two keys: files with the private halves, and the public halves."""
    folder, made = tmp_path_factory.mktemp("keys"), []
    for name in ("evaluator", "stranger"):
        private, public = new_key()
        (folder / name).write_bytes(private)
        made.append((folder / name, public))
    return made


def place(root: Path, **gate: Any) -> tuple[Workspace, Config]:
    params = small_params()
    params["evaluate"] = {"seeds": 3, "networks": [params["evaluate"]["networks"][0]]}
    params["sets"] = [SET, "full"]
    params["gate"] = {
        "mode": "point",
        "limits": [
            {"metric": "accuracy", "at_least": 0.5, "why": "a test"},
            {"metric": "accuracy", "over": "full", "at_least": -0.5, "why": "a test"},
        ],
    } | gate
    return write_evidence(root, params, names=(SET, "full"), rates=((0.9, 0.9), (0.9, 0.9)), of=30)


def in_a_pull_request(workspace: Workspace) -> str:
    """What judging says there: the outcome, or why the predictions do not count."""
    try:
        return compute_verdict(workspace, load_config(workspace.params), SET, attested=True).outcome
    except Undecided as error:
        return str(error)


def test_a_policy_without_evaluators_lets_no_predictions_count_in_a_pull_request(tmp_path: Path) -> None:
    workspace, _ = place(tmp_path)

    assert in_a_pull_request(workspace).startswith("unattested: params.yaml: gate.evaluators lists no key")
    assert run(tmp_path, "enforce", SET).code == 0  # a person at their own workspace knows who evaluated


def test_predictions_count_once_the_evaluator_signed_those_of_every_set(
    tmp_path: Path, keys: list[tuple[Path, str]]
) -> None:
    (file, public), (strange, _) = keys
    workspace, config = place(tmp_path, evaluators=[public])

    assert "signed the predictions of 'barycentric'" in in_a_pull_request(workspace)
    ended = run(tmp_path, "enforce", SET)
    assert (ended.code, ended.err.count("\n")) == (3, 1)
    assert "unattested" in ended.err
    assert run(tmp_path, "attest", SET, "--key", str(strange)).code == 0
    assert "signed the predictions of 'barycentric'" in in_a_pull_request(workspace)
    assert run(tmp_path, "attest", SET, "--key", str(file)).code == 0
    assert "signed the predictions of 'full'" in in_a_pull_request(workspace)
    assert run(tmp_path, "attest", "--key", str(file)).out.splitlines() == [
        str(workspace.attestation(name)) for name in config.sets
    ]
    assert in_a_pull_request(workspace) == "pass"
    assert run(tmp_path, "enforce", SET).code == 0
    assert run(tmp_path, "judge", SET).code == 0
    statement = read_envelope(workspace.attestation(SET).read_bytes(), name="the statement")
    assert statement.about == sha256(workspace.predictions(SET))


def test_a_statement_counts_for_its_own_predictions_alone(tmp_path: Path, keys: list[tuple[Path, str]]) -> None:
    (file, public), _ = keys
    workspace, _ = place(tmp_path, evaluators=[public])
    assert run(tmp_path, "attest", "--key", str(file)).code == 0
    own, other = (workspace.attestation(name).read_bytes() for name in (SET, "full"))

    envelope = json.loads(own)
    for content in (
        other,
        b"{}",
        b"",
        own[:-20],
        json.dumps(envelope | {"signatures": []}).encode(),
        json.dumps(envelope | {"signatures": json.loads(other)["signatures"]}).encode(),
        json.dumps(envelope | {"payload": json.loads(other)["payload"]}).encode(),
    ):
        workspace.attestation(SET).write_bytes(content)
        assert "unattested" in in_a_pull_request(workspace)
    workspace.attestation(SET).write_bytes(own)
    assert in_a_pull_request(workspace) == "pass"


def test_nothing_is_attested_that_does_not_belong_together(tmp_path: Path, keys: list[tuple[Path, str]]) -> None:
    workspace, _ = place(tmp_path)
    workspace.predictions(SET).write_bytes(workspace.predictions("full").read_bytes())

    ended = run(tmp_path, "attest", SET, "--key", str(keys[0][0]))

    assert ended.code == 5
    assert not workspace.attestation(SET).exists()
    assert run(tmp_path, "attest", SET).code == 2


def test_a_waiver_needs_the_key_of_an_approver_where_the_policy_names_any(
    tmp_path: Path, keys: list[tuple[Path, str]]
) -> None:
    (file, public), (strange, _) = keys
    strict = [{"metric": "accuracy", "at_least": 0.99, "why": "a test"}]
    place(tmp_path, limits=strict, approvers=[public])
    words = ("--clause", "accuracy", "--who", "ada", "--approved-by", "grace", "--why", "a trial")
    waive = ("gate", "waive", SET, *words, "--expires", "2126-01-01")

    ended = run(tmp_path, *waive)
    assert ended.code == 2
    assert "approvers lists keys, so a waiver must be signed" in ended.err
    assert run(tmp_path, *waive, "--key", str(strange)).code == 0
    assert run(tmp_path, "enforce", SET).code == 1
    assert "none of the policy's approvers signed it" in run(tmp_path, "explain", SET).out
    (tmp_path / "context.json").write_text("{}")
    assert run(tmp_path, *waive, "--key", str(file)).code == 0
    assert run(tmp_path, "enforce", SET).out.startswith(f"{SET}: WAIVED")
    context = json.loads((tmp_path / "context.json").read_text())
    for key, value in (("expires", "2127-01-01"), ("why", "another"), ("who", "eve"), ("clause", "x")):
        altered = {**context["waivers"][0], key: value}
        (tmp_path / "context.json").write_text(json.dumps(context | {"waivers": [altered]}))
        assert run(tmp_path, "enforce", SET).code in (1, 2), key


def test_a_waiver_of_a_clause_that_is_none_is_not_written(tmp_path: Path) -> None:
    place(tmp_path)
    ended = run(
        *(tmp_path, "gate", "waive", SET, "--clause", "accurracy", "--who", "ada", "--approved-by", "grace"),
        *("--why", "x", "--expires", "2126-01-01"),
    )

    assert ended.code == 2
    assert "names the clause 'accurracy'" in ended.err
    assert (tmp_path / "context.json").read_text() == "{}\n"


def test_a_floor_names_the_keys_that_a_policy_may_use(tmp_path: Path, keys: list[tuple[Path, str]]) -> None:
    (_, public), (_, other) = keys
    _, config = place(tmp_path)
    floor = config.gate.model_dump(mode="json", exclude_none=True) | {"evaluators": [public], "approvers": [public]}
    (tmp_path / "floor.yaml").write_text(yaml.safe_dump(floor))

    for gate, code in (({}, 2), ({"evaluators": [other]}, 2), ({"evaluators": [public], "approvers": [public]}, 3)):
        params = yaml.safe_load((tmp_path / "params.yaml").read_text())
        params["gate"] = {key: value for key, value in params["gate"].items() if key not in ("evaluators", "approvers")}
        write_params(tmp_path, params | {"gate": params["gate"] | gate})
        assert run(tmp_path, "enforce", SET, "--policy-floor", str(tmp_path / "floor.yaml")).code == code, gate
