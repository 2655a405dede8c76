"""Detect a diverged distillation, and name the learning rate to lower."""

import math

from fair_distill.config import Distill
from fair_distill.distillation.networks import Network
from fair_distill.errors import FairDistillError

# The limit on weights, and on pixels in standard deviations of the real pixels. Real pixels are within a few standard
# deviations and distilled ones within tens. A limit is needed because networks that normalise their input still give
# finite losses for images that are a billion standard deviations away.
_LIMIT = 1e4


class Diverged(FairDistillError):
    """The loss is not finite, or the images or weights have left the range of meaningful values."""

    exit_code = 4


def check_divergence(loss: float, largest_pixel: float, network: Network, *, step: int, settings: Distill) -> None:
    """Raise Diverged if the loss of a step, or the images after it, are no longer meaningful.

    The loop calls this before it saves a checkpoint, so that no checkpoint contains a state from which a run cannot
    recover. It checks the images too, because an overflow in the last step would not appear in any loss.

    Parameters
    ----------
    largest_pixel : the largest magnitude of the normalised pixels; NaN if any pixel is NaN
    """
    if math.isfinite(loss) and largest_pixel <= _LIMIT:
        return
    finding = (
        f"the images are {largest_pixel:.3g} standard deviations from the mean of the real images"
        if math.isfinite(loss)
        else f"the loss is {loss}"
    )
    # Networks that were trained too fast make every loss meaningless, regardless of the images' learning rate.
    section, rate = "optimiser", settings.optimiser.learning_rate
    if not all(float(weight.detach().abs().amax()) <= _LIMIT for weight in network.parameters()):
        section, rate = "networks", settings.networks.learning_rate
    raise Diverged(
        f"{finding} at step {step} of {settings.steps}; lower params.yaml: "
        f"distill.{section}.learning_rate (it is {rate:g})"
    )
