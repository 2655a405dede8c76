"""Groups of several attributes: marginals and intersections, in predictions, metrics, clauses and plans."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_predictions import drawn
from small_workspace import run, small_params, write_params

from fair_distill.config import Gate, Limit
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.errors import ConfigError, MeasurementError
from fair_distill.files import to_json
from fair_distill.gate.fair_sets import Assumptions
from fair_distill.gate.judge import judge
from fair_distill.gate.metrics import METRICS, PREDICTION_METRICS
from fair_distill.gate.network_predictions import grouped_by, network_predictions
from fair_distill.gate.plan import cells_of, plan
from fair_distill.gate.policy import check
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.strictness import tighten
from fair_distill.gate.verdict import Verdict
from fair_distill.workspace import Workspace

NAMES = ("f×dark", "f×light", "m×dark", "m×light")
VALUES = (("f", "dark"), ("f", "light"), ("m", "dark"), ("m", "light"))


def crossed(rates: Any, *, of: int = 200, seed: int = 0, paired: bool = False, **about: Any) -> Predictions:
    """Predictions for four groups of two attributes; rates (C, G)."""
    made = drawn(rates, of, np.random.default_rng(seed), seeds=5, paired=paired)
    return replace(made, **{"groups": NAMES, "attributes": VALUES, "attribute_names": ("sex", "skin")} | about)


# Each sex and each skin is served alike; the combinations are not.
HIDDEN = crossed([[0.95, 0.65, 0.65, 0.95], [0.8] * 4])


def policy(*limits: dict[str, Any], **more: Any) -> Gate:
    bounds = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 3, "minimum_per_cell": 20}
    return Gate.model_validate(bounds | {"limits": [{"why": "a test"} | limit for limit in limits]} | more)


def verdict_of(predictions: Predictions, of: Gate, **more: Any) -> Verdict:
    return judge(predictions.to_parquet(), of, context=b"", engine=1, **more)


def test_what_groups_are_made_of_is_read_back() -> None:
    read = Predictions.from_parquet(HIDDEN.to_parquet())

    assert (read.attributes, read.attribute_names, read.marginals) == (VALUES, ("sex", "skin"), ("sex", "skin"))
    plain = drawn([[0.9, 0.9]] * 2, 20, np.random.default_rng(0))
    assert (plain.attributes, plain.attribute_names) == ((("group0",), ("group1",)), ("group",))
    assert plain.marginals == ()


@pytest.mark.parametrize("broken", [VALUES[:3], (*VALUES[:3], ("m",))])
def test_groups_without_all_their_values_are_no_predictions(broken: Any) -> None:
    with pytest.raises(MeasurementError, match="each of its 4 groups must have 2 attributes"):
        Predictions.from_parquet(replace(HIDDEN, attributes=broken).to_parquet())


@pytest.mark.parametrize("metric", PREDICTION_METRICS)
def test_a_marginal_is_what_predictions_with_those_groups_alone_give(metric: str) -> None:
    by_sex = grouped_by(network_predictions(HIDDEN, 0), ("sex",), location="here")
    renamed = replace(
        HIDDEN,
        groups=("f", "m"),
        attributes=(),
        attribute_names=(),
        columns={**HIDDEN.columns, "group": HIDDEN.columns["group"] // 2},
    )

    assert by_sex.groups == ("f", "m")
    measure = PREDICTION_METRICS[metric].measure
    assert measure(by_sex.table()) == measure(network_predictions(renamed, 0).table())
    finding = Limit(metric=metric, by=("sex",), groups=("f", "m"), why="x", **_loose(metric))
    plain = Limit(metric=metric, groups=("f", "m"), why="x", **_loose(metric))
    one = verdict_of(HIDDEN, policy(finding.model_dump())).findings[0]
    other = verdict_of(renamed, policy(plain.model_dump())).findings[0]
    assert (one.value, one.bound, one.per_seed, one.noise) == (other.value, other.bound, other.per_seed, other.noise)


def _loose(metric: str) -> dict[str, float]:
    return {"at_least": 0.0} if METRICS[metric].direction == "at_least" else {"at_most": 1.0}


def test_what_marginals_hide_intersections_show() -> None:
    limit = {"metric": "eo_diag_max", "at_most": 0.15}
    found = verdict_of(HIDDEN, policy(limit, limit | {"by": ["sex"]}, limit | {"by": ["skin"]}))

    clauses = ["eo_diag_max", "eo_diag_max by sex", "eo_diag_max by skin"]
    assert [finding.clause for finding in found.findings] == clauses
    assert [finding.outcome for finding in found.findings] == ["fail", "pass", "pass"]
    assert found.outcome == "fail"


def test_every_attribute_is_told_whether_or_not_a_clause_asks() -> None:
    found = verdict_of(HIDDEN, policy({"metric": "eo_diag_max", "at_most": 1.0}))

    assert set(found.marginals) == {"sex", "skin"}
    assert found.marginals["sex"]["convnet"]["eo_diag_max"]["value"] < 0.1
    assert found.numbers["convnet"]["eo_diag_max"]["value"] > 0.2
    assert found.marginals["sex"]["convnet"]["eo_diag_max"]["noise"] is not None
    rows = {row.group: row.examples for row in found.groups}
    marginals = ("sex: f", "sex: m", "skin: dark", "skin: light")
    assert rows == dict.fromkeys(NAMES, 400) | dict.fromkeys(marginals, 800)
    assert found.undefined == {}
    assert Verdict.from_json(found.to_json()) == found


def test_an_empty_intersection_is_null_with_its_reason_and_its_marginals_are_measured() -> None:
    kept = (HIDDEN.columns["group"] != 3) | (HIDDEN.columns["label"] != 1)
    holed = replace(HIDDEN, columns={name: column[kept] for name, column in HIDDEN.columns.items()})
    limit = {"metric": "eo_diag_max", "at_most": 0.5}
    found = verdict_of(holed, policy(limit, limit | {"by": ["sex"]}))

    assert found.numbers["convnet"]["eo_diag_max"]["value"] is None
    assert found.undefined[""]["eo_diag_max"] == "class 'class1' has no examples of group 'm×light' to measure on"
    assert "accuracy" not in found.undefined[""]
    assert found.marginals["sex"]["convnet"]["eo_diag_max"]["value"] is not None
    assert [finding.outcome for finding in found.findings] == ["insufficient", "pass"]


def test_what_is_not_known_of_an_attribute_is_a_group_of_its_own() -> None:
    partly = replace(HIDDEN, attributes=(("f", "dark"), ("f", None), (None, "dark"), ("m", "light")))

    assert grouped_by(network_predictions(partly, 0), ("sex",), location="here").groups == ("f", "?", "m")
    assert grouped_by(network_predictions(partly, 0), ("skin", "sex"), location="here").groups == (
        "dark×f",
        "?×f",
        "dark×?",
        "light×m",
    )


def test_pairs_that_lie_in_one_marginal_group_are_no_pairs_there_and_stay_one_cluster() -> None:
    paired = network_predictions(crossed([[0.9] * 4] * 2, of=50, paired=True), 0)
    assert paired.examples_by_pair is not None

    by_sex = grouped_by(paired, ("sex",), location="here")

    assert by_sex.examples_by_pair is None
    assert by_sex.evidence.tolist() == [[50, 50], [50, 50]]


def test_a_rise_over_a_reference_is_taken_in_the_same_groups() -> None:
    limit = {"metric": "eo_diag_max", "over": "full", "at_most": 0.12, "by": ["sex"]}
    full = crossed([[0.8] * 4] * 2, seed=1).to_parquet()

    worse = crossed([[0.9, 0.9, 0.6, 0.6], [0.8] * 4], seed=2)
    assert verdict_of(worse, policy(limit), references={"full": full}).outcome == "fail"
    alike = crossed([[0.9, 0.7, 0.7, 0.9], [0.8] * 4], of=800, seed=2)
    even = crossed([[0.8] * 4] * 2, of=800, seed=1).to_parquet()
    assert verdict_of(alike, policy(limit), references={"full": even}).outcome == "pass"


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ({"metric": "eo_diag_max", "at_most": 0.1, "by": ["age"]}, "unknown attribute 'age'; choose from sex, skin"),
        ({"metric": "eo_diag_max", "at_most": 0.1, "by": ["sex"], "groups": ["f", "x"]}, "unknown group 'x'.*f, m"),
        ({"metric": "eo_diag_max", "at_most": 0.1, "by": ["sex", "sex"]}, "`by` lists 'sex' twice; list it once"),
        ({"metric": "accuracy", "at_least": 0.1, "by": ["sex"]}, "accuracy pools all groups"),
        ({"metric": "near_copies", "at_most": 0.1, "by": ["sex"]}, "remove over, by"),
    ],
)
def test_an_attribute_that_means_nothing_is_a_configuration_error(limit: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        verdict_of(HIDDEN, policy(limit))


def test_an_attribute_of_one_value_has_nothing_to_compare() -> None:
    alike = replace(HIDDEN, attributes=tuple((str(i), "dark") for i in range(4)))

    assert alike.marginals == ("sex",)
    with pytest.raises(ConfigError, match="all groups have the same value of skin"):
        verdict_of(alike, policy({"metric": "eo_diag_max", "at_most": 0.1, "by": ["skin"]}))


def test_a_floor_by_one_attribute_is_not_met_by_another() -> None:
    limit = {"metric": "eo_diag_max", "at_most": 0.1}
    floor = policy(limit | {"by": ["sex", "skin"]})

    tighten(policy(limit | {"by": ["skin", "sex"], "at_most": 0.05}), floor)
    for other in (limit, limit | {"by": ["sex"]}):
        with pytest.raises(ConfigError, match="has no clause that is as strict"):
            tighten(policy(other), floor)


def test_a_clause_by_an_attribute_is_planned_for_its_own_cells() -> None:
    labels, groups = (axis.ravel() for axis in np.indices((2, 4, 60))[:2])
    split = GroupedDataset.from_arrays(
        np.zeros((len(labels), 1, 2, 2), dtype=np.uint8),
        labels,
        groups,
        groups=NAMES,
        attributes=VALUES,
        attribute_names=("sex", "skin"),
    )
    limit = {"metric": "eo_diag_max", "at_most": 0.2}
    asked = policy(limit, limit | {"by": ["sex"]})
    check(asked)

    found = plan(
        cells_of(split, asked),
        asked,
        [Assumptions(0.9, seeds=5, seed_sd=0.02)],
        rng=np.random.default_rng(0),
        draws=300,
    )

    each, by_sex = found.rows
    assert by_sex.clause == "eo_diag_max by sex"
    assert by_sex.likely[1] < each.likely[1]
    assert by_sex.chance > each.chance


def test_names_of_attributes_go_from_the_table_to_the_verdict(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        (sex, skin, label, *np.clip(rng.normal(80 + 90 * label, 10, 64), 0, 255).round().astype(int))
        for sex in "fm"
        for skin in ("dark", "light")
        for label in (0, 1)
        for _ in range(60)
    ]
    header = ",".join(["sex", "skin", "label", *(f"p{i}" for i in range(64))])
    (tmp_path / "rows.csv").write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]))
    params = small_params()
    params["data"] = {
        "source": {
            "name": "table",
            "path": "rows.csv",
            "columns": {"image": "p*", "label": "label", "groups": ["sex", "skin"]},
            "pixels": {"shape": [1, 8, 8], "range": [0, 255]},
        },
        "splits": {"train": 0.6, "tune": 0.1, "gate": 0.3},
    }
    params["references"], params["sets"] = {"balanced": {"select": "group_balanced"}}, ["balanced", "barycentric"]
    network = {"name": "mlp", "width": 8, "depth": 1}
    params["recipe"] |= {"network": network, "augment": []}
    params["distill"] |= {"network": network, "augment": []}
    params["evaluate"] = {"seeds": 2, "networks": [network]}
    params["gate"]["limits"] = [{"metric": "eo_diag_max", "at_most": 1.0, "by": ["sex"], "why": "a test"}]
    write_params(tmp_path, params)
    (tmp_path / "context.json").write_text("{}\n")

    commands = ("prepare", "validate", "references balanced", "evaluate balanced", "judge balanced", "gate plan")
    for command in commands[:-1]:
        ended = run(tmp_path, *command.split())
        assert ended.code == 0, ended.err

    workspace = Workspace(tmp_path)
    assert "eo_diag_max by sex" in ended.out
    report = json.loads(workspace.evaluation("balanced").read_bytes())["mlp"]
    assert set(report["marginals"]) == {"sex", "skin"}
    found = Verdict.from_json(workspace.verdict("balanced").read_bytes())
    for name in ("sex", "skin"):
        assert found.marginals[name]["mlp"]["eo_diag_max"]["value"] == report["marginals"][name]["eo_diag_max"]


def test_a_verdict_from_before_there_were_marginals_is_still_one() -> None:
    found = verdict_of(drawn([[0.9, 0.9]] * 2, 60, np.random.default_rng(0), seeds=5), policy(_accurate()))
    before = {key: value for key, value in json.loads(found.to_json()).items() if key not in ("marginals", "undefined")}

    assert Verdict.from_json(to_json(before)) == found


def _accurate() -> dict[str, Any]:
    return {"metric": "accuracy", "at_least": 0.5}
