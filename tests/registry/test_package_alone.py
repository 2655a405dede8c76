"""A consumer with nothing but the published set trains a network as good as the gate measured, group by group."""

import json
import subprocess
import sys
from pathlib import Path

import torch
import yaml
from small_workspace import run

import fair_distill
from fair_distill.data.split_file import read_split
from fair_distill.files import sha256
from fair_distill.registry.client import look_up

SEEDS = range(100, 104)


def test_a_consumer_reaches_the_gates_accuracy_within_its_interval_from_the_package_alone(workspace: Path):
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    limit = {"metric": "accuracy", "at_least": 0.001, "why": "a test"}
    params["gate"] = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 2, "limits": [limit]}
    params["evaluate"] = {"seeds": 8, "networks": params["evaluate"]["networks"][:1]}
    (workspace / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert run(workspace, "evaluate", "barycentric").code == 0
    assert run(workspace, "publish").code == 0
    ended = run(workspace, "promote", "--to", "production")
    assert ended.code == 0, ended.err

    found = look_up("digits@production", registry=str(workspace / "registry"))
    # Its own seeds, and only what was published: no params, no workspace.
    networks = [fair_distill.train(found.set, seed=seed) for seed in SEEDS]

    assert found.verdict is not None
    network = found.verdict.groups[0].network
    measured = {row.group: row for row in found.verdict.groups if row.network == network}
    own = read_split(workspace / "artifacts/prepared/gate.arrow")
    pixels = torch.from_numpy(own.images.copy()).float() / 255
    with torch.no_grad():
        right = torch.stack([one(pixels).argmax(dim=1) == torch.from_numpy(own.labels.copy()) for one in networks])
    for index, group in enumerate(own.groups):
        accuracy = float(right[:, torch.from_numpy(own.group_indices.copy()) == index].float().mean())
        row = measured[group]
        assert row.low is not None
        assert row.high is not None
        assert row.low <= accuracy <= row.high, (group, row, accuracy)
        assert row.high - row.low < 0.5  # an interval that could not be missed would show nothing


def test_the_commands_of_a_consumer_say_what_they_did(workspace: Path, tmp_path: Path):
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    params["gate"]["limits"] = [{"metric": "accuracy", "at_least": 0.001, "why": "a test"}]
    (workspace / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    registry, lock = str(workspace / "registry"), str(tmp_path / "lock")
    made = run(workspace, "key", str(tmp_path / "key.pem"))
    assert made.code == 0
    assert made.out.startswith("ed25519:")
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0
    assert run(workspace, "key", str(tmp_path / "key.pem")).code == 2
    key = ["--key", str(tmp_path / "key.pem")]
    params["release"]["signed_by"] = [made.out.strip()]
    (workspace / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    place = ["--registry", registry]

    assert run(workspace, "publish", *place, *key).code == 0
    unsigned = run(workspace, "promote", "--to", "production", *place)
    assert unsigned.code == 5
    assert "is not signed, and a signature is required" in unsigned.err
    params["release"]["approvals"] = {"production": {"at_least": 1, "by": [made.out.strip()]}}
    (workspace / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    alone = run(workspace, "promote", "--to", "production", *place, *key)
    assert alone.code == 3
    assert "production needs 1 approval " in alone.err
    assert run(workspace, "approve", "digits@v1", *place).code == 2  # with whose key?
    assert run(workspace, "approve", "digits@v1", *place, *key).out.startswith(
        "digits@v1 is approved under the policy "
    )
    why = ["--reason", "labels mended"]
    assert run(workspace, "promote", "--to", "production", *why, *place, *key).code == 0
    assert "is v1 in" in run(workspace, "pin", "digits@production", "--lock", lock, *place).out
    assert run(workspace, "outdated", "--lock", lock).out == "1 pins, all up to date\n"
    anchor = tmp_path / "anchor"
    anchor.write_text(run(workspace, "head", "digits", *place, *key).out)
    assert run(workspace, "verify", "digits", "--anchor", str(anchor), *place).code == 0
    assert "both v1; they do not differ" in run(workspace, "diff", "digits@v1", "digits@production", *place).out
    card = run(workspace, "card", "digits@production", *place).out
    for heading in ("Accuracy for each group", "Intended use", "What was not tested", "How it was made"):
        assert f"## {heading}\n" in card
    assert "| cyan |" in card or "| red |" in card
    look = tmp_path / "look.json"
    assert run(workspace, "gc", str(look), "--lock", lock, *place).out.startswith("0 files are unused")
    assert run(workspace, "gc", str(look), "--lock", lock, *place).code == 2  # not yet a day later
    off = run(workspace, "demote", "digits@production", "--reason", "a test", *place)
    assert off.out == "digits@production is now empty; v1 was demoted: a test\n"
    log = run(workspace, "log", "digits", *place).out.splitlines()
    assert log[0].endswith(": publish v1: predictions not attested")
    assert [line for line in log if line.endswith(": promote v1 to production: labels mended")]
    assert log[-1].endswith(": demote v1 from production: a test")
    entries = json.loads(run(workspace, "log", "digits", "--json", *place).out)
    assert [entry["number"] for entry in entries] == list(range(1, len(log) + 1))
    assert run(workspace, "demote", "digits@production", "--reason", "a test", *place).code == 1
    gone = run(workspace, "outdated", "--lock", lock)
    assert gone.code == 1
    assert "is pinned to v1 and now names no version" in gone.out


def test_a_lock_file_that_is_not_there_is_no_pin_that_is_up_to_date(tmp_path: Path):
    ended = run(tmp_path, "outdated", "--lock", str(tmp_path / "nosuch.lock"))

    assert ended.code == 2
    assert ended.err.endswith(
        "nosuch.lock is missing; create it with `fair-distill registry pin REFERENCE`, "
        "or pass another file with --lock\n"
    )


def test_who_must_agree_agrees_and_an_auditor_gets_it_all(workspace: Path, tmp_path: Path):
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    params["gate"]["limits"] = [{"metric": "accuracy", "at_least": 0.001, "why": "a test"}]
    place, key = ["--registry", str(tmp_path / "registry")], ["--key", str(tmp_path / "key.pem")]
    public = run(workspace, "key", key[1]).out.strip()
    params["release"] |= {"signed_by": [], "approvals": {"production": {"at_least": 1, "by": [public]}}}
    (workspace / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert run(workspace, "publish", *place).code == 0

    alone = run(workspace, "promote", "--to", "production", *place)
    assert alone.code == 3
    assert "production needs 1 approval " in alone.err
    assert run(workspace, "approve", "digits@v1", *place).code == 2  # with whose key?
    agreed = run(workspace, "approve", "digits@v1", *place, *key)
    assert agreed.out.startswith("digits@v1 is approved under the policy ")
    assert run(workspace, "promote", "--to", "production", *place).code == 0

    metadata = json.loads(run(workspace, "card", "digits@production", "--croissant", *place).out)
    assert metadata["distribution"][0]["contentUrl"].startswith(f"{place[1]}/objects/")
    assert run(workspace, "verify", "digits").code == 2  # nothing lies in the workspace's own
    packed = run(workspace, "evidence", "digits@production", "--out", str(tmp_path / "all.zip"), *place).out
    assert packed.endswith(f"SHA-256 {sha256(tmp_path / 'all.zip')}\n")


def test_importing_the_package_takes_next_to_nothing():
    # Lines of Python run, not seconds: a busy machine is no fault. Importing numpy alone runs more modules than this.
    code = "import sys; before = len(sys.modules); import fair_distill; print(len(sys.modules) - before)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert int(done.stdout) < 20
