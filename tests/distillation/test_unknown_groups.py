"""Examples of unknown group: refused, dropped, or inferred with a measured accuracy."""

from typing import Any

import numpy as np
import pytest
import torch
from small_workspace import grouped

import fair_distill
from fair_distill.config import Named
from fair_distill.data.grouped_dataset import Array, Attributes, GroupedDataset
from fair_distill.distillation.unknown_groups import METHODS, ResolvedGroups, _propagate, resolve_unknown_groups
from fair_distill.errors import ConfigError, DataError

PROPAGATION: dict[str, Any] = {
    "name": "propagation",
    "steps": 30,
    "learning_rate": 0.05,
    "batch_size": 32,
    "neighbours": 5,
    "spread": 0.5,
    "folds": 2,
}
COUNTS = [[60, 18], [12, 72]]


def hidden(truth: GroupedDataset, known: Array, *, attributes: tuple[Attributes, ...] = ()) -> GroupedDataset:
    """Return the same rows in the order of `pairs`, with some groups unknown."""
    return GroupedDataset.from_arrays(
        truth.images,
        truth.labels,
        np.where(known, truth.group_indices, len(truth.groups)),
        classes=truth.classes,
        groups=[*truth.groups, "?"],
        pairs=np.arange(len(truth)),
        attributes=attributes or [*truth.attributes, (None,)],
    )


def every(n: int, share: int) -> Array:
    return np.arange(n) % share == 0


def resolved(dataset: GroupedDataset, seed: int = 0, **method: Any) -> ResolvedGroups:
    return resolve_unknown_groups(
        dataset,
        Named.model_validate(method),
        Named.model_validate({"name": "convnet", "width": 4, "depth": 1}),
        generator=torch.Generator().manual_seed(seed),
        device=torch.device("cpu"),
    )


TRUTH = grouped(COUNTS)
FEW = hidden(TRUTH, every(len(TRUTH), 3))


