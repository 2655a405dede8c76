"""`gate model`: a model of any framework judged by a policy, and every way to make it pass that must not exist."""

import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
import yaml
from model_files import answers, equal_groups, parquet
from small_registry import NAME, NOW, local_registry, package, promote, publish, ship
from small_workspace import Ended, run

import fair_distill
from fair_distill.config import load_gate
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.data.split_file import read_split, write_split
from fair_distill.errors import ConfigError, FairDistillError, IntegrityError, MeasurementError, Undecided
from fair_distill.files import sha256, to_json
from fair_distill.formats.unit_digests import UnitDigests
from fair_distill.gate.policy import policy_digest
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.attempts import read_record
from fair_distill.registry.store import ensure_stored
from fair_distill.statements import new_key

GAP = {"metric": "eo_diag_max", "at_most": 0.2, "why": "a test"}
FLOOR_OF_ACCURACY = {"metric": "accuracy", "at_least": 0.7, "why": "a test"}
# One group of one class is recognised in 40 of 100 cases.
UNFAIR = {("no", "a"): (90, 100), ("no", "b"): (40, 100), ("yes", "a"): (90, 100), ("yes", "b"): (90, 100)}


@pytest.fixture(autouse=True)
def in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FAIR_DISTILL_REGISTRY", raising=False)
    monkeypatch.delenv("FAIR_DISTILL_POLICY_FLOOR", raising=False)


def policy(*limits: dict[str, Any], file: str = "gate.yaml", **keys: Any) -> str:
    """Write a policy. Without other keys it decides by bounds at 5 %."""
    bounds = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 3, "minimum_per_cell": 20}
    rules = (bounds | keys if keys.get("mode") != "point" else keys) | {"limits": list(limits) or [GAP]}
    Path(file).write_text(yaml.safe_dump(rules))
    return file


def write(columns: dict[str, Any], file: str = "p.parquet", *, without: Sequence[str] = ()) -> str:
    Path(file).write_bytes(parquet({name: values for name, values in columns.items() if name not in without}))
    return file


def judged(*words: str, predictions: str = "p.parquet", rules: str = "gate.yaml") -> Ended:
    return run(Path(), "gate", "model", predictions, "--policy", rules, *words)


def refused(code: int, *words: str, **files: str) -> str:
    """Run a command that must fail with one line and print no numbers; return the line."""
    ended = judged(*words, **files)
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1), ended
    return ended.err


def verdict_of(*words: str, **files: str) -> Verdict:
    return Verdict.from_json(judged(*words, "--json", **files).out.encode())


# --- the verdict ------------------------------------------------------------------------------------------------------


def test_a_fair_model_passes_and_an_unfair_one_fails() -> None:
    policy(GAP, FLOOR_OF_ACCURACY)
    write(equal_groups(900, 1000))
    passed = judged()
    write(answers(UNFAIR))
    failed = judged()

    assert (passed.code, passed.out.splitlines()[0]) == (0, "p: PASS")
    assert "note: the verdict is about this one model, so its bounds cover the choice of examples only" in passed.out
    assert "attempt not recorded" in passed.out
    assert (failed.code, failed.out.splitlines()[0]) == (1, "p: FAIL")
    assert "class 'no' is recognised in 90.0 % of 100 examples of group 'a' and in 40.0 %" in failed.out


def test_a_model_with_few_examples_is_not_passed() -> None:
    policy({**GAP, "at_most": 0.1})
    write(equal_groups(18, 20))
    inconclusive = judged()
    write(equal_groups(18, 19))
    insufficient = judged()

    assert (inconclusive.code, inconclusive.out.splitlines()[0]) == (3, "p: INCONCLUSIVE")
    assert (insufficient.code, insufficient.out.splitlines()[0]) == (3, "p: INSUFFICIENT")


def test_several_seeds_are_a_sample_and_given_ones_are_judged_one_by_one() -> None:
    policy()
    columns = equal_groups(900, 1000, seeds=3)
    n = len(columns["example"]) // 3
    # The third network recognises nobody of group b, which the mean over seeds hides in part.
    columns["predicted"][2 * n :] = [
        "yes" if group == "b" else predicted
        for group, predicted in zip(columns["group"][2 * n :], columns["predicted"][2 * n :], strict=True)
    ]
    write(columns)
    sampled, given = verdict_of(), verdict_of("--given")

    assert sampled.model is not None
    assert given.model is not None
    assert (sampled.model["networks"], given.model["networks"]) == ("sampled", "given")
    assert "all networks that this training can give; 3 of them were trained" in sampled.model["notes"][0]
    assert (given.outcome, given.findings[0].network) == ("fail", "model seed 2")
    assert given.findings[0].value == pytest.approx(0.9)
    assert sampled.findings[0].value == pytest.approx(0.3)


