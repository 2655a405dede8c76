"""How a check says what does not hold."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def global_generator_at_rest(what: str) -> Iterator[None]:
    before = torch.get_rng_state()
    yield
    at_rest = torch.equal(torch.get_rng_state(), before)
    holds(at_rest, f"{what} draws from torch's global generator; take one as an argument")


def holds(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


def close(got: Tensor, wanted: Tensor, fact: str, *, tolerance: float) -> None:
    holds(got.shape == wanted.shape, f"{fact}: {shape_of(got)} for {shape_of(wanted)}")
    difference = float((got - wanted).detach().abs().max())
    holds(difference <= tolerance, f"{fact}: off by {difference:.2g}")


def shape_of(tensor: Tensor) -> str:
    return str(tuple(tensor.shape)) if isinstance(tensor, Tensor) else type(tensor).__name__
