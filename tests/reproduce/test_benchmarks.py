"""Benchmarks are coloured and split as the papers have it."""

from pathlib import Path

import numpy as np
import pytest
from reproduce.small_benchmark import TEST, TRAIN, write_mnist

from benchmarks.reproduce.benchmarks import BENCHMARKS, COLOURS, prepare
from fair_distill.data.colour_skew import paint_groups
from fair_distill.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("data"))


def test_nine_in_ten_stand_in_the_own_colour_and_the_official_test_is_balanced(data: Path) -> None:
    made = prepare("c_mnist_fg", data, paired_per_class=3)

    assert made.train.counts.tolist() == [
        [TRAIN * 9 // 10 if group == label else int(1 <= (group - (group > label)) + 1 <= 4) for group in range(10)]
        for label in range(10)
    ]
    official = made.test.pairs < made.tests["official"].stop
    cells = np.asarray(made.test.labels)[official] * 10 + np.asarray(made.test.group_indices)[official]
    assert np.bincount(cells).tolist() == [TEST // 10] * 100
    assert made.test.groups == tuple(COLOURS)


def test_the_paired_test_shows_so_many_images_a_class_in_every_colour(data: Path) -> None:
    made = prepare("c_mnist_bg", data, paired_per_class=3)

    pairs = made.test.pairs[made.test.pairs >= made.tests["paired"].start]
    _, times = np.unique(pairs, return_counts=True)
    assert times.tolist() == [10] * 30
    assert len(made.test) == 10 * TEST + 300
    assert all(pair in made.tests["paired"] for pair in pairs)


def test_test_images_are_none_of_the_training_images_and_are_centred(data: Path) -> None:
    made = prepare("c_mnist_fg", data, paired_per_class=3)

    train = {image.max(axis=0).tobytes() for image in made.train.images}
    assert not train & {image.max(axis=0).tobytes() for image in made.test.images}
    shown = made.train.images.max(axis=(0, 1))
    assert shown.shape == (32, 32)
    assert shown[2:30, 2:30].all()
    assert shown.sum() == shown[2:30, 2:30].sum()  # two black rows all around


def test_a_painting_is_the_same_every_time_and_no_other_benchmarks(data: Path) -> None:
    once, again, other = (
        prepare(name, data, paired_per_class=2) for name in ("c_mnist_fg", "c_mnist_fg", "c_mnist_bg")
    )

    assert np.array_equal(once.train.images, again.train.images)
    assert np.array_equal(once.test.pairs, again.test.pairs)
    assert not np.array_equal(once.train.pairs, other.train.pairs)


def test_writers_are_groups_of_their_own(data: Path) -> None:
    made = prepare("mnist_writers", data, paired_per_class=3)

    assert made.train.groups == ("student=0", "student=1")
    assert (len(made.train), len(made.test)) == (10 * TRAIN, 10 * TEST)
    assert list(made.tests) == ["official"]


def test_cifar10_s_gives_grey_to_the_first_five_classes_and_tests_in_both(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(10), 40).astype(np.uint8)
    images = np.random.default_rng(0).integers(0, 256, (400, 32, 32, 3)).astype(np.uint8)
    (tmp_path / "cifar10_4k").mkdir()
    np.savez(tmp_path / "cifar10_4k" / "cifar10_first4000.npz", x=images, y=labels)

    made = prepare("cifar10_s", tmp_path, paired_per_class=10)

    assert made.train.counts.tolist() == [[27, 3]] * 5 + [[3, 27]] * 5
    assert made.test.counts.tolist() == [[10, 10]] * 10
    assert list(made.tests) == ["paired"]
    assert not set(made.train.pairs) & set(made.test.pairs)


@pytest.mark.parametrize("name", [name for name, of in BENCHMARKS.items() if of.colours is COLOURS])
def test_no_colour_hides_the_image(name: str) -> None:
    shade = np.concatenate([np.zeros(32), np.arange(64, 256, 6)]).astype(np.uint8).reshape(1, 1, 8, 8)

    for group in range(len(COLOURS)):
        shown = paint_groups(shade, np.array([group]), COLOURS, BENCHMARKS[name].paint)
        assert np.ptp(shown[0], axis=(1, 2)).max() > 60, list(COLOURS)[group]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_files_that_are_not_there_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is missing"):
        prepare(name, tmp_path, paired_per_class=1)


def test_a_benchmark_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the data set is 'c_cat'; choose from c_mnist_fg"):
        prepare("c_cat", tmp_path, paired_per_class=1)
