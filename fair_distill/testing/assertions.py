"""Assertions for the contract checks: each failure is an AssertionError with one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def global_generator_unused(component: str) -> Iterator[None]:
    """Check that the code in the context does not draw from torch's global generator."""
    before = torch.get_rng_state()
    yield
    unused = torch.equal(torch.get_rng_state(), before)
    holds(unused, f"{component} draws from torch's global generator; draw from a generator argument instead")


def holds(condition: bool, message: str) -> None:
    """Raise AssertionError with the message unless the condition is true."""
    if not condition:
        raise AssertionError(message)


def close(actual: Tensor, expected: Tensor, message: str, *, tolerance: float) -> None:
    """Raise AssertionError unless both tensors have one shape and no element differs by more than the tolerance."""
    holds(actual.shape == expected.shape, f"{message}: shape {shape_of(actual)} instead of {shape_of(expected)}")
    difference = float((actual - expected).detach().abs().max())
    holds(difference <= tolerance, f"{message}: differs by {difference:.2g}")


def shape_of(tensor: Tensor) -> str:
    """Return the shape of a tensor, or the type of another object."""
    return str(tuple(tensor.shape)) if isinstance(tensor, Tensor) else type(tensor).__name__
