"""The seeding rule: a seed and a purpose determine a generator."""

import hashlib

import numpy as np
import torch

from fair_distill.seeds import derive_seed, numpy_generator, plain_torch_generator, torch_generator


def test_the_derived_seed_is_seven_bytes_of_a_digest() -> None:
    digest = hashlib.sha256(b"7/prepare.split").digest()

    assert derive_seed(7, "prepare.split") == int.from_bytes(digest[:7])


def test_both_libraries_use_the_derived_seed() -> None:
    seed = derive_seed(7, "prepare.split")

    assert torch_generator(7, "prepare.split").initial_seed() == seed
    assert numpy_generator(7, "prepare.split").random() == np.random.default_rng(seed).random()


def test_a_plain_generator_uses_the_seed_itself() -> None:
    expected = torch.rand(3, generator=torch.Generator().manual_seed(5))

    assert torch.equal(torch.rand(3, generator=plain_torch_generator(5)), expected)