def test_minimum_seeds_applies_to_sampled_networks_only() -> None:
    policy(minimum_seeds=3)
    write(equal_groups(900, 1000, seeds=2))

    assert "2 of the 3 seeds" in verdict_of().reasons[0]
    assert verdict_of("--given").outcome == "pass"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("clusters", [1, 2])
def test_few_clusters_that_span_groups_are_judged_by_values_and_not_by_bounds(clusters: int) -> None:
    write(equal_groups(90, 100) | {"cluster": [i * clusters // 400 for i in range(400)]})
    policy(mode="point")
    assert (judged().code, judged().err) == (0, "")
    policy(minimum_per_cell=2)
    assert judged().code == 3


def test_the_summaries_are_those_of_enforce() -> None:
    policy(GAP, FLOOR_OF_ACCURACY)
    write(answers(UNFAIR))
    ended = judged("--name", "churn 3", "--markdown", "gate.md", "--junit", "gate.xml")
    suite = ElementTree.fromstring(Path("gate.xml").read_text()).find("testsuite")

    assert ended.code == 1
    assert Path("gate.md").read_text().startswith("## churn 3: FAIL")
    assert "this one model" in Path("gate.md").read_text()
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_the_verdict_names_the_file_the_examples_and_the_policy() -> None:
    policy()
    write(equal_groups(900, 1000))
    verdict = verdict_of()

    digest = sha256(Path("p.parquet").read_bytes())
    assert (verdict.set, verdict.predictions) == (digest, digest)
    assert verdict.policy == policy_digest(load_gate(Path("gate.yaml")))
    assert verdict.examples == 4000
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_the_python_interface_gives_the_same_verdict_without_torch() -> None:
    policy()
    write(equal_groups(900, 1000))
    code = (
        "import sys, fair_distill\n"
        "verdict = fair_distill.judge_model('p.parquet', 'gate.yaml', name='p')\n"
        "print(verdict.digest, sorted({'torch', 'scipy', 'pandas', 'yaml'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout.split() == [verdict_of().digest, "['yaml']"]


def test_a_clause_on_probabilities_needs_them() -> None:
    calibration = {"metric": "calibration_gap", "at_most": 0.2, "why": "a test"}
    policy(calibration)
    columns = equal_groups(900, 1000)
    write(columns)
    assert "calibration_gap needs the column 'probability'" in refused(2)

    write(columns | {"probability": [0.9] * 4000})
    assert judged().code == 0
    policy(GAP)
    write(columns)
    verdict = verdict_of()
    assert verdict.numbers["model"]["calibration_gap"]["value"] is None
    assert verdict.undefined[""]["calibration_gap"] == "the predictions come without probabilities"


def test_attributes_are_groups_and_marginals() -> None:
    policy({**GAP, "by": ["sex"]})
    columns = equal_groups(900, 1000)
    columns |= {"sex": columns.pop("group"), "race": ["q", "r"] * 2000}
    write(columns)
    verdict = verdict_of("--groups", "sex", "race")

    assert {group.group for group in verdict.groups} >= {"a×q", "b×r", "sex: a", "race: q"}
    assert "has the column 'sex'" in refused(4)
    assert "has the column 'sex' and no column 'age'" in refused(4, "--groups", "sex", "race", "age")


# --- the gate split ---------------------------------------------------------------------------------------------------


def split(
    file: str = "splits/gate.arrow", *, named: bool = True, shape: tuple[int, ...] = (1, 2, 2), **columns: Any
) -> dict[str, Any]:
    """Write a split of 400 examples in two classes and groups, and return columns of right predictions of it."""
    labels, groups = np.repeat([0, 1], 200), np.tile(np.repeat([0, 1], 100), 2)
    ids = pa.array([f"id{i:03}" for i in range(400)], pa.large_string()) if named else None
    dataset = GroupedDataset.from_arrays(
        np.zeros((400, *shape), np.uint8),
        labels,
        groups,
        classes=("0", "1"),
        groups=("red", "cyan"),
        ids=ids,
        **columns,
    )
    Path(file).parent.mkdir(exist_ok=True)
    write_split(dataset, Path(file))
    stored = read_split(Path(file))
    names = list(range(400)) if stored.ids is None else stored.ids.to_pylist()
    return {
        "example": names,
        "predicted": [stored.classes[c] for c in stored.labels],
        "label": [stored.classes[c] for c in stored.labels],
        "group": [stored.groups[g] for g in stored.group_indices],
    }


AT_SPLIT = ("--split", "splits/gate.arrow")


@pytest.mark.parametrize("named", [True, False], ids=["ids", "row numbers"])
def test_the_split_states_labels_and_groups(named: bool) -> None:
    policy()
    columns = split(named=named)
    write(columns, without=("label", "group"))
    verdict = verdict_of(*AT_SPLIT)
    write(columns)

    assert verdict.outcome == "pass"
    assert verdict.split == sha256(Path("splits/gate.arrow").read_bytes())
    assert verdict_of(*AT_SPLIT).findings == verdict.findings


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label", "1", "the label of example 'id000' in row 1 is '1', which differs from splits/gate.arrow"),
        ("group", "cyan", "the group of example 'id000' in row 1 is 'cyan', which differs from"),
        ("example", "id400", "1 examples are not in splits/gate.arrow, the first of them 'id400' in row 1"),
    ],
)
def test_rows_that_contradict_the_split_are_refused(column: str, value: str, message: str) -> None:
    policy()
    columns = split()
    columns[column][0] = value
    write(columns)

    assert message in refused(5, *AT_SPLIT)


@pytest.mark.parametrize("column", ["pair", "cluster"])
def test_pairs_and_clusters_are_those_of_the_split(column: str) -> None:
    policy()
    numbers = np.arange(400) % 100
    columns = split(**{f"{column}s": numbers})
    same, other = [f"p{n}" for n in numbers], [f"p{n // 2}" for n in numbers]
    write(columns | {column: same})
    assert judged(*AT_SPLIT).code in (0, 3)
    write(columns | {column: other})

    assert f"the {column} of example " in refused(5, *AT_SPLIT)


def test_an_easy_part_of_the_split_is_refused() -> None:
    policy()
    columns = split()
    write({name: values[10:] for name, values in columns.items()})

    assert "has no prediction for 10 of the 400 examples of splits/gate.arrow" in refused(4, *AT_SPLIT)


def test_examples_are_not_matched_by_row_if_the_split_names_them() -> None:
    policy()
    columns = split()
    write(columns | {"example": list(range(400))})

    assert "400 examples are not in splits/gate.arrow, the first of them '0'" in refused(5, *AT_SPLIT)


@pytest.mark.parametrize("name", ["train", "tune"])
def test_a_train_or_tune_split_is_refused(name: str) -> None:
    policy()
    write(split(f"splits/{name}.arrow"))
    Path("splits/copy.arrow").write_bytes(Path(f"splits/{name}.arrow").read_bytes())
    Path("artifacts").mkdir()

    for file in (f"splits/{name}.arrow", "splits/copy.arrow"):
        assert f"is the {name} split, not the gate split" in refused(5, "--split", file)
    Path("splits").rename("artifacts/prepared")
    Path("elsewhere.arrow").write_bytes(Path("artifacts/prepared/copy.arrow").read_bytes())
    assert f"is the {name} split" in refused(5, "--split", "elsewhere.arrow")


def test_the_exam_of_the_policy_states_the_split_and_nothing_about_the_model() -> None:
    exam = {"networks": [{"name": "convnet", "width": 8}], "seeds": 5, "split": {"examples": 500}}
    policy(GAP, exam=exam)
    write(split())
    assert "a gate split of at least 500 examples is required; evaluated: 400" in refused(4, *AT_SPLIT)

    exam["split"] = {"sha256": sha256(Path("splits/gate.arrow").read_bytes())}
    policy(GAP, exam=exam)
    verdict = verdict_of(*AT_SPLIT)
    assert verdict.outcome == "pass"
    assert verdict.model is not None
    assert any("exam" in note and "not applied" in note for note in verdict.model["notes"])
    assert verdict.gate is not None
    assert verdict.gate["exam"]["seeds"] == 5
    assert "gate split" in refused(4)  # the same examples without the file have another digest


# --- sealed labels and delayed labels ---------------------------------------------------------------------------------


def sealed(columns: dict[str, Any]) -> None:
    """Write predictions without labels and groups, and the labels where only the promotion job can read them."""
    Path("vault").mkdir(exist_ok=True)
    write(columns, without=("label", "group"))
    write(columns, "vault/labels.parquet", without=("predicted",))


def test_without_the_sealed_labels_no_number_is_printed() -> None:
    policy()
    sealed(equal_groups(900, 1000))

    assert "has no column 'label'; pass --split or --labels" in refused(2)
    assert "has no column 'label'" in refused(2, "--json", "--given")


def test_sealed_labels_give_the_verdict_of_labels_in_the_file() -> None:
    policy()
    columns = equal_groups(900, 1000)
    sealed(columns)
    joined = verdict_of("--labels", "vault/labels.parquet")
    by_url = verdict_of("--labels", f"file://{Path.cwd()}/vault/labels.parquet")
    write(columns)
    own = verdict_of()

    assert joined.findings == own.findings == by_url.findings
    assert joined.split == own.split
    assert joined.model is not None
    assert joined.model["labels"] == "labels"


@pytest.mark.parametrize(
    ("rows", "code", "message"),
    [
        (slice(0, 3990), 5, "10 examples are not in vault/labels.parquet"),
        (slice(0, 4000), 4, "has no prediction for 10 of the 4,000 examples of vault/labels.parquet"),
    ],
    ids=["labels that are not there yet", "an easy part"],
)
def test_labels_and_predictions_of_other_examples_are_refused(rows: slice, code: int, message: str) -> None:
    policy()
    columns = equal_groups(900, 1000)
    sealed({name: values[rows] for name, values in columns.items()})
    kept = columns if code == 5 else {name: values[:3990] for name, values in columns.items()}
    write(kept, without=("label", "group"))

    assert message in refused(code, "--labels", "vault/labels.parquet")


def test_labels_of_the_file_and_of_the_vault_must_agree() -> None:
    policy()
    columns = equal_groups(900, 1000)
    sealed(columns)
    write(columns | {"label": ["yes", *columns["label"][1:]]})

    assert "the label of example 'no-a-0' in row 1 is 'yes', which differs from vault/labels.parquet" in refused(
        5, "--labels", "vault/labels.parquet"
    )
    assert "pass one of them" in refused(2, "--labels", "vault/labels.parquet", "--split", "x.arrow")


def test_missing_files_are_named() -> None:
    policy()
    assert "p.parquet is missing" in refused(4)
    write(equal_groups(9, 10))
    assert "nowhere.parquet is missing" in refused(4, "--labels", "nowhere.parquet")
    assert "nowhere.yaml is missing" in refused(2, rules="nowhere.yaml")
    assert "other.parquet is missing" in refused(4, "--reference", "old=other.parquet")


# --- references and waivers -------------------------------------------------------------------------------------------


def test_a_model_is_compared_with_another_one_example_by_example() -> None:
    policy({"metric": "accuracy", "over": "old", "at_least": -0.05, "why": "a test"})
    write(equal_groups(900, 1000))
    write(equal_groups(910, 1000), "old.parquet")
    assert judged("--reference", "old=old.parquet").code == 0

    write(equal_groups(990, 1000), "old.parquet")
    failed = verdict_of("--reference", "old=old.parquet")
    assert (failed.outcome, failed.findings[0].value) == ("fail", pytest.approx(-0.09))
    assert failed.references == {"old": sha256(Path("old.parquet").read_bytes())}
    assert "the predictions of 'old' were not given" in refused(2)
    write(equal_groups(900, 999), "old.parquet")
    assert "the predictions of 'old': network 'model' has no prediction for 4" in refused(
        4, "--reference", "old=old.parquet"
    )


def test_a_clause_over_the_promoted_model_needs_it_or_a_declared_first_release() -> None:
    clause = {"metric": "accuracy", "over": "promoted", "first_release": "accept", "at_least": -0.05, "why": "a test"}
    policy(clause)
    write(equal_groups(900, 1000))
    write(equal_groups(990, 1000), "old.parquet")

    assert "compares with the model in use" in refused(2)
    assert judged("--reference", "promoted=old.parquet").code == 1
    first = judged("--first-release")
    assert first.code == 0
    assert "declared as a first release" in first.out


def test_a_waiver_counts_for_these_predictions_until_its_last_day() -> None:
    policy()
    write(answers(UNFAIR))
    waiver = {"clause": "eo_diag_max", "who": "Ada", "approved_by": "Grace", "why": "a pilot", "expires": "2999-03-31"}
    waiver["set"] = sha256(Path("p.parquet").read_bytes())
    Path("context.json").write_bytes(to_json({"waivers": [waiver]}))
    waived = judged("--context", "context.json")
    assert (waived.code, waived.out.splitlines()[0]) == (0, "p: WAIVED")
    assert judged().code == 1

    expired = judged("--context", "context.json", "--now", "2999-04-01")
    assert expired.code == 1
    assert "a waiver by Ada expired on 2999-03-31" in expired.out
    write(answers(UNFAIR | {("yes", "b"): (89, 100)}))
    assert judged("--context", "context.json").code == 1


def test_a_context_of_a_set_does_not_apply_to_a_model() -> None:
    policy()
    write(equal_groups(900, 1000))
    Path("context.json").write_bytes(to_json({"attempt": {"set": "a" * 64, "split": "b" * 64, "number": 2}}))

    assert "for a model it may have waivers only" in refused(2, "--context", "context.json")


def test_the_policy_floor_holds_for_models() -> None:
    policy({**GAP, "at_most": 0.1}, file="floor.yaml")
    policy()
    write(equal_groups(900, 1000))

    assert "the policy floor requires" in refused(2, "--policy-floor", "floor.yaml")


def test_unsigned_predictions_are_refused_if_the_policy_names_evaluators() -> None:
    for name in ("evaluator", "stranger"):
        private, public = new_key()
        Path(name).write_bytes(private)
        if name == "evaluator":
            policy({**GAP, "over": "old"}, evaluators=[public])
    write(equal_groups(900, 1000))
    write(equal_groups(901, 1000), "old.parquet")
    words = ("--reference", "old=old.parquet")
    for file, key in (("p", "stranger"), ("old", "evaluator"), ("q", "evaluator")):
        write(equal_groups(900, 1000), "q.parquet")
        assert run(Path(), "gate", "attest-model", f"{file}.parquet", "--key", key).out == f"{file}.attestation.json\n"

    assert "none of the 1 keys in gate.yaml: gate.evaluators signed p.parquet" in refused(3, *words)
    assert "signed p.parquet" in refused(3, *words, "--attestation", "p.attestation.json")
    # The statement names the content, so it also holds for a copy.
    assert "signed old" in refused(3, *words, "--attestation", "q.attestation.json")
    both = ("--attestation", "q.attestation.json", "--attestation", "old.attestation.json")
    assert judged(*words, *both).code == 0
    write(equal_groups(902, 1000))
    assert "signed p.parquet" in refused(3, *words, *both)
    assert "needs a signing key" in run(Path(), "gate", "attest-model", "p.parquet").err


def test_a_clause_about_a_share_of_networks_is_about_the_given_model_itself() -> None:
    policy({**GAP, "each_network": 0.9})
    write(equal_groups(900, 1000))
    assert judged().code == 0
    write(answers(UNFAIR))
    assert judged().code == 1


def test_the_labels_may_be_in_a_bucket(bucket: str) -> None:
    import boto3

    policy()
    columns = equal_groups(900, 1000)
    write(columns, without=("label", "group"))
    labels = parquet({name: columns[name] for name in ("example", "label", "group")})
    name = bucket.removeprefix("s3://")
    boto3.Session().client("s3").put_object(Bucket=name, Key="sealed/labels.parquet", Body=labels)

    assert judged("--labels", f"{bucket}/sealed/labels.parquet").code == 0
    assert "is missing" in refused(4, "--labels", f"{bucket}/sealed/other.parquet")


# --- a model that was trained on a published set ----------------------------------------------------------------------

ONE, TWO = package(1), package(2)
ON_SET = ("--set", f"{NAME}@v1", "--registry", "registry")


@pytest.fixture
def registry(in_the_folder: None) -> Path:
    """Publish two versions, and promote the first."""
    store = local_registry(Path("registry"))
    ship(store, ONE)
    publish(store, TWO)
    return Path("registry")


def test_the_verdict_names_the_set_that_the_model_was_trained_on(registry: Path) -> None:
    policy()
    write(split())
    verdict = verdict_of(*ON_SET, *AT_SPLIT)

    assert verdict.outcome == "pass"
    assert verdict.model is not None
    assert verdict.model["trained_on"] == {"name": f"{NAME}@v1", "version": ONE.version}
    assert any("itself was promoted on other examples, the gate split" in note for note in verdict.notes)
    # The verdict is not about the set, so no promotion can be based on it.
    assert verdict.set != ONE.version


def test_a_verdict_on_a_model_is_no_ground_for_a_promotion(registry: Path) -> None:
    """Somebody who can write to the store edits the verdict on a model and promotes a set on it."""
    policy()
    write(split())
    forged = replace(verdict_of(*ON_SET, *AT_SPLIT), set=TWO.version, predictions=TWO.verdict.predictions)
    promote(local_registry(registry), replace(TWO, verdict=forged))

    with pytest.raises(IntegrityError, match="is a verdict on a model, which allows no promotion of a set"):
        fair_distill.load(f"{NAME}@production", registry="registry")


def test_a_revoked_set_fails_the_model_with_the_reason_and_the_day(registry: Path) -> None:
    policy(GAP, FLOOR_OF_ACCURACY)
    write(split())
    actor = Actor("grace", NOW, "revoke")
    retraction.revoke(local_registry(registry), NAME, ONE.version, reason="wrong labels", actor=actor)
    ended = judged(*ON_SET, *AT_SPLIT, "--markdown", "gate.md", "--junit", "gate.xml")

    assert ended.code == 1
    assert ended.out.splitlines()[0] == "p: FAIL"
    for text in (ended.out, Path("gate.md").read_text(), Path("gate.xml").read_text()):
        assert "wrong labels" in text
        assert "2026-03-03T12:00:00Z" in text
    waiver = {"clause": "not revoked", "who": "Ada", "approved_by": "Grace", "why": "a pilot", "expires": "2999-03-31"}
    waiver["set"] = sha256(Path("p.parquet").read_bytes())
    Path("context.json").write_bytes(to_json({"waivers": [waiver]}))
    assert "a waiver names the clause 'not revoked'" in refused(2, *ON_SET, *AT_SPLIT, "--context", "context.json")


def test_a_set_that_was_never_promoted_or_was_demoted_is_said(registry: Path) -> None:
    policy()
    write(split())
    never = judged("--set", f"{NAME}@v2", "--registry", "registry", *AT_SPLIT)
    assert (never.code, f"note: {NAME}@v2 was never promoted" in never.out) == (0, True)

    actor = Actor("grace", NOW, "demote")
    retraction.demote(local_registry(registry), NAME, ONE.version, "production", reason="too old", actor=actor)
    assert (
        f"{NAME}@v1 was demoted from production at {NOW:%Y-%m-%dT%H:%M:%SZ} by grace: too old"
        in judged(*ON_SET, *AT_SPLIT).out
    )


def test_an_expired_waiver_of_the_set_is_said(registry: Path) -> None:
    policy()
    write(split())
    waived = package(3, mistakes=5)
    finding = replace(waived.verdict.findings[0], waiver="waived until 2026-04-01 by Ada, approved by Grace: a pilot")
    waived = replace(waived, verdict=replace(waived.verdict, outcome="waived", findings=(finding,)))
    publish(local_registry(registry), waived)
    promote(local_registry(registry), waived)
    ended = judged("--set", f"{NAME}@v3", "--registry", "registry", *AT_SPLIT)

    assert "was promoted with a waiver, which expired on 2026-04-01" in ended.out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": ["2"] * 400, "predicted": ["2"] * 400}, "the label '2' is not among the classes 0, 1"),
        ({"predicted": ["2"] * 400}, "the prediction in row 1 is '2', which is not a class"),
        ({"group": ["green"] * 400}, f"has the group 'green'; {NAME}@v1 has red, cyan"),
    ],
    ids=["label", "prediction", "group"],
)
def test_classes_and_groups_are_those_of_the_set(registry: Path, change: dict[str, Any], message: str) -> None:
    policy()
    write(split() | change)
    ended = judged(*ON_SET)

    assert ended.code in (4, 5)
    assert message in ended.err


