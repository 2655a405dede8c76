"""DM: distribution matching (Zhao & Bilen, WACV 2023). The statistic is the mean embedding under a random network.

Follows the paper, except that real batches are stratified by class and group, all classes are embedded in one forward
pass, and each real image is embedded once, whatever the alignment.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from fair_distill.distill.alignment import Alignment
from fair_distill.distill.matchers.base import Pair
from fair_distill.distill.networks import Network
from fair_distill.distill.sampling import Batch
from fair_distill.distill.synthetic import Synthetic


@dataclass(frozen=True)
class DM:
    """Mean features before the classifier: one layer."""

    def pairs(self, network: Network, real: Batch, synthetic: Synthetic, alignment: Alignment) -> Iterator[Pair]:
        classes = len(real.offsets) - 1
        with torch.no_grad():
            cells = (real.averaging @ network.embed(real.images)).unflatten(0, (classes, -1))
        embedded = network.embed(synthetic.view(range(classes)))
        means = embedded.unflatten(0, (classes, -1)).mean(dim=1)
        yield Pair(alignment.targets((cells,)), (means,))
