"""An evaluation in parts, by whomever, ends in the bytes of the one that was done in one go."""

from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from fair_distill.config import Config, load_config
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.evaluation import evaluate as evaluation
from fair_distill.evaluation.shards import Shard, list_shards
from fair_distill.stages.evaluate import evaluate_set, evaluate_shard, evaluation_shards
from fair_distill.workspace import Workspace


@pytest.fixture
def place(workspace: Path) -> Workspace:
    return Workspace(workspace)


@pytest.fixture
def config(place: Workspace) -> Config:
    return load_config(place.params)


def written(place: Workspace) -> list[bytes]:
    files = (place.predictions("random"), place.evaluation("random"), place.rates("random"))
    return [file.read_bytes() for file in files]


@pytest.fixture
def at_once(place: Workspace) -> list[bytes]:
    """What the stage wrote that did all itself; it is gone afterwards."""
    found = written(place)
    place.predictions("random").unlink()
    return found


def kept(place: Workspace) -> list[Path]:
    return sorted(place.checkpoints.rglob("*.parquet"))


def no_training(*arguments: Any, **more: Any) -> Any:
    raise AssertionError("a network was trained")


def test_parts_in_any_order_make_the_very_bytes_and_nothing_is_trained_again(
    place: Workspace, config: Config, at_once: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = evaluation_shards(config, device="cpu")
    did = [evaluate_shard(place, config, "random", part) for part in reversed(parts)]
    assert len(kept(place)) == len(parts) == 4
    monkeypatch.setattr(evaluation, "train", no_training)
    again = [evaluate_shard(place, config, "random", part) for part in parts]

    evaluate_set(place, config, "random")

    assert all(did)
    assert not any(again)
    assert written(place) == at_once
    assert not kept(place)


def test_where_a_part_is_missing_all_is_measured(place: Workspace, config: Config, at_once: list[bytes]) -> None:
    for part in evaluation_shards(config, device="cpu")[1:]:
        evaluate_shard(place, config, "random", part)

    evaluate_set(place, config, "random")

    assert written(place) == at_once
    assert not kept(place)


def test_parts_of_another_seed_are_not_taken(place: Workspace, config: Config, at_once: list[bytes]) -> None:
    for part in evaluation_shards(config, device="cpu"):
        evaluate_shard(place, config.model_copy(update={"seed": 1}), "random", part)

    evaluate_set(place, config, "random")

    assert written(place) == at_once
    assert len(kept(place)) == 4


def test_a_damaged_part_is_refused(place: Workspace, config: Config) -> None:
    for part in evaluation_shards(config, device="cpu"):
        evaluate_shard(place, config, "random", part)
    damaged = next(path for path in kept(place) if path.name.startswith("0002-"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")

    with pytest.raises(IntegrityError, match="is damaged"):
        evaluate_set(place, config, "random")


def test_a_part_of_another_kind_of_device_is_refused_before_it_is_trained(place: Workspace, config: Config) -> None:
    with pytest.raises(ConfigError, match="set FAIR_DISTILL_DEVICE to the same kind"):
        evaluate_shard(place, config, "random", Shard("mlp", (0, 1)))


@pytest.mark.parametrize("together", [True, False])
def test_parts_are_every_network_and_seed_once(together: bool) -> None:
    parts = list_shards(["convnet", "mlp"], 3, together=together)

    each = list(chain.from_iterable(((part.network, seed) for seed in part.seeds) for part in parts))
    assert each == [(network, seed) for network in ("convnet", "mlp") for seed in range(3)]
    assert len(parts) == (2 if together else 6)


def test_a_part_says_what_it_is() -> None:
    assert str(Shard("mlp", (2,))) == "mlp 3"
    assert str(Shard("mlp", (0, 1, 2))) == "mlp 1 to 3"
