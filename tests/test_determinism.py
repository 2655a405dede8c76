"""The same params give the same bytes in another process or folder, and after other random draws."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_workspace import run, small_params, tree, write_params

from fair_distill.candidates import distilled
from fair_distill.distillation import loop
from fair_distill.errors import DataError

PROGRAM = """
import random, sys
import numpy, torch
from fair_distill.cli import main
random.seed(0), numpy.random.seed(0), torch.manual_seed(int(sys.argv[2]))
for command in ("distill barycentric", "references random", "evaluate barycentric", "judge barycentric"):
    code = main(["--workspace", sys.argv[1], *command.split()])
    if code:
        sys.exit(code)
"""
MADE = ("sets", "losses", "pictures", "predictions", "evaluation", "rates", "verdicts")


def fresh(finished: Path, root: Path, **params: Any) -> Path:
    """Return a workspace with the same prepared data, before distillation."""
    (root / "artifacts").mkdir(parents=True)
    shutil.copytree(finished / "artifacts/prepared", root / "artifacts/prepared")
    shutil.copy(finished / "artifacts/validation.json", root / "artifacts")
    shutil.copy(finished / "context.json", root)
    write_params(root, small_params() | params)
    return root


def outputs(root: Path) -> dict[str, bytes]:
    """Return the files of the barycentric set and of the random set."""
    return {
        name: content
        for name, content in tree(root / "artifacts").items()
        if name.startswith(MADE) and ("barycentric" in name or name.startswith("sets/random"))
    }


def test_another_process_gives_the_same_bytes_and_another_seed_gives_other_bytes(
    finished: Path, tmp_path: Path
) -> None:
    roots = [
        fresh(finished, tmp_path / "one"),
        fresh(finished, tmp_path / "a/second one"),
        fresh(finished, tmp_path / "other", seed=1),
    ]
    circumstances = [
        {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C"},
        {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8"},
        {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "1"},
    ]
    processes = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(root), str(i)], cwd=root, env=os.environ | environment)
        for i, (root, environment) in enumerate(zip(roots, circumstances, strict=True))
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]

    here, first_seed, second, other_seed = (outputs(root) for root in (finished, *roots))

    assert len(first_seed) >= 10
    assert first_seed.keys() == second.keys() == other_seed.keys() == here.keys()
    for name in first_seed:
        assert first_seed[name] == second[name] == here[name], name
        if not name.endswith("provenance.json"):  # provenance describes the machine, not the set
            assert first_seed[name] != other_seed[name], name


def test_preparing_again_gives_the_same_bytes_and_another_seed_gives_other_bytes(
    finished: Path, tmp_path: Path
) -> None:
    written = []
    for seed in (0, 1):
        write_params(tmp_path, small_params() | {"seed": seed})
        assert run(tmp_path, "prepare").code == 0
        written.append(tree(tmp_path / "artifacts/prepared"))

    assert written[0] == tree(finished / "artifacts/prepared")
    assert all(written[0][name] != written[1][name] for name in ("train.arrow", "tune.arrow", "gate.arrow"))


def test_a_param_that_does_not_affect_the_set_keeps_its_version(finished: Path, tmp_path: Path) -> None:
    params = small_params()
    params["gate"]["limits"][0]["at_most"] = 0.5
    params["evaluate"]["seeds"] = 1
    params["validate"]["minimum_per_cell"] = 2
    root = fresh(finished, tmp_path / "w", **params)

    assert run(root, "distill", "barycentric").code == 0

    for name in ("manifest.json", "set.parquet"):
        path = Path("artifacts/sets/barycentric") / name
        assert (root / path).read_bytes() == (finished / path).read_bytes()


@pytest.mark.parametrize(
    ("section", "key", "value"), [("distill", "real_per_class", 9), ("recipe", "steps", 21), ("data", "own_share", 0.8)]
)
def test_a_param_that_affects_the_set_changes_its_version(
    finished: Path, tmp_path: Path, section: str, key: str, value: float
) -> None:
    params = small_params()
    params[section][key] = value
    root = fresh(finished, tmp_path / "w", **params)

    assert run(root, "distill", "barycentric").code == 0

    path = Path("artifacts/sets/barycentric/manifest.json")
    assert (root / path).read_bytes() != (finished / path).read_bytes()


@pytest.mark.parametrize(
    ("name", "params_of_set"),
    [
        ("pooled", {"distill", "diagnostics", "nearness", "candidate"}),
        ("random", {"reference", "ipc", "draws", "network", "diagnostics", "nearness"}),
        ("full", {"reference", "ipc"}),
    ],
)
def test_a_manifest_contains_exactly_the_params_that_affect_the_set(
    finished: Path, name: str, params_of_set: set[str]
) -> None:
    held = json.loads((finished / "artifacts/sets" / name / "manifest.json").read_bytes())["params"]

    assert held.keys() == {"seed", "threads", "dataset", "data", "recipe", "training_units"} | params_of_set
    given = small_params()
    assert all(held[key] == given[key] for key in ("seed", "threads", "dataset", "data", "recipe"))


def test_each_purpose_has_a_generator_which_all_candidates_share(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[list[int]] = []

    def capture(*_: object, streams: loop.Streams, **__: object) -> None:
        taken.append([getattr(streams, purpose).initial_seed() for purpose in loop.Streams.__annotations__])
        raise DataError("enough")

    monkeypatch.setattr(distilled, "optimise", capture)
    for candidate in ("pooled", "barycentric"):
        assert run(finished, "distill", candidate).err == "fair-distill: enough\n"

    assert taken[0] == taken[1]
    assert len(set(taken[0])) == len(taken[0]) == 5


def test_raising_engine_changes_the_version_and_not_the_images(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fair_distill.config.engine.ENGINE", 99)
    root = fresh(finished, tmp_path / "w", engine=99)

    assert run(root, "distill", "barycentric").code == 0

    folder = Path("artifacts/sets/barycentric")
    assert (root / folder / "manifest.json").read_bytes() != (finished / folder / "manifest.json").read_bytes()
    assert (root / folder / "set.parquet").read_bytes() == (finished / folder / "set.parquet").read_bytes()


def test_no_stage_draws_from_the_global_generator(workspace: Path) -> None:
    torchs, numpys = torch.random.get_rng_state(), np.random.get_state()  # noqa: NPY002 (the state that must not change)

    for command in (
        ["prepare"],
        ["distill", "pooled"],
        ["references", "random"],
        ["evaluate", "pooled"],
        ["judge", "pooled"],
    ):
        assert run(workspace, *command).code == 0

    assert torch.equal(torch.random.get_rng_state(), torchs)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpys, strict=True))  # noqa: NPY002


def test_no_file_contains_a_machine_name_a_folder_or_a_time(finished: Path) -> None:
    for name, content in tree(finished / "artifacts").items():
        assert str(finished).encode() not in content, name
        assert os.uname().nodename.encode() not in content or len(os.uname().nodename) < 6, name
