"""Training by a recipe, and predictions of the gate split."""

import subprocess
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_workspace import grouped

from fair_distill.card import TrainingRecipe
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.networks import build
from fair_distill.distillation.sampling import Normalisation, reader
from fair_distill.errors import ConfigError, DataError, MeasurementError
from fair_distill.evaluation.evaluate import train_and_predict
from fair_distill.evaluation.train import gradient_descent, train, train_together
from fair_distill.gate.predictions import Predictions

CPU = torch.device("cpu")
RECIPE = TrainingRecipe(
    network={"name": "convnet", "options": {"width": 8, "depth": 2}},
    steps=30,
    batch_size=16,
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=0.0005,
    augment=("crop",),
    formation=1,
    mean=(0.3, 0.3, 0.3),
    std=(0.3, 0.3, 0.3),
)
SEEN = Normalisation(RECIPE.mean, RECIPE.std)
NOISE = grouped([[12, 12], [12, 12]])
# The bright band depends on the class, so a network can learn it.
EASY = GroupedDataset.from_arrays(NOISE.images, NOISE.group_indices, NOISE.labels)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def evaluated(
    recipe: TrainingRecipe = RECIPE, *, images: Array = EASY.images, labels: Array = EASY.labels, **changes: Any
) -> Predictions:
    arguments: dict[str, Any] = {
        "version": "a" * 64,
        "split": "b" * 64,
        "seeds": 2,
        "networks": {RECIPE.network["name"]: RECIPE.network["options"]},
        "generator": generator,
        "device": CPU,
    }
    return train_and_predict(images, labels, recipe, EASY, **(arguments | changes))


def test_networks_learn_an_easy_task() -> None:
    predictions = evaluated()

    assert predictions.runs() == [(0, 0), (0, 1)]
    for run in predictions.runs():
        counts = predictions.confusion(*run).counts
        assert np.trace(counts.sum(axis=0)) / counts.sum() > 0.95


def test_every_gate_example_is_predicted_once_by_every_network() -> None:
    predictions = evaluated()

    for seed in range(2):
        rows = predictions.columns["seed"] == seed
        assert predictions.columns["example"][rows].tolist() == list(range(48))
        for name, expected in (("label", EASY.labels), ("group", EASY.group_indices), ("pair", EASY.pairs)):
            assert np.array_equal(predictions.columns[name][rows], expected)
    assert predictions.networks == ("convnet",)
    assert (predictions.classes, predictions.groups) == (EASY.classes, EASY.groups)
    assert (predictions.set, predictions.split) == ("a" * 64, "b" * 64)
    assert set(predictions.columns["predicted"]) <= {0, 1}
    # The more probable of two classes has a probability of at least one half.
    assert 0.5 <= predictions.columns["probability"].min() <= predictions.columns["probability"].max() <= 1


def test_clusters_of_the_gate_split_are_the_clusters_of_the_predictions() -> None:
    clusters = np.arange(len(EASY)) // 4
    gate = replace(EASY, clustered=clusters)

    columns = train_and_predict(
        EASY.images,
        EASY.labels,
        replace(RECIPE, steps=1),
        gate,
        version="a" * 64,
        split="b" * 64,
        seeds=1,
        networks={"convnet": RECIPE.network["options"]},
        generator=generator,
        device=CPU,
    ).columns

    assert columns["cluster"].tolist() == clusters.tolist()
    assert columns["pair"].tolist() == EASY.pairs.tolist()


def test_the_same_seeds_give_the_same_bytes() -> None:
    assert evaluated().to_parquet() == evaluated().to_parquet()
    assert evaluated().to_parquet() != evaluated(generator=lambda seed: generator(seed + 2)).to_parquet()


def test_seeds_do_not_depend_on_how_many_there_are() -> None:
    single, two = evaluated(seeds=1).columns["probability"], evaluated(seeds=2).columns["probability"]

    assert np.array_equal(single, two[:48])
    assert not np.array_equal(single, two[48:])


def test_nothing_draws_from_a_global_generator() -> None:
    torchs, numpys = torch.random.get_rng_state(), np.random.get_state()  # noqa: NPY002 (the global generator must not change)

    evaluated()

    assert torch.equal(torch.random.get_rng_state(), torchs)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpys, strict=True))  # noqa: NPY002


def test_stored_bytes_and_stored_fractions_are_the_same_pixels() -> None:
    indices = torch.tensor([3, 0, 3])
    fractions = EASY.images.astype(np.float32) / 255

    torch.testing.assert_close(reader(EASY.images, SEEN, CPU)(indices), reader(fractions, SEEN, CPU)(indices))
    torch.testing.assert_close(
        reader(fractions, SEEN, CPU)(indices), (torch.from_numpy(fractions)[indices] - 0.3) / 0.3
    )


def test_a_recipe_counts_steps_and_every_example_is_used_once_per_epoch() -> None:
    batches: list[Any] = []
    pixels = reader(EASY.images, SEEN, CPU)

    def rows(indices: torch.Tensor) -> torch.Tensor:
        batches.append(indices.tolist())
        return pixels(indices)

    labels = torch.from_numpy(EASY.labels[:40])
    train(replace(RECIPE, steps=6), rows, labels, shape=(3, 8, 8), classes=2, generator=generator(0))

    assert [len(batch) for batch in batches] == [16, 16, 8, 16, 16, 8]
    assert sorted(chain(*batches[:3])) == sorted(chain(*batches[3:])) == list(range(40))
    assert batches[:3] != batches[3:]


