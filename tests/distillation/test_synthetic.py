"""The initial synthetic images, and mosaics."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from small_workspace import grouped

from fair_distill.data.grouped_dataset import Array
from fair_distill.distillation.sampling import Normalisation
from fair_distill.distillation.synthetic import (
    decode,
    encode,
    examples_per_group,
    initial_images,
    natural_rows,
    stratified_rows,
)
from fair_distill.errors import ConfigError, DataError

PLAIN = Normalisation((0.0,) * 3, (1.0,) * 3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.lists(st.lists(st.integers(0, 7), min_size=3, max_size=3), min_size=1, max_size=3), st.integers(1, 8))
def test_a_stratified_choice_is_as_even_as_the_cells_allow(counts: list[list[int]], ipc: int) -> None:
    table = np.array(counts)
    assume((table.sum(axis=1) >= ipc).all())
    dataset = grouped(table, size=1)

    rows = stratified_rows(dataset, ipc, generator())

    assert len(set(rows)) == len(rows)
    assert dataset.labels[rows].tolist() == np.repeat(np.arange(len(table)), ipc).tolist()
    for label, available in enumerate(table):
        chosen = np.bincount(dataset.group_indices[rows[dataset.labels[rows] == label]], minlength=3)
        assert (chosen <= available).all()
        # A group with at least two fewer rows than another has given all its rows.
        short = chosen < chosen.max() - 1
        assert (chosen[short] == available[short]).all()


@pytest.mark.parametrize(
    ("counts", "per_class", "taken"),
    [([9, 9, 9], 6, [2, 2, 2]), ([9, 9, 9], 7, [3, 2, 2]), ([9, 1, 0], 6, [5, 1, 0]), ([3, 3, 3], 9, [3, 3, 3])],
)
def test_the_examples_of_a_class_are_shared_evenly_among_its_groups(
    counts: list[int], per_class: int, taken: list[int]
) -> None:
    assert examples_per_group(np.array(counts), per_class, "cat").tolist() == taken


def test_a_class_with_too_few_examples_is_refused() -> None:
    with pytest.raises(DataError, match="class 'cat' has 5 examples in train; ipc is 6"):
        examples_per_group(np.array([3, 2]), 6, "cat")


def test_a_natural_choice_ignores_groups() -> None:
    dataset = grouped([[180, 20], [20, 180]], size=1)

    rows = natural_rows(dataset, 100, generator())

    assert len(set(rows)) == 200
    assert dataset.labels[rows].tolist() == [0] * 100 + [1] * 100
    rare = np.array([(dataset.group_indices[rows[:100]] == 1).sum(), (dataset.group_indices[rows[100:]] == 0).sum()])
    assert (np.abs(rare - 10) < 12).all()  # Hypergeometric, five standard deviations.


@pytest.mark.parametrize("choose", [stratified_rows, natural_rows])
def test_a_class_smaller_than_ipc_is_refused_by_name(choose: Callable[..., Array]) -> None:
    assert len(choose(grouped([[5, 5], [3, 1]], size=1), 4, generator())) == 8  # Exactly enough.

    with pytest.raises(DataError, match=r"class 'class1' has 4 examples in train; ipc is 5\. Lower distill\.ipc"):
        choose(grouped([[5, 5], [3, 1]], size=1), 5, generator())


@pytest.mark.parametrize("kind", ["group_stratified", "natural"])
def test_a_start_from_real_images_is_real_images_of_its_class(kind: str) -> None:
    dataset = grouped([[9, 3], [4, 8]])

    images = initial_images(kind, dataset, 4, PLAIN, generator(), formation=1)

    pixels = {image.tobytes(): label for image, label in zip(dataset.images, dataset.labels, strict=True)}
    found = [pixels[(image * 255).round().byte().numpy().tobytes()] for image in images]
    assert found == [0] * 4 + [1] * 4


def test_a_stratified_start_contains_every_group_equally() -> None:
    images = initial_images("group_stratified", grouped([[90, 9], [9, 90]]), 8, PLAIN, generator(), formation=1)

    bright_left = images[..., :4].mean(dim=(1, 2, 3)) > images[..., 4:].mean(dim=(1, 2, 3))
    assert [int(bright_left[:8].sum()), int(bright_left[8:].sum())] == [4, 4]


def test_a_start_from_noise_is_standard_normal() -> None:
    images = initial_images("noise", grouped([[9, 3], [4, 8]]), 50, PLAIN, generator(), formation=1)

    assert images.shape == (100, 3, 8, 8)
    assert abs(images.mean().item()) < 0.03
    assert images.std().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("kind", ["group_stratified", "natural", "noise"])
def test_the_generator_determines_the_start(kind: str) -> None:
    once, again, other = (
        initial_images(kind, grouped([[9, 3], [4, 8]]), 4, PLAIN, generator(seed), formation=1) for seed in (1, 1, 2)
    )

    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"distill.start is 'real'; choose one of group_stratified, natural, noise"):
        initial_images("real", grouped([[9, 3]]), 1, PLAIN, generator(), formation=1)


@pytest.mark.parametrize(("size", "factor"), [(8, 2), (9, 3), (16, 4), (8, 3), (7, 2)])
def test_a_mosaic_of_uniform_images_decodes_to_them(size: int, factor: int) -> None:
    level = torch.arange(factor**2 * 2.0)
    images = level[:, None, None, None].expand(-1, 3, size, size)

    mosaic = encode(images, factor)
    back = decode(mosaic, factor)

    assert mosaic.shape == (2, 3, size, size)
    assert back.shape == images.shape
    middle = size // 2
    if size % factor == 0:
        torch.testing.assert_close(back, images)
    torch.testing.assert_close(back[:, 0, middle, middle], level, atol=0.5, rtol=0)


def test_without_formation_images_do_not_change() -> None:
    images = torch.rand(4, 3, 8, 8)

    assert encode(images, 1) is images
    assert decode(images, 1) is images