def test_a_class_is_listed_once(in_the_folder: None) -> None:
    policy()
    write(split())

    message = refused(2, "--classes", "0", "1", "1")

    assert "--classes lists '1' twice; list each class once" in message


def test_a_group_of_the_set_without_examples_is_not_passed(registry: Path) -> None:
    policy()
    write(split() | {"group": ["red"] * 400})
    ended = judged(*ON_SET)

    assert ended.code == 3
    assert "no examples of group 'cyan'" in ended.out


def test_a_split_of_other_data_than_the_set_is_refused(registry: Path) -> None:
    policy()
    write(split(shape=(3, 4, 4)))

    assert "has examples of the shape 3×4×4" in refused(5, *ON_SET, *AT_SPLIT)


def test_the_split_that_the_set_was_distilled_from_is_refused(registry: Path) -> None:
    policy()
    write(split("elsewhere.arrow"))
    source = sha256(Path("elsewhere.arrow").read_bytes())
    made = package(4)
    leaking = replace(made.manifest, source=source)
    predictions = made.predictions.replace(made.version.encode(), leaking.version.encode())
    publish(local_registry(registry), replace(made, manifest=leaking, predictions=predictions))
    ended = judged("--set", f"{NAME}@v3", "--registry", "registry", "--split", "elsewhere.arrow")

    assert ended.code == 5
    assert f"is the split that {NAME}@v3 was distilled from" in ended.err


