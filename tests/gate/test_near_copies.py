"""Clauses on the card of the set: counted, bound to the predictions by digest, and never passed without a number."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_predictions import drawn
from small_workspace import REPOSITORY, SETS, run, small_params, write_params

from fair_distill.card import DatasetCard, Nearness, TrainingRecipe
from fair_distill.config import Gate, load_config
from fair_distill.errors import ConfigError, DataError, IntegrityError, MeasurementError
from fair_distill.files import sha256, to_json
from fair_distill.gate.explain import explain
from fair_distill.gate.fair_sets import Assumptions, Cells
from fair_distill.gate.judge import judge
from fair_distill.gate.plan import plan
from fair_distill.gate.render import junit, markdown
from fair_distill.gate.replay import replay
from fair_distill.gate.strictness import tighten
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.manifest import Manifest
from fair_distill.stages.judge import compute_verdict
from fair_distill.workspace import Workspace

RECIPE = TrainingRecipe(
    network={"name": "mlp"},
    steps=1,
    batch_size=1,
    learning_rate=0.1,
    momentum=0.0,
    weight_decay=0.0,
    augment=(),
    formation=1,
    mean=(0.5,),
    std=(0.5,),
)
NEARNESS = Nearness(
    images=100,
    holdout=180,
    quantile=0.01,
    near_copies=3,
    copies=0,
    expected=0.552486,
    images_per_class=(50, 50),
    near_copies_per_class=(1, 2),
    relative_distance=(0.8, 0.7),
    undefined=None,
)


def manifest_of(nearness: Nearness | None, **card: Any) -> Manifest:
    return Manifest(
        files=(),
        card=DatasetCard(
            dataset="digits",
            name="barycentric",
            kind="distilled",
            classes=("class0", "class1"),
            groups=("group0", "group1"),
            shape=(1, 2, 2),
            examples=100,
            train_counts=((9, 1), (1, 9)),
            recipe=card.pop("recipe", RECIPE),
            diagnostics={},
            nearness=nearness,
            **card,
        ),
        source="c" * 64,
        params={},
        engine=1,
    )


def policy(at_most: float = 0.05, *more: dict[str, Any], mode: str = "bounds", **clause: Any) -> Gate:
    sure = {"alpha": 0.05, "minimum_seeds": 3, "minimum_per_cell": 20} if mode == "bounds" else {}
    near = {"metric": "near_copies", "at_most": at_most, "why": "a test"} | clause
    return Gate.model_validate({"mode": mode, "limits": [near, *more]} | sure)


def judged(gate: Gate, of: Manifest, **more: Any) -> Verdict:
    predictions = drawn([[0.9, 0.9], [0.9, 0.9]], 60, np.random.default_rng(0), set=of.version)
    given = {"manifest": of.to_json(), "context": b""} | more
    return judge(predictions.to_parquet(), gate, engine=1, **given)


@pytest.mark.parametrize("mode", ["bounds", "point"])
@pytest.mark.parametrize(("at_most", "outcome"), [(0.05, "pass"), (0.03, "pass"), (0.0299, "fail"), (0.0, "fail")])
def test_the_number_itself_decides_in_either_mode(mode: str, at_most: float, outcome: str) -> None:
    verdict = judged(policy(at_most, mode=mode), manifest_of(NEARNESS))

    (finding,) = verdict.findings
    assert verdict.outcome == finding.outcome == outcome
    assert finding.value == 0.03
    assert finding.bound == (0.03 if mode == "bounds" else None)
    assert finding.noise == pytest.approx(0.00552486)
    assert "3 of 100 images nearer to a training image than 1 % of hold-out images are (0.6 by chance)" in (
        finding.sentence
    )
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_a_refusal_names_the_classes_and_says_what_to_do() -> None:
    verdict = judged(policy(0.0), manifest_of(NEARNESS))

    assert [(culprit.classes, culprit.value) for culprit in verdict.findings[0].culprits] == [
        (("class1",), 0.04),
        (("class0",), 0.02),
    ]
    (reason,) = verdict.reasons
    assert reason.endswith(
        "class 'class1' has 2 of 50; distil longer (distill.steps), or start from other than real images "
        "(distill.start)"
    )
    told = "\n".join(explain(verdict))
    assert "class 'class0' has 1 of 50" in told
    assert "perfectly fair" not in told
    assert "| near_copies | fail | " in markdown("barycentric", verdict)
    assert "gate.barycentric.the set" in junit("barycentric", verdict)


def test_classes_with_equal_shares_are_named_in_alphabetical_order() -> None:
    equal = replace(NEARNESS, near_copies=4, near_copies_per_class=(3, 1), images_per_class=(75, 25))

    (finding,) = judged(policy(0.0), manifest_of(equal)).findings
    assert [culprit.classes for culprit in finding.culprits] == [("class0",), ("class1",)]


def test_other_clauses_decide_beside_it() -> None:
    gap = {"metric": "eo_diag_max", "at_most": 0.5, "why": "a test"}
    strict = gap | {"at_most": 0.0}

    alone, beside = judged(policy(0.05), manifest_of(NEARNESS)), judged(policy(0.05, gap), manifest_of(NEARNESS))

    assert beside.outcome == alone.outcome == "pass"
    assert beside.findings[0] == alone.findings[0]
    assert judged(policy(0.05, strict), manifest_of(NEARNESS)).outcome != "pass"
    assert judged(policy(0.0, gap), manifest_of(NEARNESS)).outcome == "fail"


@pytest.mark.parametrize(
    ("nearness", "reason"),
    [
        (None, "the card of 'barycentric' has no nearness to training images"),
        (
            replace(
                NEARNESS,
                near_copies=None,
                expected=None,
                near_copies_per_class=(None, None),
                undefined="9 hold-out images cannot show a share of 0.01; 99 can",
            ),
            "9 hold-out images cannot show",
        ),
    ],
)
def test_what_was_not_measured_does_not_pass(nearness: Nearness | None, reason: str) -> None:
    verdict = judged(policy(1.0), manifest_of(nearness))

    assert verdict.outcome == "insufficient"
    assert reason in verdict.reasons[0]


def test_no_manifest_another_ones_or_an_edited_one_is_refused() -> None:
    own = manifest_of(NEARNESS)
    better = manifest_of(replace(NEARNESS, near_copies=0, near_copies_per_class=(0, 0)))

    with pytest.raises(ConfigError, match=r"a clause on the card of the set, which requires the set's manifest.json"):
        judged(policy(), own, manifest=None)
    for other in (better.to_json(), b"x", own.to_json() + b"\n"):
        with pytest.raises(IntegrityError, match="the manifest given is"):
            judged(policy(), own, manifest=other)


@pytest.mark.parametrize("fault", [b"[]", b'{"card": {}}', b"{}", b'{"card": 3}'])
def test_a_manifest_without_a_card_is_told(fault: bytes) -> None:
    predictions = drawn([[0.9, 0.9], [0.9, 0.9]], 60, np.random.default_rng(0), set=sha256(fault))
    with pytest.raises(IntegrityError, match="manifest"):
        judge(predictions.to_parquet(), policy(), context=b"", engine=1, manifest=fault)


def test_a_card_that_looked_at_fewer_images_than_there_are_is_refused() -> None:
    with pytest.raises(MeasurementError, match="counts near copies among 100 images, but the set has 400"):
        judged(policy(), manifest_of(NEARNESS, recipe=replace(RECIPE, formation=2)))


def test_every_example_of_a_set_with_formation_2_is_four_images() -> None:
    made = manifest_of(NEARNESS, recipe=replace(RECIPE, formation=2))

    assert judged(policy(), replace(made, card=replace(made.card, examples=25))).outcome == "pass"


@pytest.mark.parametrize(
    "fault",
    [
        {"near_copies": 101},
        {"near_copies": 0},
        {"near_copies": "3"},
        {"near_copies_per_class": [1, 1]},
        {"near_copies_per_class": [3]},
        {"near_copies_per_class": [-47, 50]},
        {"images": 99},
        {"images_per_class": [100], "near_copies_per_class": [3]},
        {"copies": 101},
        {"expected": -1.0},
        {"expected": "few"},
        {"more": 1},
    ],
)
def test_a_card_that_contradicts_itself_is_not_read(fault: dict[str, Any]) -> None:
    value = manifest_of(NEARNESS).card.to_dict()

    assert DatasetCard.from_dict(value).nearness == NEARNESS
    with pytest.raises(DataError, match="not a dataset card"):
        DatasetCard.from_dict(value | {"nearness": value["nearness"] | fault})


@pytest.mark.parametrize(
    ("clause", "says"),
    [
        ({"at_most": None, "at_least": 0.5}, "near_copies is limited by at_most"),
        ({"over": "full"}, "near_copies is a number of the whole set"),
        ({"classes": ["class0"]}, "near_copies is a number of the whole set"),
        ({"groups": ["group0", "group1"]}, "near_copies is a number of the whole set"),
        ({"against": "rest"}, "near_copies is a number of the whole set"),
    ],
)
def test_a_clause_that_means_nothing_is_refused(clause: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        judged(policy(**clause), manifest_of(NEARNESS))


def test_a_floor_is_tightened_and_not_loosened() -> None:
    tighten(policy(0.04), policy(0.05))
    with pytest.raises(ConfigError, match=r"'near_copies' with at_most 0\.05"):
        tighten(policy(0.06), policy(0.05))
    without = Gate.model_validate(
        policy().model_dump(exclude={"limits"}) | {"limits": [{"metric": "accuracy", "at_least": 0.5, "why": "x"}]}
    )
    with pytest.raises(ConfigError, match="'near_copies'"):
        tighten(without, policy(0.05))


def test_a_waiver_lets_it_pass_by_name() -> None:
    manifest = manifest_of(NEARNESS)
    waiver = {
        "set": manifest.version,
        "clause": "near_copies",
        "who": "Ada",
        "approved_by": "Grace",
        "why": "the data are public",
        "expires": "2026-12-31",
    }

    verdict = judged(policy(0.0), manifest, context=to_json({"waivers": [waiver]}), now=date(2026, 6, 1))
    assert verdict.outcome == "waived"


def test_plan_has_nothing_to_say_of_it_and_the_rest_is_planned() -> None:
    cells = Cells(np.full((2, 2), 60), False, ("0", "1"), ("a", "b"))
    gate = policy(0.05, {"metric": "accuracy", "at_least": 0.5, "why": "a test"})

    rows = plan(cells, gate, [Assumptions(0.9, 3, 0.02)], rng=np.random.default_rng(0), draws=50).rows
    assert [row.clause for row in rows] == ["accuracy"]


def test_replay_judges_every_version_by_its_own_card() -> None:
    cards = {"good": NEARNESS, "bad": replace(NEARNESS, near_copies=90, near_copies_per_class=(45, 45)), "old": None}
    manifests = {name: manifest_of(nearness) for name, nearness in cards.items()}
    versions = {
        name: drawn([[0.9, 0.9]] * 2, 60, np.random.default_rng(0), set=manifest.version).to_parquet()
        for name, manifest in manifests.items()
    }
    contents = {name: manifest.to_json() for name, manifest in manifests.items()}

    rows = {row.name: row for row in replay(policy(), versions, manifests=contents, engine=1)}
    assert {name: row.outcome for name, row in rows.items()} == {"good": "pass", "bad": "fail", "old": "insufficient"}
    for name, row in rows.items():
        assert row.reasons == judged(policy(), manifests[name]).reasons
    swapped = {"good": contents["bad"], "bad": contents["good"]}
    assert {row.outcome for row in replay(policy(), versions, manifests=swapped, engine=1)} == {"error"}


def limited(root: Path, at_most: float) -> Workspace:
    """Let the workspace's policy be a limit on near copies and nothing else, and its sets hardly leave their start."""
    params = small_params()
    params["distill"] |= {"steps": 1, "optimiser": {"name": "sgd", "learning_rate": 1e-3, "momentum": 0.5}}
    params["gate"]["limits"] = [{"metric": "near_copies", "at_most": at_most, "why": "a test"}]
    write_params(root, params)
    return Workspace(root)


