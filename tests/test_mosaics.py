"""Mosaics are cut without torch into the same examples as with it."""

import numpy as np
import pytest
import torch
from small_registry import package

from fair_distill.distillation.synthetic import training_examples
from fair_distill.distilled_set import DistilledSet
from fair_distill.formats.mosaics import cut_mosaics


@pytest.mark.parametrize("side", [8, 9, 28, 31])
@pytest.mark.parametrize("formation", [1, 2, 3])
def test_the_examples_are_those_that_networks_are_trained_on(side: int, formation: int) -> None:
    images = np.random.default_rng(side).random((3, 2, side, side + 2), dtype=np.float32)
    expected, labels = training_examples(torch.from_numpy(images), torch.arange(3), formation)

    np.testing.assert_allclose(cut_mosaics(images, formation), expected.numpy(), atol=1e-6)
    np.testing.assert_array_equal(labels.numpy(), np.repeat(np.arange(3), formation**2))


def test_numpy_gets_examples_and_never_mosaics() -> None:
    plain = package(1).set
    card = plain.card.__class__.from_dict(
        plain.card.to_dict() | {"recipe": plain.card.to_dict()["recipe"] | {"formation": 2}}
    )
    mosaics = DistilledSet(plain.images, plain.labels, card)

    images, labels = mosaics.to_numpy()

    assert len(images) == len(labels) == 4 * len(mosaics)
    torch_examples = mosaics.to_torch(normalised=False)
    np.testing.assert_allclose(images, torch_examples.images.numpy(), atol=1e-6)
    np.testing.assert_array_equal(labels, torch_examples.labels.numpy())
