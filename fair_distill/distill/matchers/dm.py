"""DM: distribution matching (Zhao & Bilen, WACV 2023). The statistic is the mean embedding under a random network.

Follows the paper, except that real batches are stratified by class and group, and all classes are embedded in one
forward pass. The network is frozen and drawn anew at every step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fair_distill.distill.alignment import Statistic
from fair_distill.distill.networks import Network
from fair_distill.distill.sampling import Batch


@dataclass(frozen=True)
class DM:
    """Mean features before the classifier: one layer."""

    def cells(self, network: Network, real: Batch, classes: int) -> Statistic:
        """Return the mean embedding of every cell, (C, G, D). No gradient flows here."""
        with torch.no_grad():
            features = network.embed(real.images)
            return ((real.averaging @ features).unflatten(0, (classes, -1)),)

    def synthetic(self, network: Network, images: Tensor, classes: int) -> Statistic:
        """Return the mean embedding of every class of the synthetic set, (C, D); rows are sorted by class."""
        return (network.embed(images).unflatten(0, (classes, -1)).mean(dim=1),)