def test_every_door_gives_the_same_verdict(workspace: Path) -> None:
    place = limited(workspace, 0.0)
    config = load_config(place.params)
    name = config.release.candidate
    distilled = run(workspace, "distill", name)
    assert distilled.out.splitlines()[-1].startswith(f"{name}: 20 of 20 images nearer to a training image than 1 %")
    assert run(workspace, "evaluate", name).code == 0

    assert run(workspace, "judge", name).code == 0
    written = Verdict.from_json(place.verdict(name).read_bytes())
    today = compute_verdict(place, config, name, now=date(2026, 1, 1))
    assert written == today
    assert written.outcome == "fail"
    enforced = run(workspace, "enforce", name)
    assert (enforced.code, written.digest in enforced.out) == (1, True)
    assert "images nearer to a training image" in run(workspace, "explain", name).out
    assert run(workspace, "publish").code == 0
    promoted = run(workspace, "promote", "--to", "production")
    assert promoted.code == 1
    assert "near_copies" in promoted.err
    replayed = run(workspace, "gate", "replay").out
    assert "FAIL" in replayed
    assert written.reasons[0] in replayed

    limited(workspace, 1.0)
    assert run(workspace, "enforce", name).code == 0
    assert "1 pass" in run(workspace, "gate", "replay").out
    assert run(workspace, "promote", "--to", "production").code == 0


