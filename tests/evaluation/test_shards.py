"""An evaluation in shards gives the same bytes as an evaluation on one machine."""

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
def unsharded(place: Workspace) -> list[bytes]:
    """The files of an evaluation without shards; the predictions file is deleted afterwards."""
    contents = written(place)
    place.predictions("random").unlink()
    return contents


def stored_shards(place: Workspace) -> list[Path]:
    return sorted(place.checkpoints.rglob("*.parquet"))


def no_training(*arguments: Any, **more: Any) -> Any:
    raise AssertionError("a network was trained")


def test_shards_in_any_order_give_equal_bytes_and_nothing_is_trained_again(
    place: Workspace, config: Config, unsharded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = evaluation_shards(config, device="cpu")
    evaluated = [evaluate_shard(place, config, "random", shard) for shard in reversed(shards)]
    assert len(stored_shards(place)) == len(shards) == 4
    monkeypatch.setattr(evaluation, "train", no_training)
    evaluated_again = [evaluate_shard(place, config, "random", shard) for shard in shards]

    evaluate_set(place, config, "random")

    assert all(evaluated)
    assert not any(evaluated_again)
    assert written(place) == unsharded
    assert not stored_shards(place)


def test_a_missing_shard_means_that_everything_is_evaluated(
    place: Workspace, config: Config, unsharded: list[bytes]
) -> None:
    for shard in evaluation_shards(config, device="cpu")[1:]:
        evaluate_shard(place, config, "random", shard)

    evaluate_set(place, config, "random")

    assert written(place) == unsharded
    assert not stored_shards(place)


def test_shards_of_another_seed_are_not_used(place: Workspace, config: Config, unsharded: list[bytes]) -> None:
    for shard in evaluation_shards(config, device="cpu"):
        evaluate_shard(place, config.model_copy(update={"seed": 1}), "random", shard)

    evaluate_set(place, config, "random")

    assert written(place) == unsharded
    assert len(stored_shards(place)) == 4


def test_a_damaged_shard_is_refused(place: Workspace, config: Config) -> None:
    for shard in evaluation_shards(config, device="cpu"):
        evaluate_shard(place, config, "random", shard)
    damaged = next(path for path in stored_shards(place) if path.name.startswith("0002-"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")

    with pytest.raises(IntegrityError, match="is damaged"):
        evaluate_set(place, config, "random")


def test_a_shard_of_another_kind_of_device_is_refused_before_training(place: Workspace, config: Config) -> None:
    with pytest.raises(ConfigError, match="set FAIR_DISTILL_DEVICE to the same kind"):
        evaluate_shard(place, config, "random", Shard("mlp", (0, 1)))


@pytest.mark.parametrize("together", [True, False])
def test_shards_contain_every_network_and_seed_once(together: bool) -> None:
    shards = list_shards(["convnet", "mlp"], 3, together=together)

    runs = list(chain.from_iterable(((shard.network, seed) for seed in shard.seeds) for shard in shards))
    assert runs == [(network, seed) for network in ("convnet", "mlp") for seed in range(3)]
    assert len(shards) == (2 if together else 6)


def test_the_text_of_a_shard_names_network_and_seeds() -> None:
    assert str(Shard("mlp", (2,))) == "mlp 3"
    assert str(Shard("mlp", (0, 1, 2))) == "mlp 1 to 3"