@pytest.mark.parametrize("stored", [True, False])
def test_a_split_with_training_units_of_the_set_is_refused(registry: Path, stored: bool) -> None:
    policy()
    units = np.arange(400, dtype=np.uint64)[:, None]
    write(split(units=units))
    training = UnitDigests(np.arange(390, 500, dtype=np.uint64))
    made = package(4)
    named = replace(made.manifest, params=made.manifest.params | {"training_units": training.sha256})
    predictions = made.predictions.replace(made.version.encode(), named.version.encode())
    store = local_registry(registry)
    ensure_stored(store, f"units/{training.sha256}.bin", training.to_bytes())
    publish(store, replace(made, manifest=named, predictions=predictions))
    if not stored:
        store.remove(f"units/{training.sha256}.bin")

    ended = judged("--set", f"{NAME}@v3", "--registry", "registry", *AT_SPLIT)

    if stored:
        assert ended.code == 5
        assert f"the gate split shares 10 of its 400 units with the training units of {NAME}@v3" in ended.err
    else:
        assert ended.code == 0
        assert f"the training units of {NAME}@v3 are not in this registry" in ended.out


@pytest.mark.parametrize(
    ("reference", "code", "message"),
    [
        (NAME, 2, f"name a version, such as {NAME}@v1"),
        (f"{NAME}@v9", 2, "does not exist"),
        ("other@v1", 2, "has nothing published as 'other'"),
    ],
)
def test_a_set_that_does_not_exist_is_refused(registry: Path, reference: str, code: int, message: str) -> None:
    policy()
    write(split())

    assert message in refused(code, "--set", reference, "--registry", "registry")


