"""The context of a verdict: attempts, the promoted version, the policy floor and waivers."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_attempts import numbered, take
from small_workspace import run, small_params, write_params

from fair_distill.config import load_config, load_floor
from fair_distill.data.split_file import read_split, write_split
from fair_distill.errors import ConfigError, Refused
from fair_distill.files import sha256
from fair_distill.gate.policy import policy_digest, read_context
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import release
from fair_distill.registry.actor import Actor
from fair_distill.registry.attempts import attempts_of, find_attempt, read_record
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.manifest import read_version
from fair_distill.registry.store import CheckedStore
from fair_distill.stages.context import write_context
from fair_distill.stages.judge import compute_verdict
from fair_distill.stages.policy import load_policy_floor
from fair_distill.stages.promote import promote_version
from fair_distill.stages.publish import publish_set
from fair_distill.stages.training_units import read_training_units
from fair_distill.statements import new_key
from fair_distill.storage.local import LocalStore
from fair_distill.workspace import Workspace

SET = "barycentric"
LOOSE = {"metric": "accuracy", "at_least": 0.0, "why": "a tiny set has to pass here"}


def rewritten(root: Path, **gate: Any) -> None:
    """Give the workspace another policy."""
    params = small_params()
    params["gate"] |= {"limits": [LOOSE]} | gate
    write_params(root, params)


def registry(root: Path) -> CheckedStore:
    return CheckedStore(LocalStore(root / "registry"))


def attempts(root: Path) -> list[str]:
    return [attempt.entry.version for attempt in attempts_of(read_record(registry(root)))]


def in_force(root: Path) -> Verdict:
    """The verdict that the newest entry of production rests on."""
    *_, entry = (entry for entry in read_ledger(registry(root), "digits") if entry.channel == "production")
    path = f"versions/{entry.version}/verdicts/{entry.verdict}.json"
    return Verdict.from_json(registry(root).read(path))


def bounds(**more: Any) -> dict[str, Any]:
    return {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 2} | more


def test_a_first_attempt_is_promoted_on_the_verdict_that_the_graph_gave(workspace: Path) -> None:
    rewritten(workspace)
    assert run(workspace, "judge", SET).code == 0
    assert run(workspace, "publish").code == 0
    assert run(workspace, "promote", "--to", "production").code == 0

    assert in_force(workspace).digest == sha256(Workspace(workspace).verdict(SET))
    assert (workspace / "context.json").read_text() == "{}\n"
    assert len(attempts(workspace)) == 1
    assert run(workspace, "promote", "--to", "production").out == "digits@production is already v1\n"
    assert len(attempts(workspace)) == 1


def test_an_attempt_is_reserved_before_predictions_are_there_and_stands_in_the_context(workspace: Path) -> None:
    rewritten(workspace, **bounds())
    place = Workspace(workspace)
    for name in ("pooled", SET):
        place.predictions(name).rename(workspace / f"{name}.parquet")

    assert "pooled: attempt 1 at this gate split" in run(workspace, "gate", "reserve", "pooled").out
    said = run(workspace, "gate", "reserve").out
    assert f"{SET}: attempt 2 at this gate split, written to context.json" in said
    assert "the alpha of this attempt is 0.0025, and 0.0025 of 0.05 is left on these examples" in said
    reserved = read_context(place.context.read_bytes()).attempt
    assert reserved is not None
    assert reserved.number == 2
    assert reserved.set == sha256(place.set(SET) / "manifest.json")
    assert reserved.split == sha256(place.split("gate"))
    assert run(workspace, "gate", "reserve").out == said

    (workspace / f"{SET}.parquet").rename(place.predictions(SET))
    assert run(workspace, "judge", SET).code == 0
    verdict = Verdict.from_json(place.verdict(SET).read_bytes())
    assert (verdict.attempt, verdict.alpha) == (2, pytest.approx(0.0025))


def test_promotion_counts_attempts_itself_whatever_the_context_says(workspace: Path) -> None:
    rewritten(workspace)
    for name in ("pooled", "random"):
        assert run(workspace, "gate", "reserve", name).code == 0
    (workspace / "context.json").write_text("{}\n")
    assert run(workspace, "publish").code == 0

    assert run(workspace, "promote", "--to", "production").code == 0

    assert in_force(workspace).attempt == 3
    version = sha256(Workspace(workspace).set(SET) / "manifest.json")
    split = sha256(Workspace(workspace).split("gate"))
    made = attempts_of(read_record(registry(workspace)))
    attempt = find_attempt(made, version, split, sha256(Workspace(workspace).predictions(SET)))
    assert attempt is not None
    assert attempt.entry.attempt == 3


def test_a_refusal_has_spent_its_attempt(workspace: Path) -> None:
    rewritten(workspace, limits=[LOOSE | {"at_least": 1.0}])
    assert run(workspace, "publish").code == 0

    assert run(workspace, "promote", "--to", "production").code == 1

    assert len(attempts(workspace)) == 1


def test_what_is_not_published_or_goes_nowhere_is_no_attempt(workspace: Path) -> None:
    assert run(workspace, "promote", "--to", "production").code == 2
    assert attempts(workspace) == []
    assert run(workspace, "publish").code == 0
    published = attempts(workspace)
    assert run(workspace, "promote", "--to", "nowhere").code == 2

    assert len(published) == 1  # published predictions can be judged by everybody
    assert attempts(workspace) == published


def test_a_set_is_held_against_what_is_promoted_and_never_against_itself(workspace: Path) -> None:
    limit = {"metric": "accuracy", "over": "promoted", "at_least": -1.0, "first_release": "accept", "why": "a test"}
    rewritten(workspace, limits=[limit])
    place, actor = Workspace(workspace), Actor("ada", datetime(2026, 3, 3, tzinfo=UTC), "n")
    where = str(workspace / "registry")
    for name in ("pooled", SET):
        config = load_config(place.params)
        config = config.model_copy(update={"release": config.release.model_copy(update={"candidate": name})})
        publish_set(place, config, registry=where, actor=actor)
        promote_version(place, config, "production", registry=where, actor=actor)
    verdict = in_force(workspace)

    assert verdict.references == {"promoted": sha256(place.predictions("pooled"))}
    assert verdict.findings[0].value is not None
    # again: not against itself, and so on the same grounds
    found = write_context(place, config, SET, "production", registry=where, actor=actor)
    context = read_context(found.context)
    assert context.promoted is not None
    assert context.promoted.version == sha256(place.set("pooled") / "manifest.json")
    # the stage judges by the file that was written next to the context
    assert run(workspace, "enforce", SET).code == 0
    assert compute_verdict(place, config, SET).digest == verdict.digest


def test_an_attempt_on_another_split_than_the_verdicts_promotes_nothing(workspace: Path) -> None:
    rewritten(workspace)
    place = Workspace(workspace)
    assert run(workspace, "publish").code == 0
    for _ in range(3):  # so that a fresh split would be worth something
        run(workspace, "gate", "reserve", "pooled")
    split = read_split(place.split("gate"))
    assert split.units is not None
    write_split(
        replace(split, images=split.images + np.uint8(1), units=split.units + np.uint64(1)), place.split("gate")
    )
    assert run(workspace, "gate", "reserve", "--fresh", "new pictures").code == 0

    ended = run(workspace, "promote", "--to", "production")

    assert ended.code == 4
    assert "the gate split has changed to" in ended.err
    assert all(entry.event != "promote" for entry in read_ledger(registry(workspace), "digits"))


def test_a_promotion_whose_verdict_is_not_of_the_reserved_attempt_is_found_by_verify(workspace: Path) -> None:
    rewritten(workspace)
    place, actor = Workspace(workspace), Actor("eve", datetime(2126, 3, 3, tzinfo=UTC), "n")
    config = load_config(place.params)
    store, version = registry(workspace), sha256(place.set(SET) / "manifest.json")
    manifest, files = read_version(place.set(SET), made_by="a test")
    predictions = place.predictions(SET).read_bytes()
    units = read_training_units(place, manifest)
    assert units is not None
    of_version = {"predictions": predictions, "units": units.to_bytes()}
    release.publish(store, "digits", manifest, files, **of_version, actor=replace(actor, nonce="a"))
    take(store, numbered(range(100)), version=version, dataset="digits")
    verdict = compute_verdict(place, config, SET)
    release.promote(
        store,
        *("digits", version, "production"),
        order=["production"],
        verdict=verdict,
        verdict_bytes=verdict.to_json(),
        actor=replace(actor, nonce="b"),
    )

    ended = run(workspace, "verify", "digits@v1", "--registry", str(workspace / "registry"))
    assert ended.code == 5
    assert "has other attempts of this version only" in ended.err


def test_a_laxer_policy_needs_a_reason_that_the_ledger_keeps(workspace: Path) -> None:
    place = Workspace(workspace)
    limit = LOOSE | {"at_least": 0.01}
    rewritten(workspace, limits=[limit])
    config = load_config(place.params)
    where, actor = str(workspace / "registry"), Actor("ada", datetime(2026, 3, 3, tzinfo=UTC), "n")

    def promoted(name: str, reason: str = "") -> None:
        config = load_config(place.params)
        config = config.model_copy(update={"release": config.release.model_copy(update={"candidate": name})})
        publish_set(place, config, registry=where, actor=actor)
        promote_version(place, config, "production", registry=where, actor=actor, reason=reason)

    promoted("pooled")
    rewritten(workspace)
    with pytest.raises(Refused, match=r"than the policy that v1 passed \(no clause that is as strict"):
        promoted(SET)
    assert len(attempts(workspace)) == 2  # of the two publications; the refused promotion is none
    promoted(SET, reason="the pilot ended")
    *_, entry = read_ledger(registry(workspace), "digits")
    assert (entry.event, entry.reason) == ("promote", "the pilot ended")
    assert config.gate.limits[0].at_least == 0.01


def test_a_demotion_makes_no_way_for_a_laxer_policy(workspace: Path) -> None:
    place = Workspace(workspace)
    rewritten(workspace, limits=[LOOSE | {"at_least": 0.01}])
    where, actor = str(workspace / "registry"), Actor("ada", datetime(2026, 3, 3, tzinfo=UTC), "n")

    def promoted(name: str, nonce: str) -> None:
        config = load_config(place.params)
        config = config.model_copy(update={"release": config.release.model_copy(update={"candidate": name})})
        publish_set(place, config, registry=where, actor=replace(actor, nonce=f"p{nonce}"))
        promote_version(place, config, "production", registry=where, actor=replace(actor, nonce=nonce))

    promoted("pooled", "a")
    demote = ("demote", "digits@production", "--reason", "a better one follows", "--registry", where)
    assert run(workspace, *demote).code == 0
    rewritten(workspace)
    for name in (SET, "pooled"):  # the version that was demoted is compared with its own earlier verdict
        with pytest.raises(Refused, match="than the policy that v1 passed"):
            promoted(name, f"b-{name}")


def test_a_publication_records_whether_its_predictions_are_attested(workspace: Path) -> None:
    rewritten(workspace)
    assert run(workspace, "publish").code == 0
    (entry,) = read_ledger(registry(workspace), "digits")
    assert entry.reason == "predictions not attested"
    private, public = new_key()
    (workspace / "key").write_bytes(private)
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    params["gate"]["evaluators"] = [public]
    write_params(workspace, params | {"dataset": "digits"})
    assert run(workspace, "attest", SET, "--key", str(workspace / "key")).code == 0
    other = str(workspace / "another")
    assert run(workspace, "publish", "--registry", other).code == 0
    (entry,) = read_ledger(CheckedStore(LocalStore(Path(other))), "digits")
    assert entry.reason == f"predictions attested by {public}"
    assert len(CheckedStore(LocalStore(Path(other))).list(f"versions/{entry.version}/statements/")) == 1
    assert run(workspace, "verify", "digits@v1", "--registry", other).code == 0
    assert run(workspace, "promote", "--to", "production", "--registry", other).code == 0
    Workspace(workspace).attestation(SET).unlink()
    assert run(workspace, "promote", "--to", "production", "--registry", other).code in (0, 3)


def test_replay_reports_a_damaged_version_and_goes_on(workspace: Path) -> None:
    rewritten(workspace)
    place = Workspace(workspace)
    where, actor = str(workspace / "registry"), Actor("ada", datetime(2026, 3, 3, tzinfo=UTC), "n")
    for name in ("pooled", SET):
        config = load_config(place.params)
        config = config.model_copy(update={"release": config.release.model_copy(update={"candidate": name})})
        publish_set(place, config, registry=where, actor=actor)
    version = sha256(place.set("pooled") / "manifest.json")
    (predictions,) = (workspace / "registry" / "versions" / version / "predictions").iterdir()
    for damage in (b"", b"x", None):
        predictions.unlink(missing_ok=True)
        if damage is not None:
            predictions.write_bytes(damage)
        shown = run(workspace, "gate", "replay")
        assert shown.code == 0
        assert shown.out.splitlines()[-1] == ("1 error, 1 pass" if damage is not None else "1 pass")


def test_waivers_in_the_context_are_kept(workspace: Path) -> None:
    rewritten(workspace)
    waiver = {
        "set": sha256(Workspace(workspace).set(SET) / "manifest.json"),
        "clause": "accuracy",
        "who": "Ada",
        "approved_by": "Grace",
        "why": "a trial",
        "expires": "2126-06-30",
    }
    (workspace / "context.json").write_text(json.dumps({"waivers": [waiver]}))
    for name in ("pooled", SET):
        assert run(workspace, "gate", "reserve", name).code == 0

    context = read_context((workspace / "context.json").read_bytes())
    assert context.attempt is not None
    assert context.attempt.number == 2
    assert [one.model_dump(mode="json", exclude_none=True) for one in context.waivers] == [waiver]


# --- an organisation's floor


FLOOR = {"mode": "point", "limits": [LOOSE | {"at_least": 0.5}]}


@pytest.mark.parametrize("shape", ["floor.yaml", "other-name", "org", "file:///org", "file:///org/floor.yml"])
def test_a_floor_is_a_file_or_a_folder(tmp_path: Path, shape: str) -> None:
    (tmp_path / "org").mkdir()
    for name in ("floor.yaml", "other-name", "org/gate.yaml", "org/floor.yml"):
        (tmp_path / name).write_text(yaml.safe_dump({"gate": FLOOR}))
    where = shape.replace("file:///", f"file://{tmp_path}/") if "://" in shape else str(tmp_path / shape)

    assert load_floor(where).limits[0].at_least == 0.5


def test_a_floor_lies_in_a_bucket(bucket: str, workspace: Path) -> None:
    import boto3

    name = bucket.removeprefix("s3://")
    for key in ("org/gate.yaml", "org/strict.yaml"):
        boto3.Session().client("s3").put_object(Bucket=name, Key=key, Body=yaml.safe_dump(FLOOR).encode())
    rewritten(workspace)

    for where in (f"{bucket}/org", f"{bucket}/org/", f"{bucket}/org/strict.yaml"):
        ended = run(workspace, "enforce", SET, "--policy-floor", where)
        assert ended.code == 2
        assert "the policy floor requires the clause 'accuracy' with at_least 0.5" in ended.err
    assert "does not exist" in run(workspace, "enforce", SET, "--policy-floor", f"{bucket}/nothing").err

    rewritten(workspace, limits=[LOOSE | {"at_least": 0.6}])
    assert run(workspace, "enforce", SET, "--policy-floor", f"{bucket}/org").code == 1  # a tiny set reaches no half


def test_the_environment_names_a_floor_for_what_decides_and_not_for_the_graph(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewritten(workspace)
    (workspace / "org.yaml").write_text(yaml.safe_dump(FLOOR))
    assert run(workspace, "publish").code == 0
    monkeypatch.setenv("FAIR_DISTILL_POLICY_FLOOR", str(workspace / "org.yaml"))

    for command in (f"enforce {SET}", f"explain {SET}", "gate replay", "promote --to production"):
        ended = run(workspace, *command.split())
        assert ended.code == 2, command
        assert "the policy floor requires" in ended.err
    assert run(workspace, "judge", SET).code == 0
    assert run(workspace, "judge", SET, "--policy-floor", str(workspace / "org.yaml")).code == 2

    rewritten(workspace, limits=[LOOSE | {"at_least": 0.5}])
    (workspace / "org.yaml").write_text(yaml.safe_dump(FLOOR | {"limits": [LOOSE]}))
    floored = compute_verdict(
        Workspace(workspace), load_config(workspace / "params.yaml"), SET, floor=load_policy_floor(None)
    )
    assert floored.policy_floor == policy_digest(load_floor(str(workspace / "org.yaml")))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff", "is not readable"),
        (b"gate: [", "is not valid YAML"),
        (b"gate: 3", "gate is of type int; it must be a mapping"),
        (b"{mode: point, limits: []}", "limits is "),
    ],
)
def test_a_floor_that_is_none_is_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "floor.yaml").write_bytes(content)

    with pytest.raises(ConfigError, match=rf"floor\.yaml.*{says}"):
        load_floor(str(tmp_path / "floor.yaml"))
    with pytest.raises(ConfigError, match=r"gone\.yaml does not exist"):
        load_floor(str(tmp_path / "gone.yaml"))
    with pytest.raises(ConfigError, match=r"--policy-floor is 'ftp://x/y\.yaml'"):
        load_floor("ftp://x/y.yaml")


@pytest.mark.parametrize("name", ["train", "tune"])
def test_a_gate_split_that_was_read_before_is_refused_by_its_digest(workspace: Path, name: str) -> None:
    place = Workspace(workspace)
    place.split("gate").write_bytes(place.split(name).read_bytes())

    ended = run(workspace, "evaluate", SET)

    assert ended.code == 5
    assert f"has the same bytes as the {name} split" in ended.err