def test_without_its_manifest_or_with_another_no_set_is_judged(workspace: Path) -> None:
    place = limited(workspace, 1.0)
    manifest = place.set("barycentric") / "manifest.json"
    manifest.write_bytes((place.set("pooled") / "manifest.json").read_bytes())

    assert run(workspace, "enforce", "barycentric").code == 5
    manifest.unlink()
    ended = run(workspace, "enforce", "barycentric")
    assert ended.code == 4
    assert "run `fair-distill stage distill barycentric`" in ended.err
    assert run(workspace, "enforce", "full").code == 3  # its card has no such figure
    for command in (("judge", "barycentric"), ("explain", "barycentric")):
        assert run(workspace, *command).code == 4


def test_iteration_zero_sets_are_refused_and_said_when_they_are_made(workspace: Path) -> None:
    limited(workspace, 0.05)

    for name in ("random", "balanced"):
        assert run(workspace, "enforce", name).code == 1
        made = run(workspace, "references", name)
        assert "20 of 20 images nearer to a training image than 1 % of hold-out images are" in made.out


def test_every_card_has_both_looks_but_that_of_the_full_data(finished: Path) -> None:
    for name in SETS:
        card = Manifest.from_json((Workspace(finished).set(name) / "manifest.json").read_bytes()).card
        assert (card.nearness is None) == (card.residuals is None) == (name == "full")
        if card.residuals is not None:
            assert card.residuals.networks == 3
            assert card.residuals.worst is not None
            assert card.residuals.undefined == {}
            assert len(to_json(card.to_dict())) < 10_000


def test_the_graph_knows_what_judging_reads() -> None:
    graph = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    # a clause may compare with any other set's predictions
    assert {"artifacts/sets/${item.set}", "artifacts/predictions", "context.json"} == set(graph["judge"]["deps"])
    for stage in ("distill", "references"):
        assert "artifacts/prepared/tune.arrow" in graph[stage]["deps"]
        assert {"diagnostics", "nearness"} <= set(graph[stage]["params"])
