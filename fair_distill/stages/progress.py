"""How a stage tells how far it is: it hands a value to a function that the command line gives it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reached:
    """How far a stage has come.

    Attributes
    ----------
    step, of : how many steps are done, of how many
    loss : of this step, where it has one
    images : real images that a step asks for; None where that measures nothing
    device_memory_mb : the most that was in use on a GPU; None elsewhere
    """

    step: int
    of: int
    loss: float | None = None
    images: int | None = None
    device_memory_mb: float | None = None


Progress = Callable[[Reached], None]


def quiet(reached: Reached) -> None:
    """Tell nobody."""
