"""One seed from params.yaml becomes one generator per purpose here, and nowhere else."""

import hashlib
from typing import TYPE_CHECKING

from fair_distill.config import Config

if TYPE_CHECKING:
    import numpy as np
    import torch


def seed_of(config: Config, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{config.seed}/{purpose}".encode()).digest()[:7])


def torch_generator(config: Config, purpose: str) -> "torch.Generator":
    import torch

    return torch.Generator().manual_seed(seed_of(config, purpose))


def numpy_generator(config: Config, purpose: str) -> "np.random.Generator":
    import numpy as np

    return np.random.default_rng(seed_of(config, purpose))
