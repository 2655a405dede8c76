"""Near copies: modified copies are detected, unseen images are not more often than by chance."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist

from fair_distill.audit.near_copies import METRICS, compare_distances, count_near_copies, pixels, shapes, spectra
from fair_distill.card import Nearness
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.evaluation.references import subset

CPU = torch.device("cpu")


def blobs(count: int, *, seed: int, classes: int = 2, groups: int = 2, size: int = 12, paired: bool = False) -> Any:
    """Return images of smooth noise with a black margin, similar within a class and group but not equal."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=rng)
    smooth = F.interpolate(coarse, size=(size - 4, size - 4), mode="bilinear", align_corners=False)
    images = (F.pad(smooth, (2, 2, 2, 2)) * 255).round().byte().numpy()
    labels, turns = np.arange(count) % classes, np.arange(count) // classes % groups
    if paired:
        images = np.repeat(images, groups, axis=0)
        return GroupedDataset.from_arrays(
            images,
            np.repeat(labels, groups),
            np.tile(np.arange(groups), count),
            pairs=np.repeat(np.arange(count), groups),
        )
    return GroupedDataset.from_arrays(images, labels, turns)


TRAIN, HOLDOUT, FRESH = blobs(300, seed=0), blobs(200, seed=1), blobs(400, seed=2)


def found(images: Array, labels: Array, **more: Any) -> Nearness:
    settings: dict[str, Any] = {"formation": 1, "quantile": 0.05, "holdout_per_class": 1000, "device": CPU} | more
    train, holdout = settings.pop("train", TRAIN), settings.pop("holdout", HOLDOUT)
    return count_near_copies(images.astype(np.float32), labels, train, holdout, **settings)


def real() -> tuple[Array, Array]:
    return subset("random", TRAIN, 10, 1, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("select", ["random", "group_balanced"])
@pytest.mark.parametrize(("formation", "size"), [(1, 12), (2, 12), (3, 12), (2, 13), (3, 16)])
def test_real_images_are_copies_in_a_mosaic_too(select: str, formation: int, size: int) -> None:
    train, holdout = (blobs(n, seed=i, size=size) for i, n in enumerate((300, 200)))
    images, labels = subset(select, train, 10, formation, torch.Generator().manual_seed(3))

    of = found(images, labels, formation=formation, train=train, holdout=holdout)

    assert of.images == of.copies == of.near_copies == 20 * formation**2
    assert of.near_copies_per_class == of.images_per_class == (10 * formation**2,) * 2
    assert of.share == 1
    assert of.expected == pytest.approx(of.images * 10 / 201, rel=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + 0.3,
        lambda x: 0.5 * x + 0.1,
        lambda x: np.roll(x, (1, -1), axis=(2, 3)),
        lambda x: x + 0.05 * np.random.default_rng(0).normal(size=x.shape),
    ],
    ids=["brighter", "paler", "shifted", "noisy"],
)
def test_a_modified_copy_is_near_but_not_a_copy(change: Any) -> None:
    images, labels = real()

    of = found(change(images), labels)

    assert of.copies == 0
    assert of.near_copies == of.images


def test_pixels_alone_do_not_detect_modified_copies() -> None:
    images = torch.from_numpy(real()[0])
    others = torch.from_numpy(FRESH.images[:20] / np.float32(255))

    for metric, change in ((shapes, images * 0.5 + 0.3), (spectra, images.roll((1, 1), dims=(2, 3)))):
        same, other, plain = metric(change) - metric(images), metric(others) - metric(images), pixels(change - images)
        assert same.norm(dim=1).max() < 1e-3 < other.norm(dim=1).min()
        assert plain.norm(dim=1).min() > 0.05


def test_unseen_images_are_near_copies_as_often_as_by_chance() -> None:
    images, labels = FRESH.images / np.float32(255), FRESH.labels

    for quantile in (0.05, 0.2, 0.5):
        of = found(images, labels, quantile=quantile)
        assert of.near_copies is not None
        assert of.expected is not None
        chance = of.expected / of.images
        assert chance == pytest.approx(int(quantile * 201 + 1e-9) / 201, rel=1e-5)
        # of the images drawn and of the threshold
        deviation = (chance * (1 - chance) * (1 / of.images + 1 / of.holdout)) ** 0.5
        assert abs(of.near_copies / of.images - chance) < 3 * deviation
        assert of.copies == 0


def test_unseen_tiles_are_as_far_as_unseen_images() -> None:
    images, labels = subset("random", FRESH, 40, 2, torch.Generator().manual_seed(0))

    of = found(images, labels, formation=2, quantile=0.1)
    assert of.share == pytest.approx(0.1, abs=0.07)


