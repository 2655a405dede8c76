"""A name in data only selects a built-in component. The package imports only names from params.yaml and arguments."""

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fair_distill
from fair_distill.card import DatasetCard, TrainingRecipe
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import ConfigError, FairDistillError, IntegrityError
from fair_distill.plugins import custom_source_digests, resolve
from fair_distill.registry.client import load
from fair_distill.registry.entry import Draft
from fair_distill.registry.layout import manifest_key, object_key
from fair_distill.registry.ledger import append
from fair_distill.registry.manifest import SET_FILE, FileEntry, Manifest
from fair_distill.registry.store import open_registry
from fair_distill.validation.expectations import Expectation, _class_of

PACKAGE = Path(fair_distill.__file__).parent
# The functions that import a name from a variable: `resolve`, if it has permission, and the table of public functions.
ALLOWED = {("plugins.py", "_import"), ("__init__.py", "__getattr__")}
OURS = """
from fair_distill.distillation.networks import MLP


def network(shape, classes, *, width: int):
    return MLP(shape, classes, width=width, depth=1)
"""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if "template" not in path.parts:
            yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text())


def function_around(tree: ast.Module, node: ast.AST) -> str:
    around = [f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and node in ast.walk(f)]
    return around[-1].name if around else ""


def called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def test_only_two_functions_import_a_variable_name() -> None:
    functions = {
        (file, function_around(tree, node))
        for file, tree in trees()
        for node in ast.walk(tree)
        if called(node) in ("import_module", "__import__") and not isinstance(node.args[0], ast.Constant)
    }

    assert functions == ALLOWED


def test_the_code_evaluates_and_unpickles_nothing_and_starts_no_shell() -> None:
    names = {"exec", "popen", "run_path", "run_module", "unsafe_load", "check_output", "getoutput"}
    for file, tree in trees():
        for node in ast.walk(tree):
            assert called(node) not in names, file
            assert not (isinstance(node, ast.Attribute) and ast.unparse(node) == "os.system"), file
            is_builtin = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            assert not (is_builtin and called(node) in ("eval", "exec", "compile")), file
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
                assert not modules & {"pickle", "dill", "cloudpickle", "marshal", "shelve", "runpy", "code"}, file
            if isinstance(node, ast.Call):
                assert not any(word.arg == "shell" for word in node.keywords), file


def test_only_code_that_reads_params_yaml_has_permission_to_import() -> None:
    """Before you add a caller with `custom=True` to this list, check that its name cannot come from data."""
    functions = {
        file
        for file, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "custom" and not isinstance(node.value, ast.Name)
    }

    assert functions == {
        "audit/measurements.py",
        "candidates/custom.py",
        "distillation/alignment.py",
        "distillation/experts.py",
        "distillation/loop.py",
        "distillation/matchers/__init__.py",
        "distillation/unknown_groups.py",
        "evaluation/convergence.py",
        "evaluation/evaluate.py",
        "evaluation/out_of_fold.py",
        "evaluation/references.py",
        "stages/project.py",
        "validation/expectations.py",
        "validation/custom_expectations.py",
    }


def test_without_permission_a_name_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('this was run')\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigError, match=r"network\.name is 'trap:main'; choose one of mlp\. A custom component"):
        resolve("trap:main", {"mlp": object}, where="network.name")
    with pytest.raises(ConfigError, match=r"custom component is imported only if params.yaml names it"):
        _class_of(Expectation("trap:main", {}, "validate.suite.train"))

    assert "trap" not in sys.modules


def distilled(network: str) -> DistilledSet:
    recipe = TrainingRecipe(
        network={"name": network, "options": {"width": 2}},
        steps=1,
        batch_size=2,
        learning_rate=0.1,
        momentum=0.0,
        weight_decay=0.0,
        augment=(),
        formation=1,
        mean=(0.0,),
        std=(1.0,),
    )
    card = DatasetCard(
        dataset="digits",
        name="mean",
        kind="distilled",
        classes=("0", "1"),
        groups=("a", "b"),
        shape=(1, 2, 2),
        examples=2,
        train_counts=((1, 1), (1, 1)),
        recipe=recipe,
        diagnostics={},
    )
    return DistilledSet(np.zeros((2, 1, 2, 2), np.float32), np.array([0, 1]), card)


