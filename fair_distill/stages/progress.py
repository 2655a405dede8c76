"""Progress of a stage, which the stage reports to a callback of the command line."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class StageProgress:
    """How much of a stage is done.

    Attributes
    ----------
    step, steps : number of completed steps, and their total
    loss : loss of this step; None if the stage has no loss
    images : real images that one step uses; None if a rate of images does not describe the stage
    device_memory_mb : peak GPU memory so far in MB; None on the CPU
    """

    step: int
    steps: int
    loss: float | None = None
    images: int | None = None
    device_memory_mb: float | None = None


ProgressCallback = Callable[[StageProgress], None]


def ignore_progress(progress: StageProgress) -> None:
    """Do nothing; the default callback."""