def test_a_clause_on_the_card_needs_the_set(registry: Path) -> None:
    policy(GAP, {"metric": "near_copies", "at_most": 0.1, "why": "a test"})
    write(split())

    assert "has a clause on the card of the set" in refused(2)
    assert "NO  near_copies: " in judged(*ON_SET).out


# --- attempts ---------------------------------------------------------------------------------------------------------

IN_RECORD = ("--registry", "store", "--dataset", "incomes", "--who", "ada")


def test_every_model_at_the_same_examples_is_an_attempt(registry: Path) -> None:
    policy()
    verdicts = []
    for right in (901, 902, 903, 902):
        write(equal_groups(right, 1000))
        verdicts.append(verdict_of(*IN_RECORD))

    assert [verdict.attempt for verdict in verdicts] == [1, 2, 3, 2]  # the same predictions keep their attempt
    fractions = [verdict.fraction for verdict in verdicts]
    assert fractions == pytest.approx([0.9, 0.05, 0.025, 0.05])
    assert [verdict.alpha for verdict in verdicts] == pytest.approx([0.05 * (fraction or 0) for fraction in fractions])
    record = read_record(local_registry(Path("store")))
    assert [(entry.dataset, entry.who, entry.predictions == entry.version) for entry in record] == [
        ("incomes", "ada", True)
    ] * 3


