"""Custom components: modules next to params.yaml, their digests in the manifest, and the errors about them."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_workspace import MTT, run, small_params, write_params

from fair_distill.config import parse_config
from fair_distill.gate.predictions import Predictions
from fair_distill.plugins import custom_source_digests, workspace_modules
from fair_distill.registry.manifest import Manifest, read_version
from fair_distill.stages.experts import expert_folder
from fair_distill.workspace import Workspace

MINE = """
from fair_distill.distillation.alignment import Barycentric
from fair_distill.distillation.barycenter import mean
from fair_distill.distillation.matchers.base import Pair
from fair_distill.distillation.matchers.dm import DM
from fair_distill.distillation.networks import MLP


def moved(cells_CGD, weights_CG, *, by: float):
    return mean(cells_CGD, weights_CG) + by


def twice(counts_CG, weights_CG, *, share: float):
    return Barycentric(mean, weights_CG * share + (1 - share) * counts_CG / counts_CG.sum(1, True), linear=True)


class Scaled(DM):
    def pairs(self, step):
        for pair in super().pairs(step):
            yield Pair(pair.targets, pair.synthetic, pair.synthetic[0].square().sum())


class Small(MLP):
    def __init__(self, shape, classes, *, width: int):
        super().__init__(shape, classes, width=width, depth=1)


class Unrelated:
    def __init__(self, *inputs):
        pass
