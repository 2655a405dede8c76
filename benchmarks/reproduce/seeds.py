"""A seed and a purpose become a generator here, and nowhere else in this room."""

import hashlib

import numpy as np
import torch


def _number(seed: int, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/reproduce.{purpose}".encode()).digest()[:7])


def numpy_generator(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng(_number(seed, purpose))


def torch_generator(seed: int, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(_number(seed, purpose))