@pytest.mark.parametrize(
    "change",
    [
        lambda columns: {name: values[1:] for name, values in columns.items()},
        lambda columns: {name: values[::-1] for name, values in columns.items()},
        lambda columns: columns | {"label": ["yes", *columns["label"][1:]]},
        lambda columns: columns | {"network": ["another"] * len(columns["label"])},
        lambda columns: (
            {name: values + values[:1] for name, values in columns.items()} | {"example": [*columns["example"], "new"]}
        ),
    ],
    ids=["a row dropped", "reordered", "relabelled", "renamed network", "a row added"],
)
def test_no_change_of_the_file_resets_the_attempts(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    policy()
    columns = equal_groups(900, 1000)
    write(columns)
    assert verdict_of(*IN_RECORD).attempt == 1
    write(change(columns))
    second = verdict_of(*IN_RECORD, "--name", "another name")

    assert second.attempt == 2
    assert second.fraction is not None
    assert second.fraction < 0.06


def test_attempts_of_models_and_of_sets_share_the_budget_of_a_split() -> None:
    policy()
    columns = split()
    write(columns)
    by_split = verdict_of("--registry", "store", "--dataset", "incomes", *AT_SPLIT)
    write(columns | {"network": ["other"] * 400})
    by_names = verdict_of("--registry", "store", "--dataset", "incomes")
    under_another_name = verdict_of("--registry", "store", "--dataset", "other", *AT_SPLIT)

    assert (by_split.attempt, by_names.attempt) == (1, 2)  # recognised by the ids of the examples
    # Recognised by the content of the examples, and by their names, labels and groups.
    assert under_another_name.attempt == 3


@pytest.mark.parametrize("modes", [(AT_SPLIT, ()), ((), AT_SPLIT)], ids=["split first", "columns first"])
def test_examples_without_ids_are_recognised_with_and_without_their_split(modes: tuple[tuple[str, ...], ...]) -> None:
    policy()
    columns = split(named=False)
    attempts = []
    for network, mode in enumerate(modes):
        write(columns | {"network": [f"n{network}"] * 400})
        attempts.append(verdict_of(*IN_RECORD, *mode).attempt)

    assert attempts == [1, 2]
    assert "can be recognised only with --split or stable names" in judged(*IN_RECORD).out


@pytest.mark.parametrize(
    ("dataset", "change"),
    [
        ("Incomes", lambda names: names),
        ("incomes-2", lambda names: names),
        ("incomes", lambda names: [f" {name}\t" for name in names]),
        ("incomes", lambda names: [name.upper() for name in names]),
        ("incomes", lambda names: [unicodedata.normalize("NFD", name) for name in names]),
    ],
    ids=["another case of the data set", "another data set", "outer blanks", "upper case", "another Unicode form"],
)
def test_no_other_spelling_of_names_resets_the_attempts(dataset: str, change: Callable[[list[str]], list[str]]) -> None:
    policy()
    columns = equal_groups(900, 1000)
    columns["example"] = [f"é{name}" for name in columns["example"]]
    write(columns)
    verdict_of(*IN_RECORD)
    write(columns | {"example": change(columns["example"]), "network": ["other"] * len(columns["example"])})
    second = verdict_of("--registry", "store", "--dataset", dataset)

    assert (second.attempt, second.fraction) == (2, pytest.approx(0.05))


def test_numbers_as_names_are_equal_in_every_form() -> None:
    policy()
    columns = equal_groups(900, 1000)
    n = len(columns["example"])
    attempts = []
    for form in (list(range(n)), [f"{i}.0" for i in range(n)], [f"{i:06d}" for i in range(n)]):
        write(columns | {"example": form, "network": [f"n{len(attempts)}"] * n})
        attempts.append(verdict_of(*IN_RECORD).attempt)

    assert attempts == [1, 2, 3]


def test_row_numbers_of_another_table_are_other_examples() -> None:
    policy()
    columns = equal_groups(900, 1000)
    n = len(columns["example"])
    write(columns | {"example": list(range(n))})
    verdict_of(*IN_RECORD)
    order = np.random.default_rng(0).permutation(n).tolist()
    other = {name: [values[i] for i in order] for name, values in columns.items()} | {"example": list(range(n))}
    write(other)
    assert verdict_of("--registry", "store", "--dataset", "loans").attempt == 1
    write(other | {"network": ["other"] * n})
    # The attempt in each data set took 0.9, and both count here.
    assert "have used up the error budget" in refused(3, *IN_RECORD)


@pytest.mark.parametrize("column", ["cluster", "pair"])
def test_other_examples_of_the_same_people_inherit_the_attempts(column: str) -> None:
    policy({**GAP, "at_most": 0.3})
    columns = equal_groups(900, 1000)
    n = len(columns["example"])
    fractions = []
    for month in range(3):
        people = [f"person {i // 2}" for i in range(n)]
        examples = [f"month {month}, image {i}" for i in range(n)]
        write(columns | {"example": examples, column: people})
        fractions.append(verdict_of(*IN_RECORD).fraction)

    assert fractions == pytest.approx([0.9, 0.05, 0.025])


def test_an_audit_judges_recorded_predictions_only_and_records_nothing() -> None:
    policy()
    write(equal_groups(900, 1000))
    unrecorded = refused(2, *IN_RECORD, "--audit")
    assert "--audit judges predictions that are in the record of attempts" in unrecorded
    assert not Path("store").exists()
    judged(*IN_RECORD)
    audited = judged(*IN_RECORD, "--audit")
    write(equal_groups(901, 1000))
    refused(2, *IN_RECORD, "--audit")

    assert (audited.code, "an audit: these predictions were judged before" in audited.out) == (0, True)
    assert len(read_record(local_registry(Path("store")))) == 1


def test_a_wrong_file_records_nothing() -> None:
    policy()
    write(equal_groups(900, 1000) | {"predicted": ["maybe"] * 4000})
    refused(4, *IN_RECORD)

    assert not Path("store").exists()
    assert "needs a data set" in refused(2, "--registry", "store")


def test_a_registry_in_the_environment_records_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIR_DISTILL_REGISTRY", "store")
    policy()
    write(equal_groups(900, 1000))

    assert "the attempt is recorded for the data set incomes" in judged("--dataset", "incomes").out
    assert len(read_record(local_registry(Path("store")))) == 1


def test_errors_of_the_python_interface_are_those_of_the_command() -> None:
    policy()
    cases: list[tuple[type[FairDistillError], dict[str, Any]]] = [
        (MeasurementError, {"labels": "nowhere.parquet"}),
        (ConfigError, {"labels": "nowhere.parquet", "split": "nowhere.arrow"}),
        (IntegrityError, {"split": "splits/gate.arrow"}),
    ]
    split()
    write(equal_groups(9, 10))
    for error, options in cases:
        with pytest.raises(error):
            fair_distill.judge_model("p.parquet", "gate.yaml", **options)
    with pytest.raises(Undecided):
        fair_distill.judge_model("p.parquet", policy(evaluators=[f"ed25519:{'0' * 64}"]))


def test_the_day_of_the_verdict_is_today_by_default() -> None:
    policy()
    write(answers(UNFAIR))
    waiver = {"clause": "eo_diag_max", "who": "Ada", "approved_by": "Grace", "why": "a pilot"}
    waiver |= {"set": sha256(Path("p.parquet").read_bytes()), "expires": str(datetime.now(UTC).date())}
    Path("context.json").write_bytes(to_json({"waivers": [waiver]}))

    assert fair_distill.judge_model("p.parquet", "gate.yaml", context="context.json").outcome == "waived"
    late = fair_distill.judge_model("p.parquet", "gate.yaml", context="context.json", now=date(3000, 1, 1))
    assert late.outcome == "fail"
    assert json.loads(late.to_json())["model"]["name"] == "model"
