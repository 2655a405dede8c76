"""Files that a verdict is bound to by their content: each fault has its exit code and one line that names it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mutation.interfaces import answer
from mutation.mutants import Files
from mutation.scene import OTHER, REFERENCE, SET, Scene
from small_workspace import run

from fair_distill.errors import MeasurementError
from fair_distill.files import sha256, to_json
from fair_distill.gate.predictions import Predictions

Change = Callable[[Scene], dict[Path, bytes]]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def honest(scene: Scene) -> Iterator[Scene]:
    """The scene, whose files are restored after the test."""
    files = Files(scene)
    yield scene
    for path, content in files.honest.items():
        path.write_bytes(content)


def described(scene: Scene, name: str, **changes: object) -> dict[Path, bytes]:
    """Predictions that say something else about themselves."""
    path = scene.workspace.predictions(name)
    return {path: replace(Predictions.from_parquet(path.read_bytes()), **changes).to_parquet()}  # type: ignore[arg-type]


def remade(scene: Scene, name: str, *keys: str, value: object) -> dict[Path, bytes]:
    """A manifest with another value under a key, None to delete it, and predictions that name the new version."""
    path = scene.workspace.set(name) / "manifest.json"
    content = json.loads(path.read_bytes())
    *holders, last = keys
    holder = content
    for key in holders:
        holder = holder[key]
    holder[last] = value
    if value is None:
        del holder[last]
    manifest = to_json(content)
    return {path: manifest, **described(scene, name, set=sha256(manifest))}


@pytest.mark.parametrize(
    ("change", "code", "line"),
    [
        (lambda s: described(s, SET, attributes=(("m", "old"), ("f", "young"), ("f", "old"), ("m", "young"))), 5,
         "other attributes of the groups"),
        (lambda s: described(s, SET, attribute_names=("age", "sex")), 5, "other attributes of the groups"),
        (lambda s: {s.workspace.split("train"): s.workspace.split("tune").read_bytes()}, 4,
         "was made from the training split"),
        (lambda s: remade(s, SET, "card", "classes", value=["class1", "class0"]), 5, "the card in "),
        (lambda s: remade(s, SET, "card", "nearness", value=None), 5, "the card in "),
        (lambda s: remade(s, SET, "files", value=[]), 5, "is not in the set's manifest"),
        (lambda s: remade(s, REFERENCE, "card", "train_counts", value=[[1] * 4] * 2), 5,
         "describes another training split"),
        (lambda s: remade(s, REFERENCE, "card", "recipe", "steps", value=1), 4, "has recipe.steps: 1"),
        (lambda s: remade(s, REFERENCE, "params", "reference", value=None), 4, "was made with reference: None"),
        (lambda s: remade(s, REFERENCE, "params", "seed", value=False), 4, "was made with seed: False"),
    ],
)  # fmt: skip
def test_a_file_of_something_else_is_no_evidence(honest: Scene, change: Change, code: int, line: str) -> None:
    for path, content in change(honest).items():
        path.write_bytes(content)

    ended = run(honest.root, "explain", SET)

    assert ended.code == code, ended.err
    assert line in ended.err
    assert ended.err.count("\n") == 1


def test_predictions_on_the_source_of_the_set_are_refused_without_the_training_split(honest: Scene) -> None:
    for path, content in remade(honest, REFERENCE, "source", value=honest.split).items():
        path.write_bytes(content)
    honest.workspace.split("train").unlink()

    ended = run(honest.root, "explain", SET)

    assert ended.code == 5
    assert "the gate split must be a split that nothing was distilled from" in ended.err


def test_a_candidate_that_is_the_training_split_is_no_distilled_set(honest: Scene) -> None:
    """A manifest of the kind `full` names no file: whoever evaluates it trains on all training examples."""
    path = honest.workspace.set(SET) / "manifest.json"
    whole = json.loads((honest.workspace.set(REFERENCE) / "manifest.json").read_bytes())
    manifest = to_json(json.loads(path.read_bytes()) | {"files": [], "card": whole["card"] | {"name": SET}})
    path.write_bytes(manifest)
    (honest.workspace.set(SET) / "set.parquet").unlink()
    for file, content in described(honest, SET, set=sha256(manifest)).items():
        file.write_bytes(content)

    for command in (["enforce", SET], ["attest", SET, "--key", str(honest.root.parent / "evaluator.pem")]):
        ended = run(honest.root, *command)
        assert (ended.code, "the set is of the kind 'full'" in ended.err) == (5, True), ended.err


def test_a_distilled_set_without_its_file_is_not_evaluated(honest: Scene) -> None:
    path = honest.workspace.set(SET) / "manifest.json"
    path.write_bytes(to_json(json.loads(path.read_bytes()) | {"files": []}))

    ended = run(honest.root, "evaluate", SET)

    assert (ended.code, "has no set.parquet" in ended.err) == (5, True), ended.err


def test_replay_compares_with_the_reference_and_not_with_another_set(honest: Scene) -> None:
    assert answer("replay", honest).passed
    honest.workspace.predictions(REFERENCE).write_bytes(honest.workspace.predictions(OTHER).read_bytes())

    ended = run(honest.root, "gate", "replay", "--registry", str(honest.registry))

    assert ended.code == 5
    assert f"has the predictions of the set '{OTHER}'" in ended.err


def test_replay_needs_the_gate_split_to_know_that_a_reference_is_complete(honest: Scene) -> None:
    honest.workspace.split("gate").unlink()

    ended = run(honest.root, "gate", "replay", "--registry", str(honest.registry))

    assert ended.code == 4
    assert "gate.arrow is missing; run `fair-distill stage prepare`" in ended.err


def test_promotion_reads_the_predictions_that_the_registry_keeps(honest: Scene) -> None:
    (path,) = (honest.registry / "versions" / honest.version / "predictions").iterdir()
    path.write_bytes(b"something else")

    ended = run(honest.root, "promote", "--to", "production", "--registry", str(honest.registry))

    assert ended.code == 5
    assert "was damaged or replaced" in ended.err


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"set": "A" * 64}, "set is 'A"),
        ({"networks": ("convnet", "convnet")}, "networks is"),
        ({"classes": ("class0", "")}, "classes is"),
        ({"attributes": ((1, "old"),) * 4}, "attributes is"),
        ({"custom_digests": {"net": 1}}, "own is"),
        ({"options": {"convnet": {"name": "mlp"}}}, "options has"),
        ({"options": {"resnet": {}}}, "options has"),
    ],
)
def test_a_header_of_other_types_is_not_one_of_predictions(scene: Scene, changes: dict[str, object], line: str) -> None:
    (content,) = described(scene, SET, **changes).values()

    with pytest.raises(MeasurementError, match="is not a file of predictions") as caught:
        Predictions.from_parquet(content, name="x.parquet")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_signature_that_is_no_text_is_no_signature(honest: Scene) -> None:
    path = honest.workspace.attestation(SET)
    envelope = json.loads(path.read_bytes())
    envelope["signatures"][0]["sig"] = []
    path.write_bytes(to_json(envelope))

    ended = run(honest.root, "enforce", SET)

    assert ended.code == 3
    assert "unattested" in ended.err


def test_a_damaged_file_of_predictions_is_reported_in_one_line(scene: Scene) -> None:
    content = scene.workspace.predictions(SET).read_bytes()
    reports = [_report(content, at) for at in range(0, len(content), 40)]

    assert any("thrift" in report for report in reports)  # which breaks its lines
    assert not any("\n" in report for report in reports)


def _report(content: bytes, at: int) -> str:
    """What is said of predictions with one damaged byte; nothing if they can be read."""
    damaged = bytearray(content)
    damaged[at] ^= 0xFF
    try:
        Predictions.from_parquet(bytes(damaged))
    except MeasurementError as error:
        return str(error)
    return ""
