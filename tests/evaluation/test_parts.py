"""An evaluation in parts, by whomever, ends in the bytes of the one that was done in one go."""

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from small_workspace import run, small_params, write_params

from fair_distill import stages
from fair_distill.artifacts import Workspace
from fair_distill.config import Config, load_config
from fair_distill.errors import IntegrityError
from fair_distill.evaluation import evaluate as evaluation
from fair_distill.evaluation.parts import Part, parts_of


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root: Path = tmp_path_factory.mktemp("parts")
    write_params(root, small_params())
    for command in (("prepare",), ("validate",), ("references", "random")):
        assert run(root, *command).code == 0
    return Workspace(root)


@pytest.fixture(scope="module")
def config(workspace: Workspace) -> Config:
    return load_config(workspace.params)


def written(workspace: Workspace) -> list[bytes]:
    places = (workspace.predictions("random"), workspace.evaluation("random"), workspace.rates("random"))
    return [place.read_bytes() for place in places]


@pytest.fixture(scope="module")
def at_once(workspace: Workspace, config: Config) -> list[bytes]:
    stages.evaluate(workspace, config, "random")
    return written(workspace)


def kept(workspace: Workspace) -> list[Path]:
    return sorted(workspace.checkpoints.rglob("*.parquet"))


def no_training(*arguments: Any, **more: Any) -> Any:
    raise AssertionError("a network was trained")


def test_parts_in_any_order_make_the_very_bytes_and_nothing_is_trained_again(
    workspace: Workspace, config: Config, at_once: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = stages.parts(config, device="cpu")
    did = [stages.evaluate_part(workspace, config, "random", part) for part in reversed(parts)]
    assert len(kept(workspace)) == len(parts) == 4
    monkeypatch.setattr(evaluation, "train", no_training)
    again = [stages.evaluate_part(workspace, config, "random", part) for part in parts]

    stages.evaluate(workspace, config, "random")

    assert all(did)
    assert not any(again)
    assert written(workspace) == at_once
    assert not kept(workspace)


def test_where_a_part_is_missing_all_is_measured(workspace: Workspace, config: Config, at_once: list[bytes]) -> None:
    for part in stages.parts(config, device="cpu")[1:]:
        stages.evaluate_part(workspace, config, "random", part)

    stages.evaluate(workspace, config, "random")

    assert written(workspace) == at_once
    assert not kept(workspace)


def test_parts_of_another_seed_are_not_taken(workspace: Workspace, config: Config, at_once: list[bytes]) -> None:
    for part in stages.parts(config, device="cpu"):
        stages.evaluate_part(workspace, config.model_copy(update={"seed": 1}), "random", part)

    stages.evaluate(workspace, config, "random")

    assert written(workspace) == at_once
    assert len(kept(workspace)) == 4


def test_a_damaged_part_is_refused(workspace: Workspace, config: Config) -> None:
    for part in stages.parts(config, device="cpu"):
        stages.evaluate_part(workspace, config, "random", part)
    damaged = next(path for path in kept(workspace) if path.name.startswith("0002-"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")

    with pytest.raises(IntegrityError, match="is damaged"):
        stages.evaluate(workspace, config, "random")


@pytest.mark.parametrize("together", [True, False])
def test_parts_are_every_network_and_seed_once(together: bool) -> None:
    parts = parts_of(["convnet", "mlp"], 3, together=together)

    each = list(chain.from_iterable(((part.network, seed) for seed in part.seeds) for part in parts))
    assert each == [(network, seed) for network in ("convnet", "mlp") for seed in range(3)]
    assert len(parts) == (2 if together else 6)


def test_a_part_says_what_it_is() -> None:
    assert str(Part("mlp", (2,))) == "mlp 3"
    assert str(Part("mlp", (0, 1, 2))) == "mlp 1 to 3"