def test_distances_and_ranks_equal_those_of_a_simple_search() -> None:
    images, labels = (FRESH.images[:30] / 255).astype(np.float32), FRESH.labels[:30]

    of = compare_distances(images, labels, TRAIN, HOLDOUT, formation=1, holdout_per_class=1000, device=CPU)

    def searched(queries: Array) -> Array:
        values = []
        for metric in METRICS:
            one, other = (metric(torch.from_numpy(x.astype(np.float32))) for x in (queries, TRAIN.images / 255))
            values.append(cdist(one.double().numpy(), other.double().numpy()).min(axis=1))
        return np.stack(values)

    own, theirs = searched(images), searched(HOLDOUT.images / 255)
    usual = np.stack([np.median(theirs[:, HOLDOUT.labels == label], axis=1) for label in range(2)], axis=1)
    relative, unseen = (own / usual[:, labels]).min(axis=0), (theirs / usual[:, HOLDOUT.labels]).min(axis=0)
    np.testing.assert_allclose(of.relative, relative, rtol=1e-4)
    np.testing.assert_allclose(of.p, (1 + (unseen[None] <= relative[:, None]).sum(axis=1)) / 201, atol=0.006)


def test_copies_of_one_holdout_image_count_once_and_all_groups_are_used() -> None:
    paired = blobs(200, seed=1, paired=True)
    images, labels = FRESH.images / np.float32(255), FRESH.labels

    assert found(images, labels, holdout=paired) == found(images, labels)  # The groups look alike here.
    assert found(images, labels, holdout=paired, holdout_per_class=30).holdout == 60
    assert found(images, labels, holdout=blobs(200, seed=1, groups=5)).holdout == 200


def test_a_holdout_split_that_is_too_small_gives_no_count() -> None:
    images, labels = real()

    few = found(images, labels, quantile=0.004)
    assert (few.near_copies, few.expected, few.share) == (None, None, None)
    assert few.near_copies_per_class == (None, None)
    assert few.copies == few.images  # This number needs no hold-out images.
    assert few.undefined == "200 hold-out images cannot show a share of 0.004; 249 can"
    assert "not measured: 200 hold-out images" in few.sentence()
    assert found(images, labels, quantile=1 / 201).undefined is None

    one_class = GroupedDataset.from_arrays(
        HOLDOUT.images[:100], HOLDOUT.labels[:100], HOLDOUT.group_indices[:100], classes=("0", "1"), groups=("0", "1")
    )
    lacking = found(images, labels, holdout=one_class)
    assert lacking.near_copies is None
    assert lacking.undefined == "class '1' has no hold-out images, or half of them are training images"
    assert lacking.relative_distance == (0, None)


def test_a_copy_is_near_even_if_holdout_images_are_copies_too() -> None:
    leaky = GroupedDataset.from_arrays(
        np.concatenate([HOLDOUT.images, TRAIN.images[:60]]),
        np.concatenate([HOLDOUT.labels, TRAIN.labels[:60]]),
        np.concatenate([HOLDOUT.group_indices, TRAIN.group_indices[:60]]),
    )
    images, labels = real()

    of = found(images, labels, holdout=leaky)
    assert of.near_copies == of.copies == of.images


def test_a_training_image_of_another_class_counts() -> None:
    images, labels = real()

    assert found(images, 1 - labels).share == 1


def test_the_order_and_the_type_of_images_do_not_matter() -> None:
    images, labels = FRESH.images / np.float32(255), FRESH.labels
    order = np.random.default_rng(0).permutation(300)
    turned = GroupedDataset.from_arrays(TRAIN.images[order], TRAIN.labels[order], TRAIN.group_indices[order])
    floats = GroupedDataset.from_arrays(TRAIN.images / np.float32(255), TRAIN.labels, TRAIN.group_indices)
    backwards = slice(None, None, -1)

    of = found(images, labels)
    for train in (turned, floats):
        assert found(images, labels, train=train) == of
    assert found(images[backwards], labels[backwards]) == of


def test_rows_of_a_table_are_compared() -> None:
    def table(count: int, seed: int) -> GroupedDataset:
        rows = np.random.default_rng(seed).normal(size=(count, 6, 1, 1)).astype(np.float32)
        return GroupedDataset.from_arrays(rows, np.arange(count) % 2, np.arange(count) // 2 % 2)

    train, holdout, fresh = table(300, 0), table(100, 1), table(100, 2)
    assert found(train.images[:20], train.labels[:20], train=train, holdout=holdout).share == 1
    share = found(fresh.images, fresh.labels, train=train, holdout=holdout).share
    assert share is not None
    assert share < 0.15


def test_the_result_is_small_and_names_no_training_image() -> None:
    images, labels = FRESH.images / np.float32(255), FRESH.labels
    of = asdict(found(images, labels))

    lists = {name: len(value) for name, value in of.items() if isinstance(value, tuple)}
    assert set(lists.values()) == {2}  # classes
    assert not any("row" in name or "index" in name or "nearest" in name for name in of)
