"""Where a distillation must stop because its numbers mean nothing any more, and what to lower then."""

import math

from fair_distill.config import Distill
from fair_distill.distillation.networks import Network
from fair_distill.errors import FairDistillError

# Pixels in standard deviations of real ones, and weights. Real pixels lie within a few and distilled ones within tens;
# networks that normalise what they see go on giving finite losses for images a billion away, and such a run would end
# "well".
_FARTHEST = 1e4


class Diverged(FairDistillError):
    """The loss left the finite numbers, or the images everything that is an image."""

    exit_code = 4


def stay_sane(loss: float, farthest: float, network: Network, *, step: int, settings: Distill) -> None:
    """Raise Diverged if the loss of a step or the images after it mean nothing.

    Asked before the step's state is offered for keeping, so that no checkpoint holds what no run could return from.
    The images count too: an overflow in the last step would show in no loss.

    Parameters
    ----------
    farthest : the largest magnitude among the pixels; NaN if one is
    """
    if math.isfinite(loss) and farthest <= _FARTHEST:
        return
    what = (
        f"the images are {farthest:.3g} standard deviations from the mean of the real ones"
        if math.isfinite(loss)
        else f"the loss is {loss}"
    )
    # Networks that were trained too fast make every loss meaningless, however small the steps of the images are.
    at_fault, rate = "optimiser", settings.optimiser.learning_rate
    if not all(float(weight.detach().abs().amax()) <= _FARTHEST for weight in network.parameters()):
        at_fault, rate = "networks", settings.networks.learning_rate
    raise Diverged(
        f"{what} at step {step} of {settings.steps}; lower params.yaml: "
        f"distill.{at_fault}.learning_rate (it is {rate:g})"
    )