@pytest.mark.parametrize("method", [{"name": "refuse"}, {"name": "drop"}, PROPAGATION])
def test_without_unknown_labels_nothing_changes_and_nothing_is_drawn(method: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(7)
    before = generator.get_state()

    result = resolve_unknown_groups(
        TRUTH,
        Named.model_validate(method),
        Named(name="no such network"),
        generator=generator,
        device=torch.device("cpu"),
    )

    assert result.dataset is TRUTH
    assert (result.unknown_share, result.cells, result.accuracy) == (0, (), None)
    assert torch.equal(generator.get_state(), before)


def test_a_refusal_names_the_count_and_the_alternatives() -> None:
    with pytest.raises(DataError, match=r"108 of 162 examples in train have no known group\. .* distill\.unknown"):
        resolved(FEW, name="refuse")


def test_examples_of_unknown_group_are_dropped() -> None:
    result = resolved(FEW, name="drop")

    rows = np.flatnonzero(every(len(TRUTH), 3))
    assert result.dataset.pairs.tolist() == rows.tolist()
    assert np.array_equal(result.dataset.images, TRUTH.images[rows])
    assert np.array_equal(result.dataset.group_indices, TRUTH.group_indices[rows])
    assert (result.dataset.groups, result.unknown_share) == (TRUTH.groups, pytest.approx(2 / 3))


def test_visible_groups_are_inferred_and_known_groups_do_not_change() -> None:
    result = resolved(FEW, **PROPAGATION)

    made = result.dataset
    assert len(made) == len(TRUTH)
    assert np.array_equal(made.group_indices, TRUTH.group_indices[made.pairs])
    assert np.array_equal(made.labels, TRUTH.labels[made.pairs])
    assert np.array_equal(made.images, TRUTH.images[made.pairs])
    assert made.groups == TRUTH.groups
    assert [cell.known + cell.inferred for cell in result.cells] == [60, 18, 12, 72]
    assert result.accuracy == 1
    assert all(cell.correct == cell.predicted == cell.known for cell in result.cells)


def test_a_group_without_known_examples_in_a_class_is_inferred_from_other_classes() -> None:
    rare = (TRUTH.labels == 1) & (TRUTH.group_indices == 0)
    few = hidden(TRUTH, every(len(TRUTH), 3) & ~rare)

    made = resolved(few, **PROPAGATION).dataset

    assert np.array_equal(made.group_indices, TRUTH.group_indices[made.pairs])


def test_the_generator_determines_the_inference() -> None:
    noisy = grouped([[30, 30]], seed=1)
    images = (noisy.images // 8 + np.random.default_rng(0).integers(0, 220, noisy.images.shape)).astype(np.uint8)
    few = hidden(GroupedDataset.from_arrays(images, noisy.labels, noisy.group_indices, classes=["only"]), every(60, 3))
    before = torch.get_rng_state()

    once, again, other = (resolved(few, seed, **PROPAGATION) for seed in (0, 0, 1))

    assert np.array_equal(once.dataset.pairs, again.dataset.pairs)
    assert np.array_equal(once.dataset.offsets, again.dataset.offsets)
    assert once.cells == again.cells
    assert once.cells != other.cells
    assert torch.equal(torch.get_rng_state(), before)


def test_an_inferred_group_agrees_with_the_known_attributes() -> None:
    truth = grouped([[20, 20, 20, 20]])
    values: tuple[Attributes, ...] = (("f", "x"), ("f", "y"), ("m", "x"), ("m", "y"))
    known = every(80, 2)
    # The images of the others look like f×x, but their known attribute is m.
    images = np.where(known[:, None, None, None], truth.images, truth.images[:1])
    groups = np.where(known, truth.group_indices, 4)
    few = GroupedDataset.from_arrays(
        images, truth.labels, groups, groups=["fx", "fy", "mx", "my", "m?"], attributes=[*values, ("m", None)]
    )

    made = resolved(few, **PROPAGATION).dataset

    assert made.attributes == values
    assert np.bincount(made.group_indices, minlength=4)[:2].tolist() == [10, 10]
    assert len(made) == 80


def test_propagation_equals_its_closed_form_and_scikit_learn() -> None:
    from sklearn.neighbors import kneighbors_graph
    from sklearn.semi_supervised import LabelSpreading

    rng = np.random.default_rng(0)
    data = GroupedDataset.from_arrays(np.zeros((40, 1, 1, 1), np.uint8), np.zeros(40, int), np.zeros(40, int))
    features, alpha = rng.normal(size=(40, 3)), 0.7
    seeds = np.where(np.arange(40) < 8, np.arange(40) % 2, -1)
    start = np.eye(2)[seeds] * (seeds >= 0)[:, None]

    spread = _propagate(start, features, data, 4, alpha)

    joined = kneighbors_graph(features, 4).toarray()
    joined = np.maximum(joined, joined.T)
    walk = joined / np.sqrt(np.outer(joined.sum(axis=1), joined.sum(axis=1)))
    np.testing.assert_allclose(spread, (1 - alpha) * np.linalg.solve(np.eye(40) - alpha * walk, start), atol=1e-5)
    theirs = LabelSpreading(kernel=lambda _, __: joined, alpha=alpha, max_iter=1000, tol=1e-9).fit(features, seeds)
    mine = spread / spread.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(mine, theirs.label_distributions_, atol=1e-4)


def test_data_without_enough_known_groups_are_refused() -> None:
    with pytest.raises(DataError, match="no example in train has a known group"):
        resolved(hidden(TRUTH, np.zeros(len(TRUTH), bool)), **PROPAGATION)
    strange = hidden(grouped([[10, 10]]), every(20, 2), attributes=(("f", "x"), ("m", "x"), ("d", None)))
    with pytest.raises(DataError, match=r"attributes of group '\?' match no group that is known in full"):
        resolved(strange, **PROPAGATION)
    with pytest.raises(ConfigError, match=r"distill\.unknown is 'guess'; choose one of " + ", ".join(METHODS)):
        resolved(FEW, name="guess")
    with pytest.raises(ConfigError, match=r"distill\.unknown 'propagation'.*spread"):
        resolved(FEW, **(PROPAGATION | {"spread": 1.0}))


def test_distill_uses_the_inferred_groups() -> None:
    small: dict[str, Any] = {"network": {"name": "convnet", "width": 4, "depth": 1}, "ipc": 2, "steps": 2}

    made = fair_distill.distill(FEW, **small, real_per_class=8, augment=[], unknown=PROPAGATION)

    assert made.images.shape == (4, 3, 8, 8)
    with pytest.raises(DataError, match="have no known group"):
        fair_distill.distill(FEW, **small)