def test_the_rate_falls_to_a_tenth_after_half_of_the_steps() -> None:
    recipe = replace(RECIPE, steps=2, batch_size=48, momentum=0.0, weight_decay=0.1, augment=())
    rows, labels = reader(EASY.images, SEEN, CPU), torch.from_numpy(EASY.labels)

    trained = train(recipe, rows, labels, shape=(3, 8, 8), classes=2, generator=generator(0))

    by_hand = build("convnet", recipe.network["options"], (3, 8, 8), 2, generator(0))
    weights = list(by_hand.parameters())
    for rate in (0.01, 0.001):
        loss = F.cross_entropy(by_hand(rows(torch.arange(48))), labels)
        slopes = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                weight.sub_(rate * (slope + 0.1 * weight))
    for actual, expected in zip(trained.parameters(), weights, strict=True):
        torch.testing.assert_close(actual, expected)


def test_progress_is_reported_for_every_network() -> None:
    reports: list[tuple[int, int]] = []

    evaluated(progress=lambda step, steps: reports.append((step, steps)))

    assert reports == [(1, 2), (2, 2)]


def test_a_network_that_diverged_is_an_error() -> None:
    """Such a network predicts class 0 for every example, which would be a gap of 0."""
    with pytest.raises(MeasurementError, match=r"network 1 of 2 .*lower params\.yaml: recipe\.learning_rate"):
        evaluated(replace(RECIPE, learning_rate=1e30))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": EASY.images[:, :, :4]}, DataError, r"have shape \(3, 4, 8\), those of the gate split \(3, 8, 8\)"),
        ({"labels": EASY.labels + 1}, DataError, "labels from 0 to 1"),
        ({"images": EASY.images[:0], "labels": EASY.labels[:0]}, DataError, "labels from 0 to 1"),
        ({"recipe": replace(RECIPE, augment=("spin",))}, ConfigError, "augment names 'spin'"),
        ({"networks": {"convent": {}}}, ConfigError, "is 'convent'"),
    ],
)
def test_unusable_sets_and_recipes_are_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        evaluated(**changes)


def test_the_number_of_workers_changes_no_byte() -> None:
    sequential, parallel = (evaluated(seeds=3, workers=workers).to_parquet() for workers in (1, 3))

    assert sequential == parallel


@pytest.mark.parametrize("network", [RECIPE.network, {"name": "mlp", "options": {"width": 8, "depth": 1}}])
def test_networks_trained_together_equal_networks_trained_separately(network: dict[str, Any]) -> None:
    recipe = replace(RECIPE, network=network, steps=8, augment=("crop", "cutout", "flip"))
    rows, labels = reader(EASY.images, SEEN, CPU), torch.from_numpy(EASY.labels)
    fits: dict[str, Any] = {"shape": (3, 8, 8), "classes": 2}

    together = train_together(recipe, rows, labels, generators=[generator(s) for s in range(3)], **fits)

    for seed, network_together in enumerate(together):
        separate = train(recipe, rows, labels, generator=generator(seed), **fits)
        for expected, actual in zip(separate.parameters(), network_together.parameters(), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_networks_trained_together_give_equal_predictions() -> None:
    separate, together = evaluated(), evaluated(together=True)

    assert np.mean(separate.columns["predicted"] == together.columns["predicted"]) > 0.98
    np.testing.assert_allclose(separate.columns["probability"], together.columns["probability"], atol=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_gradient_descent_equals_torch_optim_to_the_bit(steps: int) -> None:
    recipe = replace(RECIPE, steps=steps, weight_decay=0.1)
    start = torch.randn(4, 3, generator=generator(0))
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    optimiser = torch.optim.SGD([theirs], lr=0.01, momentum=0.9, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones=[steps // 2], gamma=0.1)
    descend = gradient_descent(recipe, [ours])

    for _ in range(steps):
        descend(ours.sin().sum())
        optimiser.zero_grad()
        theirs.sin().sum().backward()
        optimiser.step()
        schedule.step()

    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, start)


def test_no_byte_depends_on_uninitialised_memory() -> None:
    """Stages switch off torch's filling of new memory, which takes a tenth of their time."""
    deterministic: Any = torch.utils.deterministic
    filled, mode = deterministic.fill_uninitialized_memory, torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error")
    tables = []
    try:
        for fill in (True, False):
            deterministic.fill_uninitialized_memory = fill
            tables.append(evaluated(replace(RECIPE, augment=("crop", "cutout", "colour"))).to_parquet())
    finally:
        deterministic.fill_uninitialized_memory = filled
        torch.set_deterministic_debug_mode(mode)

    assert tables[0] == tables[1]


def test_a_stage_that_trains_does_not_import_unused_libraries(workspace: Path) -> None:
    code = (
        "import sys; from fair_distill.cli import main; "
        f"code = main(['--workspace', {str(workspace)!r}, 'evaluate', 'barycentric']); "
        "heavy = {'pandas', 'sympy', 'scipy', 'torch._dynamo', 'torch._inductor'} & set(sys.modules); "
        "sys.exit(' '.join(heavy) or code)"
    )

    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert (done.returncode, done.stderr[-200:] if done.returncode else "") == (0, "")
