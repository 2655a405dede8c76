"""The mean of several rates on different examples, such as the mean recall of the classes, with its bounds.

Each rate has its own score bound. A rare class that happens to be all right is therefore as uncertain as its few
examples are, however many examples the other classes have. The half-widths of the C rates are combined in squares and
divided by C, as those of independent estimates, see `score.MeanOfScores`. If clusters have examples of several classes,
the rates may rise and fall together, and the half-widths are added instead.
The part of the networks comes from the mean of each network, so that scatter that cancels between classes costs
nothing.

Axes: J means, C rates of a mean, S seeds. Leading axes are free.
"""

import numpy as np

from fair_distill.gate.bounds import Contrasts
from fair_distill.gate.confusion import Floats
from fair_distill.gate.score import MeanOfScores


def mean_of_levels(levels: Contrasts, *, clusters_are_shared: bool) -> Contrasts:
    """Return the means of levels (J, C) on different examples that the same networks predict, (J,).

    Parameters
    ----------
    clusters_are_shared : whether a cluster may have examples of several levels. Its interactions may then cancel, so
        nothing is subtracted from the variance over seeds
    """
    interaction = levels.interaction.mean(axis=-1) / levels.interaction.shape[-1] * (not clusters_are_shared)
    return Contrasts(
        MeanOfScores.of(levels.first, are_correlated=clusters_are_shared),
        None,
        levels.seeds.mean(axis=-2),
        interaction,
        _bend(levels),
        treatment=levels.treatment,
    )


def _bend(levels: Contrasts) -> Floats | None:
    """Return the asymmetry of the scatter of networks about the mean, as `bounds.combined_bend` does for two terms."""
    if levels.bend is None:
        return None
    centred = levels.seeds - levels.value[..., None]
    combined = centred.mean(axis=-2)
    products = np.square(combined).sum(axis=-1)[..., None] * np.square(centred).sum(axis=-1)
    squared = np.square((combined[..., None, :] * centred).sum(axis=-1))
    shares = np.divide(squared, products, out=np.zeros_like(squared), where=products > 0)
    return np.asarray((levels.bend * shares).mean(axis=-1))
