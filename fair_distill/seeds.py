"""The seeding rule: a seed and a purpose determine a random generator.

params.yaml contains one seed. Each purpose ("prepare.split", "distill.batches", …) has its own generator, so an
additional draw for one purpose does not change the draws for any other. This is the only module of the package that
seeds a generator. NumPy and torch are imported when a function needs them.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def derive_seed(seed: int, purpose: str) -> int:
    """Return the first seven bytes of SHA-256("SEED/PURPOSE"), as an integer."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:7])


def torch_generator(seed: int, purpose: str) -> "torch.Generator":
    """Return a torch generator on the CPU for one purpose."""
    return plain_torch_generator(derive_seed(seed, purpose))


def numpy_generator(seed: int, purpose: str) -> "np.random.Generator":
    """Return a NumPy generator for one purpose."""
    return plain_numpy_generator(derive_seed(seed, purpose))


def plain_torch_generator(seed: int, device: "torch.device | str" = "cpu") -> "torch.Generator":
    """Return a torch generator that starts from the seed itself, for a seed that serves one purpose already."""
    import torch

    return torch.Generator(device).manual_seed(seed)


def plain_numpy_generator(seed: int) -> "np.random.Generator":
    """Return a NumPy generator that starts from the seed itself, for a seed that serves one purpose already."""
    import numpy as np

    return np.random.default_rng(seed)


def unrepeatable_rng() -> "np.random.Generator":
    """Return a NumPy generator that the operating system seeds, for secrets that are not part of a result."""
    import numpy as np

    return np.random.default_rng()
