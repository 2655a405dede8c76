"""References of random real images, with natural and with balanced groups."""

import numpy as np
import pytest
import torch
from small_workspace import grouped

from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.errors import DataError
from fair_distill.evaluation.references import subset

DATA = grouped([[50, 6], [5, 60]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("select", ["random", "group_balanced"])
def test_a_reference_is_ipc_real_images_of_every_class(select: str) -> None:
    images, labels = subset(select, DATA, 8, 1, generator())

    real = {(image.tobytes(), label) for image, label in zip(DATA.images, DATA.labels, strict=True)}
    pixels = (images * 255).round().astype(np.uint8)
    selected = [(image.tobytes(), label) for image, label in zip(pixels, labels, strict=True)]
    assert images.dtype == np.float32
    assert labels.tolist() == [0] * 8 + [1] * 8
    assert set(selected) <= real
    assert len(set(selected)) == 16
    assert 0 <= images.min() < images.max() <= 1


def test_a_balanced_reference_divides_each_class_evenly_among_its_groups() -> None:
    images, labels = subset("group_balanced", DATA, 8, 1, generator())

    bright_left = images[..., :4].mean(axis=(1, 2, 3)) > images[..., 4:].mean(axis=(1, 2, 3))
    assert [int(bright_left[labels == label].sum()) for label in (0, 1)] == [4, 4]


@pytest.mark.parametrize("select", ["random", "group_balanced"])
def test_a_reference_depends_on_its_generator_only(select: str) -> None:
    first, repeated, different = (subset(select, DATA, 8, 1, generator(seed))[0] for seed in (1, 1, 2))

    assert np.array_equal(first, repeated)
    assert not np.array_equal(first, different)


@pytest.mark.parametrize("select", ["random", "group_balanced"])
def test_more_images_than_the_class_has_are_refused(select: str) -> None:
    with pytest.raises(DataError, match="class 'class0' has 56 examples in train; ipc is 57"):
        subset(select, DATA, 57, 1, generator())


def test_a_balanced_reference_has_only_examples_of_known_group() -> None:
    known = np.arange(len(DATA)) % 2 == 0
    few = GroupedDataset.from_arrays(
        DATA.images,
        DATA.labels,
        np.where(known, DATA.group_indices, 2),
        groups=["0", "1", "?"],
        attributes=[("0",), ("1",), (None,)],
    )

    images, _ = subset("group_balanced", few, 4, 1, generator())

    known_images = {image.tobytes() for image in DATA.images[known]}
    assert {image.tobytes() for image in (images * 255).round().astype(np.uint8)} <= known_images