def published(root: Path, network: str, own: dict[str, str]) -> DistilledSet:
    """Publish a set as an attacker with write access to the store could, and load it."""
    distilled_set, store = distilled(network), open_registry(str(root))
    content = distilled_set.to_parquet()
    manifest = Manifest(
        (FileEntry.describe(SET_FILE, content),), distilled_set.card, "0" * 64, {"own": own} if own else {}, 1
    )
    store.create(object_key(manifest.files[0].md5), content)
    store.create(manifest_key(manifest.version), manifest.to_json())
    draft = Draft(event="publish", version=manifest.version, who="eve", time="2026-03-03T12:00:00Z", nonce="n")
    append(store, "digits", lambda _: draft)
    return load("digits@v1", registry=str(root))


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FAIR_DISTILL_CACHE", "")
    (tmp_path / "ours_net.py").write_text(OURS)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("ours_net", None)


def test_a_published_set_runs_no_code_on_the_machine_that_trains_on_it(ours: Path) -> None:
    loaded = published(ours / "registry", "ours_net:network", {"ours_net:network": "0" * 64})

    with pytest.raises(ConfigError) as refusal:
        fair_distill.train(loaded, seed=0)

    assert "pass it: train(set, networks={'ours_net:network': network})" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "ours_net" not in sys.modules


def test_a_custom_network_is_passed_as_an_argument_and_checked_against_the_manifest(ours: Path) -> None:
    digest = hashlib.sha256(OURS.encode()).hexdigest()
    import ours_net  # type: ignore[import-not-found]

    networks = {"ours_net:network": ours_net.network}
    assert custom_source_digests({"name": "ours_net:network"}) == {"ours_net:network": digest}

    loaded = published(ours / "registry", "ours_net:network", {"ours_net:network": digest})
    assert fair_distill.train(loaded, seed=0, networks=networks) is not None
    (ours / "ours_net.py").write_text(OURS + "# another\n")
    other = hashlib.sha256((OURS + "# another\n").encode()).hexdigest()
    with pytest.raises(IntegrityError, match=f"{other}.*records {digest}"):
        fair_distill.train(loaded, seed=0, networks=networks)
    with pytest.raises(IntegrityError, match="records no digest"):
        fair_distill.train(published(ours / "other", "ours_net:network", {}), seed=0, networks=networks)
    # A set that was made in this process has no manifest to compare with.
    assert fair_distill.train(distilled("ours_net:network"), seed=0, networks=networks) is not None


@pytest.mark.parametrize(
    "name", ["nothing", "multiprocessing.forkserver:main", "os:system", ":", "a:b:c", "builtins:exec"]
)
def test_an_unknown_name_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(FairDistillError) as refusal:
        fair_distill.train(distilled(name), seed=0)

    assert "\n" not in str(refusal.value)
    assert refusal.value.exit_code == 2


def test_a_built_in_network_needs_no_argument_and_cannot_be_replaced() -> None:
    distilled_set = distilled("mlp")
    recipe = replace(distilled_set.card.recipe, network={"name": "mlp", "options": {"width": 2, "depth": 1}})
    distilled_set = replace(distilled_set, card=replace(distilled_set.card, recipe=recipe))

    def trap(*_: object, **__: object) -> None:
        raise AssertionError("a built-in network was replaced")

    assert fair_distill.train(distilled_set, seed=0, networks={"mlp": trap}) is not None  # type: ignore[dict-item]


def test_a_card_contains_only_json_values() -> None:
    assert json.loads(json.dumps(distilled("mlp").card.to_dict()))["kind"] == "distilled"
