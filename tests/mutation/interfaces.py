"""Every interface that can say pass about a set, as a function of a scene."""

import contextlib
import json
import traceback
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import pytest
from mutation.scene import REFERENCE, SET, Scene
from small_workspace import run

from fair_distill import cli
from fair_distill.config import load_config, load_gate
from fair_distill.config import loading as config_files
from fair_distill.errors import FairDistillError
from fair_distill.gate import judge as judging
from fair_distill.stages.evidence import _read_index
from fair_distill.stages.report import read_report_data
from fair_distill.stages.status import read_status

PASSES = ("pass", "waived")


@dataclass(frozen=True)
class Answer:
    """What an interface said: `passed`, or not; `fault` where it ended as no interface should."""

    passed: bool
    fault: str | None = None


def answer(interface: str, scene: Scene) -> Answer:
    """Ask an interface about the set; what is raised on purpose is not a pass."""
    try:
        return INTERFACES[interface](scene)
    except FairDistillError as error:
        return Answer(False, None if "\n" not in str(error) else f"more than a line: {error}")
    except Exception:
        return Answer(False, traceback.format_exc())


def _command(scene: Scene, *argv: str, passed: Callable[[str], bool] = lambda out: True) -> Answer:
    ended = run(scene.root, *argv)
    if ended.code == 0:
        return Answer(passed(ended.out))
    expected = {1, 2, 3, 4, 5}
    lines = ended.err.splitlines()
    sound = ended.code in expected and len(lines) <= 1 and all(line.startswith("fair-distill: ") for line in lines)
    return Answer(False, None if sound else f"exit {ended.code}: {ended.err}")


def _says(out: str) -> bool:
    return out.partition("\n")[0].rpartition(": ")[2].lower() in PASSES


def _api(scene: Scene) -> Answer:
    """Judge what a caller reads from the workspace, by the base branch's policy."""
    workspace = scene.workspace
    policy = load_gate(scene.base)
    promoted = workspace.context.with_name("promoted.parquet")
    try:
        contents = [path.read_bytes() for path in (
            workspace.predictions(SET), workspace.set(SET) / "manifest.json", workspace.context,
            workspace.predictions(REFERENCE), workspace.set(REFERENCE) / "manifest.json", promoted,
        )]  # fmt: skip
        index = _read_index(workspace)
    except FileNotFoundError:
        return Answer(False)
    if index is None:
        return Answer(False)
    predictions, manifest, context, reference, reference_manifest, promoted_predictions = contents
    verdict = judging.judge(
        predictions,
        policy,
        context=context,
        engine=scene.config.engine,
        manifest=manifest,
        index=index,
        references={REFERENCE: reference, "promoted": promoted_predictions},
        reference_manifests={REFERENCE: reference_manifest},
    )
    return Answer(verdict.outcome in PASSES)


def _table(scene: Scene) -> Answer:
    return Answer(read_status(scene.workspace, load_config(scene.workspace.params), SET).outcome in PASSES)


def _report(scene: Scene) -> Answer:
    config = load_config(scene.workspace.params)
    config = config.model_copy(update={"sets": [SET]})  # other sets have separate rows
    shown = read_report_data(scene.workspace, config, SET, registry=str(scene.registry))
    return Answer(shown.verdict.outcome in PASSES)


def _replay(scene: Scene) -> Answer:
    def passed(out: str) -> bool:
        rows = [row for row in json.loads(out) if row["name"].startswith("digits@v2")]
        return any(row["outcome"] in PASSES for row in rows)

    return _command(scene, "gate", "replay", "--json", "--registry", str(scene.registry), passed=passed)


INTERFACES: dict[str, Callable[[Scene], Answer]] = {
    "api": _api,
    "judge": lambda scene: _command(scene, "judge", SET, passed=_says),
    "enforce": lambda scene: _command(scene, "enforce", SET),
    "enforce by the base's policy": lambda scene: _command(scene, "enforce", SET, "--policy", str(scene.base)),
    "explain": lambda scene: _command(scene, "explain", SET, passed=_says),
    "table": _table,
    "report": _report,
    "publish": lambda scene: _command(scene, "publish", "--registry", str(scene.registry)),
    "promote": lambda scene: _command(scene, "promote", "--to", "production", "--registry", str(scene.registry)),
    "replay": _replay,
}


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Parse each YAML text and build the command line once; draw noise floors, which decide nothing, only twice."""
    parse, floor, parser = config_files.parse_mapping, judging.noise_floor, cli.build_parser

    @lru_cache(maxsize=64)
    def parsed(text: str, name: str) -> dict[Any, Any]:
        return json.loads(text) if text.startswith("{") else parse(text, name=name)

    def cached(text: str, *, name: str) -> dict[Any, Any]:
        return deepcopy(parsed(text, name))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config_files, "parse_mapping", cached)
        patch.setattr(judging, "noise_floor", partial(floor, draws=2))
        patch.setattr(cli, "build_parser", cache(parser))
        # Without the machine's memory of ledgers: it would refuse every ledger that is put back as it was.
        patch.setenv("FAIR_DISTILL_CACHE", "")
        yield


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}
