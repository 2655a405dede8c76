"""Commands of a workspace record attempts, and promotion takes them from the record alone."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_workspace import run, small_params, write_params

from fair_distill.config import load_config
from fair_distill.data.split_file import read_split, write_split
from fair_distill.files import sha256, to_json
from fair_distill.gate.policy import Attempt, read_context
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import release
from fair_distill.registry.actor import Actor
from fair_distill.registry.attempt_entry import AttemptEntry
from fair_distill.registry.attempts import read_record
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import open_registry
from fair_distill.stages.attempts import split_examples
from fair_distill.stages.context import with_recorded_attempt
from fair_distill.stages.judge import compute_verdict
from fair_distill.workspace import Workspace

SET = "barycentric"
LOOSE = {"metric": "near_copies", "at_most": 1.0, "why": "a tiny set has to pass here"}
BOUNDS = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 2, "limits": [LOOSE]}


@pytest.fixture
def root(workspace: Path) -> Path:
    rewrite(workspace)
    return workspace


def rewrite(root: Path, **gate: Any) -> None:
    write_params(root, small_params() | {"gate": BOUNDS | gate})


def record(root: Path) -> tuple[AttemptEntry, ...]:
    return read_record(open_registry(str(root / "registry")))


def well(root: Path, *command: str) -> str:
    done = run(root, *command)
    assert done.code == 0, done.err
    return done.out


def retrain(root: Path, times: int) -> None:
    """Replace the predictions by those of networks that were trained again: here only probabilities differ."""
    path = Workspace(root).predictions(SET)
    table = Predictions.from_parquet(path.read_bytes())
    columns = table.columns | {"probability": table.columns["probability"] * np.float32(0.99**times)}
    path.write_bytes(replace(table, columns=columns).to_parquet())


def in_force(root: Path) -> Verdict:
    store = open_registry(str(root / "registry"))
    *_, entry = (entry for entry in read_ledger(store, "digits") if entry.channel == "production")
    return Verdict.from_json(store.read(f"versions/{entry.version}/verdicts/{entry.verdict}.json"))


def test_predictions_of_networks_that_were_trained_again_are_another_attempt(root: Path) -> None:
    well(root, "gate", "reserve")
    well(root, "publish")
    retrain(root, 1)
    well(root, "publish")
    well(root, "promote", "--to", "production")

    assert [(entry.event, entry.attempt) for entry in record(root)] == [("reserve", 1), ("bind", 1), ("reserve", 2)]
    verdict = in_force(root)
    assert (verdict.attempt, verdict.fraction, verdict.alpha) == (2, pytest.approx(0.05), pytest.approx(0.0025))
    assert verdict.predictions == sha256(Workspace(root).predictions(SET))
    well(root, "verify", "digits", "--registry", str(root / "registry"))


def test_publishing_and_promoting_a_set_is_one_attempt_at_the_full_first_fraction(root: Path) -> None:
    well(root, "publish")
    well(root, "promote", "--to", "production")

    assert [(entry.event, entry.attempt) for entry in record(root)] == [("reserve", 1)]
    assert (in_force(root).attempt, in_force(root).fraction) == (1, pytest.approx(0.9))


def test_twenty_retrainings_until_one_passes_share_one_alpha(root: Path) -> None:
    rewrite(root, limits=[{"metric": "accuracy", "at_least": 1.0, "why": "no set passes here"}])
    well(root, "publish")
    for times in range(20):
        retrain(root, times)
        well(root, "publish")
        assert run(root, "promote", "--to", "production").code in (1, 3)

    fractions = [entry.fraction for entry in record(root) if entry.event == "reserve"]
    assert len(fractions) == 20
    assert sum(fractions) < 1


def test_judging_the_same_predictions_by_another_policy_is_no_attempt(root: Path) -> None:
    well(root, "publish")
    for limit in (1.0, 0.9, 0.8):
        rewrite(root, limits=[LOOSE | {"at_most": limit}], attempts=4)
        well(root, "promote", "--to", "production")

    assert len(record(root)) == 1
    well(root, "gate", "reserve")
    rewrite(root, attempts=9)  # plans more attempts than the reservation did
    assert json.loads(well(root, "enforce", SET, "--json"))["fraction"] == pytest.approx(0.1)


def test_the_attempts_of_all_datasets_are_listed(root: Path) -> None:
    well(root, "gate", "reserve", "pooled", "--who", "ada")
    well(root, "publish")
    well(root, "promote", "--to", "production")
    listed = well(root, "registry", "attempts", "--registry", str(root / "registry")).splitlines()

    assert len(listed) == 2
    assert " ada: digits " in listed[0]
    assert listed[0].endswith(", attempt 1 with 0.9 of alpha, no predictions yet")
    assert ", attempt 2 with 0.05 of alpha, predictions " in listed[1]
    assert [row["attempt"] for row in json.loads(well(root, "registry", "attempts", "--json"))] == [1, 2]


def test_an_audit_records_nothing(root: Path) -> None:
    retrain(root, 1)
    well(root, "enforce", SET)
    well(root, "gate", "explain", SET)

    assert not (root / "registry" / "attempts").exists()


@pytest.mark.parametrize("fraction", [0.9, 1.0])
def test_a_fraction_that_was_written_into_the_context_is_not_promoted_on(root: Path, fraction: float) -> None:
    for name in ("pooled", SET):
        well(root, "gate", "reserve", name)
    context = root / "context.json"
    edited = json.loads(context.read_text())
    edited["attempt"] |= {"number": 1, "fraction": fraction, "left": 0.09}
    context.write_text(json.dumps(edited))
    well(root, "publish")
    done = run(root, "promote", "--to", "production")

    if fraction == 1.0:
        assert (done.code, "context.json: attempt.fraction" in done.err) == (2, True)
        return
    assert done.code == 0
    assert (in_force(root).attempt, in_force(root).fraction) == (2, pytest.approx(0.05))


def promoted_by_eve(root: Path, verdict: Verdict) -> None:
    """Promote on a verdict without the commands, which would judge again."""
    release.promote(
        open_registry(str(root / "registry")),
        *("digits", verdict.set, "production"),
        order=["production"],
        verdict=verdict,
        verdict_bytes=verdict.to_json(),
        actor=Actor("eve", datetime(2126, 3, 3, tzinfo=UTC), "n"),
    )


def test_a_promotion_that_used_more_of_alpha_than_its_attempt_is_found_by_verify(root: Path) -> None:
    for name in ("pooled", SET):
        well(root, "gate", "reserve", name)
    (root / "context.json").write_text("{}\n")
    well(root, "publish")
    place = Workspace(root)
    verdict = compute_verdict(place, load_config(place.params), SET)
    assert verdict.alpha == pytest.approx(0.045)
    promoted_by_eve(root, verdict)

    done = run(root, "verify", "digits", "--registry", str(root / "registry"))
    assert done.code == 5
    assert "is attempt 1 with 0.900000 of alpha; in the record it is attempt 2 with 0.050000" in done.err


def test_a_verdict_whose_alpha_is_not_its_fraction_is_found_by_verify(root: Path) -> None:
    well(root, "gate", "reserve")
    well(root, "publish")
    place = Workspace(root)
    verdict = replace(compute_verdict(place, load_config(place.params), SET), alpha=0.05)
    promoted_by_eve(root, verdict)

    done = run(root, "verify", "digits@production", "--registry", str(root / "registry"))
    assert done.code == 5
    assert "uses an alpha of 0.05; its fraction of the policy's alpha is 0.045" in done.err


def test_a_split_without_its_file_is_taken_from_the_record_or_refused(root: Path) -> None:
    gate = Workspace(root).split("gate")
    content = gate.read_bytes()
    rewrite(root, exam=_exam(root))
    gate.unlink()
    done = run(root, "publish")
    assert (done.code, "no attempt in the registry recorded its examples" in done.err) == (4, True), done.err

    gate.write_bytes(content)
    well(root, "gate", "reserve")
    gate.unlink()
    well(root, "publish")
    well(root, "promote", "--to", "production")
    assert [entry.event for entry in record(root)] == ["reserve", "bind"]


def _exam(root: Path) -> dict[str, Any]:
    evaluate = small_params()["evaluate"]
    examples = Predictions.from_parquet(Workspace(root).predictions(SET).read_bytes()).columns["example"].max() + 1
    return {"networks": evaluate["networks"], "seeds": evaluate["seeds"], "split": {"examples": int(examples)}}


def test_the_examples_of_a_split_do_not_depend_on_labels_groups_or_order(root: Path) -> None:
    place = Workspace(root)
    config = load_config(place.params)
    before = split_examples(place, config)
    split = read_split(place.split("gate"))
    rows = np.random.default_rng(0).permutation(len(split))
    write_split(split.take(rows), place.split("gate"))
    after = split_examples(place, config)

    assert after.split != before.split
    assert sorted(after.contents.tolist()) == sorted(before.contents.tolist())
    assert len(np.unique(before.contents)) == len(split)


def test_the_attempt_of_a_pull_request_is_looked_up_and_not_recorded(root: Path) -> None:
    place, registry = Workspace(root), str(root / "registry")
    config = load_config(place.params)

    def context() -> tuple[Attempt | None, str]:
        content, sentence = with_recorded_attempt(place, config, SET, registry=registry, content=b"{}\n")
        return read_context(content).attempt, sentence

    assert context() == (None, "attempt not recorded; this is attempt 1 at the examples of this gate split")
    assert not (root / "registry" / "attempts").exists()
    well(root, "gate", "reserve", "pooled")
    attempt, sentence = context()
    assert attempt is not None
    # A wrong registry, such as an empty one, does not make the attempt of the context laxer.
    content = to_json({"attempt": attempt.model_dump()})
    kept, note = with_recorded_attempt(place, config, SET, registry=str(root / "empty"), content=content)
    assert kept == content
    assert note.endswith("context.json has attempt 2, which takes less of alpha")
    assert (attempt.number, attempt.fraction) == (2, pytest.approx(0.05))
    assert sentence.startswith("attempt not recorded; this is attempt 2")
    well(root, "publish")
    well(root, "promote", "--to", "production")
    assert context()[0] == attempt
    assert context()[1].startswith("attempt 2 at this gate split, recorded by ")


def test_a_waiver_in_the_context_is_kept_when_an_attempt_is_looked_up(root: Path) -> None:
    place = Workspace(root)
    well(root, "gate", "reserve", "pooled")
    waiver = {"set": "a" * 64, "clause": "accuracy", "who": "Ada", "approved_by": "Grace", "why": "x"}
    content = to_json({"waivers": [waiver | {"expires": "2126-06-30"}]})
    config = load_config(place.params)
    updated, _ = with_recorded_attempt(place, config, SET, registry=str(root / "registry"), content=content)

    assert read_context(updated).waivers == read_context(content).waivers