"""
NAMES = {
    "barycenter": {"alignment": "barycentric", "barycenter": {"name": "mine:moved", "by": 0.1}},
    "alignment": {"alignment": {"name": "mine:twice", "share": 0.5}},
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("workspace")
    write_params(root, params())
    (root / "mine.py").write_text(MINE)
    for command in ("prepare", "validate"):
        assert run(root, command).code == 0
    return root


@pytest.fixture
def workspace(prepared: Path) -> Path:
    """Return the prepared workspace with its original params and module."""
    write_params(prepared, params())
    (prepared / "mine.py").write_text(MINE)
    return prepared


def params(**distill: Any) -> dict[str, Any]:
    """Return small params in which every component that can be custom is custom."""
    whole = small_params()
    whole["distill"] |= {"steps": 2, "matcher": "mine:Scaled", "network": {"name": "mine:Small", "width": 8}}
    whole["distill"] |= distill
    whole["candidates"] = {**NAMES, "pooled": {"alignment": "pooled"}}
    whole["sets"] = list(whole["candidates"])
    whole["release"]["candidate"] = "barycenter"
    return whole


def distilled(root: Path, candidate: str) -> Manifest:
    ended = run(root, "distill", candidate)
    assert ended.code == 0, ended.err
    return read_version(Workspace(root).set(candidate), made_by="")[0]


def digest(root: Path) -> str:
    return hashlib.sha256((root / "mine.py").read_bytes()).hexdigest()


def test_every_component_can_be_custom_and_the_manifest_records_its_source(workspace: Path) -> None:
    by_barycenter, by_alignment = distilled(workspace, "barycenter"), distilled(workspace, "alignment")

    shared = dict.fromkeys(("mine:Scaled", "mine:Small"), digest(workspace))
    assert by_barycenter.params["own"] == shared | {"mine:moved": digest(workspace)}
    assert by_alignment.params["own"] == shared | {"mine:twice": digest(workspace)}
    assert by_barycenter.files != by_alignment.files


def test_changing_the_source_changes_the_version_even_if_the_set_stays_the_same(workspace: Path) -> None:
    before = distilled(workspace, "barycenter")
    (workspace / "mine.py").write_text(MINE + "# a comment\n")

    after = distilled(workspace, "barycenter")

    assert after.files == before.files
    assert after.version != before.version
    assert after.params["own"]["mine:moved"] == digest(workspace) != before.params["own"]["mine:moved"]


def test_a_changed_module_is_loaded_again(workspace: Path) -> None:
    before = distilled(workspace, "barycenter")
    (workspace / "mine.py").write_text(MINE.replace("+ by", "- by"))

    assert distilled(workspace, "barycenter").files != before.files


def test_a_checkpoint_of_other_source_is_not_resumed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []

    class Noted(Exception):
        pass

    def noted(place: object, key: str, **_: object) -> None:
        keys.append(key)
        raise Noted

    monkeypatch.setattr("fair_distill.distillation.checkpoint.CheckpointFolder", noted)
    for source in (MINE, MINE + "# a comment\n", MINE):
        (workspace / "mine.py").write_text(source)
        assert run(workspace, "distill", "barycenter").code == 70

    assert keys[0] == keys[2] != keys[1]


def test_a_workspace_module_is_unloaded_after_the_command_and_cannot_replace_a_library(workspace: Path) -> None:
    (workspace / "yaml.py").write_text("raise RuntimeError('not YAML')\n")
    path, modules = list(sys.path), set(sys.modules)

    distilled(workspace, "barycenter")

    assert sys.path == path
    assert "mine" not in sys.modules
    assert "fair_distill.distillation.alignment" in sys.modules
    assert modules <= set(sys.modules)
    (workspace / "yaml.py").unlink()


def test_packages_are_loaded_and_unloaded_with_their_submodules(tmp_path: Path) -> None:
    (tmp_path / "ours" / "deep").mkdir(parents=True)
    (tmp_path / "ours" / "deep" / "inside.py").write_text("def f(): ...\n")

    with workspace_modules(tmp_path):
        assert custom_source_digests({"name": "ours.deep.inside:f"}).keys() == {"ours.deep.inside:f"}
        assert "ours.deep" in sys.modules

    assert not {name for name in sys.modules if name.partition(".")[0] == "ours"}


def test_experts_of_other_source_are_not_used(workspace: Path) -> None:
    config, keys = parse_config(params(matcher=MTT)), []
    for source in (MINE, MINE + "# a comment\n"):
        (workspace / "mine.py").write_text(source)
        with workspace_modules(workspace):
            folder = expert_folder(Workspace(workspace), config, "barycenter")
        assert folder is not None
        keys.append(folder.key)

    assert keys[0] != keys[1]


def test_a_recipe_can_train_a_custom_network(workspace: Path) -> None:
    whole, network = params(), {"name": "mine:Small", "width": 8}
    whole["recipe"]["network"], whole["evaluate"]["networks"] = network, [network]
    whole["sets"].append("random")
    write_params(workspace, whole)

    for command in (["references", "random"], ["evaluate", "random"]):
        ended = run(workspace, *command)
        assert ended.code == 0, ended.err

    assert "random, mine:Small: accuracy" in ended.out
    manifest, _ = read_version(Workspace(workspace).set("random"), made_by="")
    assert manifest.params["own"] == {"mine:Small": digest(workspace)}


@pytest.mark.parametrize(
    ("key", "name", "source", "message"),
    [
        ("matcher", "nowhere:Scaled", MINE, "distill.matcher is 'nowhere:Scaled', .*: No module named 'nowhere'"),
        ("matcher", "mine:Scalded", MINE, "distill.matcher is 'mine:Scalded', .* has no attribute 'Scalded'"),
        (
            "matcher",
            "mine:Scaled",
            "def f(:\n",
            "'mine:Scaled', which cannot be imported: SyntaxError: .*mine.py, line 1",
        ),
        ("matcher", "mine:Scaled", "1 / 0\n", "'mine:Scaled', which cannot be imported: ZeroDivisionError: "),
        ("network", "mine:Tiny", MINE, "network.name is 'mine:Tiny', which cannot be imported"),
    ],
)
def test_a_failed_import_is_reported_in_one_line(
    workspace: Path, key: str, name: str, source: str, message: str
) -> None:
    write_params(workspace, params(**{key: name}))
    (workspace / "mine.py").write_text(source)

    ended = run(workspace, "distill", "pooled")

    assert ended.code == 2
    assert re.fullmatch(rf"fair-distill: params.yaml: .*{message}[^\n]*\n", ended.err), ended.err


def test_the_console_script_finds_the_module_from_any_folder(workspace: Path, tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("fair-distill")

    ended = subprocess.run(
        [script, "--workspace", str(workspace), "distill", "barycenter", "--quiet"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert read_version(Workspace(workspace).set("barycenter"), made_by="")[0].params["own"]["mine:moved"] == digest(
        workspace
    )


def test_predictions_record_the_source_of_their_networks(workspace: Path) -> None:
    whole = params()
    whole["evaluate"] = {"seeds": 2, "networks": [{"name": "mine:Small", "width": 8}]}
    write_params(workspace, whole)
    distilled(workspace, "barycenter")

    def predictions() -> Predictions:
        assert run(workspace, "evaluate", "barycenter").code == 0
        return Predictions.from_parquet(Workspace(workspace).predictions("barycenter").read_bytes())

    first = predictions()
    assert first.custom_digests == {"mine:Small": digest(workspace)}
    (workspace / "mine.py").write_text(MINE.replace("depth=1", "depth=2"))
    assert predictions().custom_digests == {"mine:Small": digest(workspace)} != first.custom_digests


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"matcher": "mine:Unrelated"},
            "distill.matcher 'mine:Unrelated' returns a Unrelated; return",
        ),
        ({"alignment": "mine:Unrelated"}, "alignment 'mine:Unrelated' returns a Unrelated; return"),
    ],
)
def test_a_custom_component_of_another_type_is_refused(workspace: Path, changes: dict[str, str], message: str) -> None:
    settings = params(**{key: value for key, value in changes.items() if key == "matcher"})
    if "alignment" in changes:
        settings["candidates"]["pooled"] = {"alignment": changes["alignment"]}
    write_params(workspace, settings)

    ended = run(workspace, "distill", "pooled")

    assert ended.code == 2
    assert message in ended.err
