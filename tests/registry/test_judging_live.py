"""What is live is judged again by what it was published with, as long as that is about the networks of now."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_workspace import run, small_params, write_params

from fair_distill.config import load_config
from fair_distill.data.split_file import read_split, write_split
from fair_distill.errors import ConfigError, IntegrityError, Undecided
from fair_distill.files import sha256
from fair_distill.registry.actor import Actor
from fair_distill.registry.attempts import Request, attempts_of, read_record, reserve
from fair_distill.registry.store import open_registry
from fair_distill.stages.attempts import split_examples
from fair_distill.stages.regate import RegateResult, live_versions, regate_version
from fair_distill.stages.training_units import split_units
from fair_distill.statements import new_key
from fair_distill.workspace import Workspace


def params(**evaluate: Any) -> dict[str, Any]:
    changed = small_params()
    changed["gate"] = {"mode": "point", "limits": [{"metric": "accuracy", "at_least": 0.0, "why": "a test"}]}
    changed["evaluate"] |= evaluate
    return changed


@pytest.fixture
def promoted(workspace: Path) -> Workspace:
    write_params(workspace, params())
    for command in (("judge", "barycentric"), ("publish",), ("promote", "--to", "production")):
        ended = run(workspace, *command)
        assert ended.code == 0, ended.err
    return Workspace(workspace)


def judged(workspace: Workspace) -> RegateResult:
    config, registry = load_config(workspace.params), str(workspace.root / "registry")
    (found,) = live_versions(config, registry=registry)
    return regate_version(
        workspace, config, found, registry=registry, actor=Actor("t", datetime(2026, 1, 2, tzinfo=UTC), "n")
    )


def test_published_predictions_serve_while_the_networks_are_the_same(promoted: Workspace) -> None:
    assert not judged(promoted).measured


def test_predictions_that_no_evaluator_signed_are_measured_again(promoted: Workspace) -> None:
    """Whoever may write to the store may lay predictions beside a version, and they need not be what networks said."""
    private, public = new_key()
    (promoted.root / "key").write_bytes(private)
    changed = params()
    changed["gate"]["evaluators"] = [public]
    write_params(promoted.root, changed)

    assert judged(promoted).measured
    for command in (("attest", "barycentric", "--key", str(promoted.root / "key")), ("publish",)):
        ended = run(promoted.root, *command)
        assert ended.code == 0, ended.err
    assert not judged(promoted).measured


@pytest.mark.parametrize(
    "evaluate",
    [
        {"seeds": 3},
        {"networks": [{"name": "convnet", "width": 8, "depth": 2}]},
        {"networks": [{"name": "convnet", "width": 4, "depth": 2}, {"name": "mlp", "width": 8, "depth": 1}]},
    ],
)
def test_other_networks_are_trained(promoted: Workspace, evaluate: dict[str, Any]) -> None:
    write_params(promoted.root, params(**evaluate))

    assert judged(promoted).measured
    assert not judged(promoted).measured  # what was measured lies beside the version now


def test_what_is_promoted_is_not_compared_with_itself(promoted: Workspace) -> None:
    changed = params()
    clause = {"metric": "accuracy", "over": "promoted", "at_least": 0.0, "first_release": "refuse", "why": "a test"}
    changed["gate"]["limits"].append(clause)
    write_params(promoted.root, changed)

    done = judged(promoted)

    assert (done.verdict.outcome, done.demoted) == ("pass", ())
    assert [finding.clause for finding in done.verdict.findings] == ["accuracy"]


def test_the_organisations_policy_holds_for_what_is_live(promoted: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    floor = promoted.root / "floor.yaml"
    floor.write_text(json.dumps({"mode": "point", "limits": [{"metric": "accuracy", "at_least": 0.5, "why": "ours"}]}))
    monkeypatch.setenv("FAIR_DISTILL_POLICY_FLOOR", str(floor))

    with pytest.raises(ConfigError, match="the policy floor requires the clause 'accuracy'"):
        judged(promoted)


def test_judging_on_a_split_that_was_not_asked_before_is_an_attempt(promoted: Workspace) -> None:
    def attempts() -> list[str]:
        made = attempts_of(read_record(open_registry(str(promoted.root / "registry"))))
        return [attempt.entry.split for attempt in made]

    assert judged(promoted).verdict.attempt == 1
    assert len(attempts()) == 1
    split = read_split(promoted.split("gate"))
    fewer = split.take(np.flatnonzero(split.pairs != split.pairs[0]))
    promoted.split("gate").unlink()  # the split in memory is a view of this file
    write_split(fewer, promoted.split("gate"))
    assert judged(promoted).verdict.attempt == 2
    assert attempts()[1:] == [sha256(promoted.split("gate"))]


def deal_again(workspace: Workspace, **changed: Any) -> None:
    """Deal the examples with another seed, so that half of the gate split are training examples of before."""
    write_params(workspace.root, params() | {"seed": 7} | changed)
    assert run(workspace.root, "prepare").code == 0


def test_a_live_version_is_not_judged_on_examples_that_it_was_made_from(promoted: Workspace) -> None:
    deal_again(promoted)
    record = read_record(open_registry(str(promoted.root / "registry")))

    with pytest.raises(IntegrityError, match=r"the gate split shares \d+ of its \d+ units with the training units of"):
        judged(promoted)

    assert read_record(open_registry(str(promoted.root / "registry"))) == record


@pytest.mark.parametrize("command", [("gate", "reserve", "barycentric"), ("promote", "--to", "production")])
def test_a_set_is_not_compared_with_a_promoted_version_that_saw_the_gate_split(
    promoted: Workspace, command: tuple[str, ...]
) -> None:
    clause = {"metric": "accuracy", "over": "promoted", "at_least": 0.0, "first_release": "refuse", "why": "a test"}
    gate = params()["gate"]
    deal_again(promoted, gate=gate | {"limits": [*gate["limits"], clause]})
    for stage in (("validate",), ("distill", "barycentric"), ("evaluate", "barycentric"), ("publish",)):
        ended = run(promoted.root, *stage)
        assert ended.code == 0, ended.err

    refused = run(promoted.root, *command)

    assert refused.code == 5, refused.out + refused.err
    assert "units with the training units of digits@production, which the set 'barycentric' is compared" in refused.err


def test_the_registry_has_the_training_units_of_a_version(promoted: Workspace) -> None:
    units = split_units(promoted, "train")
    assert units is not None
    key = f"units/{units.sha256}.bin"
    store = open_registry(str(promoted.root / "registry"))

    assert store.read(key) == units.to_bytes()
    assert "training units" in run(promoted.root, "registry", "verify", "digits", "--json").out
    (promoted.root / "registry" / key).write_bytes(units.to_bytes()[:-8])
    assert run(promoted.root, "registry", "verify", "digits").code == 5


@pytest.mark.parametrize("fails", [True, False])
def test_a_live_version_is_demoted_after_alpha_is_used_up_and_never_passes(promoted: Workspace, fails: bool) -> None:
    limit = {"metric": "accuracy", "at_least": 1.0 if fails else 0.0, "why": "a test"}
    bounds = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 2, "limits": [limit]}
    write_params(promoted.root, params(seeds=3) | {"gate": bounds})
    config = load_config(promoted.params)
    store = open_registry(str(promoted.root / "registry"))
    actor = Actor("t", datetime(2026, 1, 2, tzinfo=UTC), "n")
    for number in range(30):  # other sets at the same examples
        wanted = Request("digits", sha256(b"%d" % number), split_examples(promoted, config), "e" * 64)
        reserve(store, wanted, refuse_exhausted=False, actor=actor)

    if fails:
        assert judged(promoted).demoted == ("production",)
        return
    for _ in range(2):
        with pytest.raises(Undecided, match="have used up the error budget"):
            judged(promoted)
    (live,) = live_versions(config, registry=str(promoted.root / "registry"))
    assert len(store.list(f"versions/{live.version}/predictions/")) == 2  # the networks were trained once
    assert len(store.list(f"versions/{live.version}/verdicts/")) == 1


def test_restricted_predictions_do_not_go_where_the_set_goes(promoted: Workspace) -> None:
    restricted = params()
    restricted["validate"]["privacy"] = "restricted"
    write_params(promoted.root, restricted)

    with pytest.raises(ConfigError, match="FAIR_DISTILL_PREDICTIONS"):
        judged(promoted)
