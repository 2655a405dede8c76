"""Contrasts in blocks, with both signs: the options from which a choice takes one per block.

Axes: R leading axes, B blocks, K options of a block (its contrasts with sign 1, then with sign -1), S seeds.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fair_distill.gate.bounds import Contrasts
from fair_distill.gate.confusion import Floats
from fair_distill.gate.quantiles import t_quantiles


@dataclass(frozen=True, eq=False)
class SignedContrasts:
    """The contrasts of every block with both signs.

    Attributes
    ----------
    contrasts : block by block, (R, blocks × contrasts of a block)
    blocks : B, the number of blocks
    influences : how far each cluster moves each contrast, (blocks × contrasts of a block, clusters); None if no cluster
        has examples of several blocks. Only without leading axes
    """

    contrasts: Contrasts
    blocks: int
    influences: Floats | None = None

    @cached_property
    def values(self) -> Floats:
        """The mean of each option over seeds, (R, B, K)."""
        return self._both(self.contrasts.value, -1)

    @cached_property
    def deviations(self) -> Floats:
        """The option of each seed minus its mean over seeds, (R, B, K, S)."""
        centred = self.contrasts.seeds - self.contrasts.value[..., None]
        return np.stack([self._both(centred[..., s], -1) for s in range(centred.shape[-1])], axis=-1)

    @cached_property
    def variances(self) -> Floats:
        """The variance of each option that the examples cause, (R, B, K)."""
        return self._both(self.contrasts.variances_of_examples[0], 1)

    @cached_property
    def spreads(self) -> Floats:
        """The square of each variance over its degrees of freedom, (R, B, K)."""
        return self._both(self.contrasts.variances_of_examples[1], 1)

    @cached_property
    def least_freedom(self) -> Floats:
        """The fewest degrees of freedom of the examples of any contrast, (R,)."""
        variances, spreads = self.contrasts.variances_of_examples
        freedom = np.divide(variances**2, spreads, out=np.zeros_like(variances), where=spreads > 0)
        return np.asarray(freedom.min(axis=-1))

    @cached_property
    def interactions(self) -> Floats:
        """The variance of each option that the interaction causes, (R, B, K).

        It is not subtracted if a cluster has examples of several blocks, because its interactions may cancel, and from
        contrasts of extreme rates, see `Contrasts.is_extreme`.
        """
        counts = ~self.contrasts.is_extreme & (self.influences is None)
        return self._both(np.where(counts, self.contrasts.interaction, 0.0), 1)

    @cached_property
    def bends(self) -> Floats | None:
        """The asymmetry of the scatter of seeds about each option, (R, B, K)."""
        return None if self.contrasts.bend is None else self._both(self.contrasts.bend, -1)

    @cached_property
    def correlations(self) -> Floats | None:
        """The correlation of every two options over the choice of clusters, (B K, B K), as far as it is positive."""
        if self.influences is None:
            return None
        norms = np.sqrt(np.square(self.influences).sum(axis=-1, keepdims=True))
        units = np.divide(self.influences, norms, out=np.zeros_like(self.influences), where=norms > 0)
        both = np.swapaxes(self._both(np.swapaxes(units, 0, 1), -1), 0, -1)  # (K, B, clusters)
        options = np.swapaxes(both, 0, 1).reshape(-1, both.shape[-1])
        return np.maximum(options @ options.T, 0)

    def quantiles(self, q: Floats, alpha: float) -> tuple[Floats, Floats]:
        """Return the quantiles of the examples' and of the seeds' part, (R,): q, the quantile of both together.

        Where a block has an extreme rate, each part has its own quantile, see `Contrasts.is_extreme`.
        """
        count = self.deviations.shape[-1]
        if not self.seeds_are_sampled or count < 2:
            return q, q
        extreme = self.contrasts.is_extreme.any(axis=-1)
        of_examples = t_quantiles(alpha, self.least_freedom)
        of_seeds = t_quantiles(alpha, np.full(q.shape, count - 1.0))
        return np.asarray(np.where(extreme, of_examples, q)), np.asarray(np.where(extreme, of_seeds, q))

    @property
    def seeds_are_sampled(self) -> bool:
        """Whether the choice of networks adds uncertainty."""
        return self.contrasts.treatment != "given"

    def examples(self, q: Floats) -> Floats:
        """Return the half-width of the examples above each option with the quantile q (R,), (R, B, K)."""
        return np.concatenate(
            [self._by_block(self.contrasts.examples(q[..., None], side)) for side in (1, -1)], axis=-1
        )

    def _both(self, values: Floats, sign: int) -> Floats:
        """Return values (R, J) with both signs; the second half is multiplied by `sign`."""
        by_block = self._by_block(values)
        return np.concatenate([by_block, sign * by_block], axis=-1)

    def _by_block(self, values: Floats) -> Floats:
        return np.asarray(values).reshape(*values.shape[:-1], self.blocks, -1)
