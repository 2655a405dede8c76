"""The upper bound of a mean over blocks of the largest absolute contrast in each block.

The average gap of all classes is such a mean: a block is a class, and its contrasts are the differences between pairs
of groups. A *choice* takes one contrast with a sign from each block. The mean of the chosen contrasts is a plain mean,
so it has a bound like that of one contrast. The metric is the largest of these means over all choices. It is above a
limit only if some choice is, and then the bound of this choice is below the limit with a probability of at most alpha.
The largest bound is therefore valid at level alpha, without a correction (intersection-union test).

The bound of a choice adds the examples' parts of the blocks in squares, because blocks have different examples. The
seeds' part comes from the mean of the chosen contrasts of each seed, so scatter that cancels between blocks costs
nothing. All choices that can have the largest bound get the same quantile, that of the one with the fewest degrees of
freedom.

Few choices are enumerated here. Many choices are bounded by `gate.many_choices`, and that bound is never smaller.

Axes: R leading axes, B blocks, K options (signed contrasts) of a block, M choices, S seeds.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np

from fair_distill.gate.betting import EXAMPLES_SHARE, largest_choice_upper
from fair_distill.gate.bounds import Contrasts
from fair_distill.gate.confusion import Floats, Ints
from fair_distill.gate.degrees_of_freedom import johnson, satterthwaite
from fair_distill.gate.many_choices import Parts, bounded
from fair_distill.gate.quantiles import t_quantiles
from fair_distill.gate.signed_contrasts import SignedContrasts

# More choices than this are not enumerated.
MOST_CHOICES = 1 << 13
# How often choices are dropped that cannot have the largest bound with their own quantile.
_ROUNDS = 2
# Numbers in the largest intermediate array.
_AT_ONCE = 1 << 23


@dataclass(frozen=True, eq=False)
class MeanOfLargest:
    """The mean over blocks of the largest absolute contrast in each block.

    For a sum of absolute values, such as a calibration error in bins, each block has one contrast, and the sum is the
    number of blocks times the mean. The attributes are those of `SignedContrasts`.
    """

    contrasts: Contrasts
    blocks: int
    influences: Floats | None = None

    @property
    def value(self) -> Floats:
        """The mean of the largest absolute values, (R,)."""
        values = np.abs(self.contrasts.value)
        return np.asarray(values.reshape(*values.shape[:-1], self.blocks, -1).max(axis=-1).mean(axis=-1))

    def upper(self, alpha: float) -> Floats:
        """Return the upper bound at level alpha, (R,)."""
        return self.parts(alpha).upper

    def parts(self, alpha: float) -> Parts:
        """Return the parts of the upper bound at level alpha, each (R,)."""
        if self.contrasts.treatment == "bounded":
            return self._of_bounded_networks(alpha)
        size = 2 * self.contrasts.seeds.shape[-2] // self.blocks
        few = size**self.blocks <= MOST_CHOICES
        choices = _all_choices(size, self.blocks) if few else np.zeros((0, self.blocks), int)
        leading = self.contrasts.seeds.shape[:-2]
        if not leading:
            return _largest(SignedContrasts(self.contrasts, self.blocks, self.influences), choices, alpha)
        at_once = max(1, _AT_ONCE // (max(len(choices), 1 << 10) * self.blocks * size))
        parts = [
            _largest(SignedContrasts(self.contrasts[start : start + at_once], self.blocks), choices, alpha)
            for start in range(0, leading[0], at_once)
        ]
        return Parts(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _of_bounded_networks(self, alpha: float) -> Parts:
        """Return the bound without a distribution of networks, see `gate.betting`; levels and widths of the parts add.

        Any choice may be the largest one, so the part of the networks covers every choice, and the part of the examples
        is the largest of each block.
        """
        given = SignedContrasts(replace(self.contrasts, treatment="given"), self.blocks, self.influences)
        of_examples = given.examples(t_quantiles(EXAMPLES_SHARE * alpha, given.least_freedom)).max(axis=-1)
        total = np.sqrt(np.square(of_examples).sum(axis=-1)) if self.influences is None else of_examples.sum(axis=-1)
        examples = np.asarray(total / self.blocks)
        seeds = self.contrasts.seeds
        by_block = seeds.reshape(*seeds.shape[:-2], self.blocks, -1, seeds.shape[-1])
        low, high = self.contrasts.range
        signed = np.concatenate([by_block, -by_block], axis=-2)
        of_networks = largest_choice_upper(signed, (1 - EXAMPLES_SHARE) * alpha, lowest=low, highest=high)
        return Parts(of_networks + examples, self.value, examples, of_networks - self.value)


@lru_cache(maxsize=16)
def _all_choices(size: int, blocks: int) -> Ints:
    """Return every choice of one of `size` options in each block, (M, B)."""
    return np.array(list(product(range(size), repeat=blocks)))


def _largest(options: SignedContrasts, choices: Ints, alpha: float) -> Parts:
    """Return the largest bound of some choices (M, B), or of all choices if there are none."""
    if not len(choices):
        return bounded(options, alpha)
    blocks, size, count = options.deviations.shape[-3:]
    leading = options.values.shape[:-2]
    chosen = np.zeros((len(choices), blocks * size))
    np.put_along_axis(chosen, choices + size * np.arange(blocks), 1.0, axis=1)

    def total(values: Floats) -> Floats:
        """Return the sum of values (R, B, K) over the chosen options, (R, M)."""
        return np.asarray(values.reshape(*leading, -1) @ chosen.T)

    deviations = chosen @ options.deviations.reshape(*leading, -1, count) / blocks  # (R, M, S)
    squares = np.square(deviations).sum(axis=-1)
    of_seeds = squares / (count * max(count - 1, 1)) * options.seeds_are_sampled
    seeds = np.maximum(of_seeds - total(options.interactions) / blocks**2, 0)
    if options.correlations is None:
        examples, spread = total(options.variances) / blocks**2, total(options.spreads) / blocks**4
    else:
        examples = _variance_of_mean(np.sqrt(options.variances), choices, options.correlations)
        spread = examples**2 / options.least_freedom
    freedom = satterthwaite(examples, spread, seeds, of_seeds, count if options.seeds_are_sampled else 1)
    lean = np.zeros(1)
    if options.seeds_are_sampled and count < 2:
        lean = np.full(1, np.inf)
    elif options.seeds_are_sampled and options.bends is not None:
        lean = np.maximum(_bends(options, chosen, deviations, squares), 0) * johnson(alpha, count)
    centre = total(options.values) / blocks

    def half_widths(q: Floats) -> tuple[Floats, Floats]:
        """Return the half-widths of examples and of seeds of every choice with the quantile q (R,)."""
        of_examples, of_seeds = options.quantiles(q, alpha)
        widths = options.examples(of_examples)
        if options.correlations is None:
            from_examples = np.sqrt(total(np.square(widths))) / blocks
        else:
            from_examples = np.sqrt(_variance_of_mean(widths, choices, options.correlations))
        return from_examples, np.where(seeds > 0, of_seeds[..., None], 0.0) * np.sqrt(seeds) + lean

    can_decide = np.ones(centre.shape, dtype=bool)
    for _ in range(_ROUNDS):
        fewest, most = (
            t_quantiles(alpha, np.asarray(limit))
            for limit in (
                np.where(can_decide, freedom, np.inf).min(axis=-1),
                np.where(can_decide, freedom, 0).max(axis=-1),
            )
        )
        least = np.where(can_decide, centre + np.hypot(*half_widths(most)), -np.inf).max(axis=-1)
        can_decide &= centre + np.hypot(*half_widths(fewest)) >= least[..., None]
    q = t_quantiles(alpha, np.asarray(np.where(can_decide, freedom, np.inf).min(axis=-1)))
    from_examples, from_seeds = half_widths(q)
    upper = np.where(can_decide, centre + np.hypot(from_examples, from_seeds), -np.inf)
    best = upper.argmax(axis=-1)[..., None]
    parts = np.broadcast_arrays(upper, centre, from_examples, from_seeds)
    return Parts(*(np.take_along_axis(part, best, axis=-1)[..., 0] for part in parts))


def _bends(options: SignedContrasts, chosen: Floats, deviations: Floats, squares: Floats) -> Floats:
    """Return the asymmetry of the scatter of seeds about each choice, (R, M): `combined_bend` of its options."""
    assert options.bends is not None
    blocks, size, count = options.deviations.shape[-3:]
    each = options.deviations.reshape(*options.values.shape[:-2], blocks * size, count)
    norms = np.square(each).sum(axis=-1)
    weights = np.divide(options.bends.reshape(norms.shape), norms, out=np.zeros_like(norms), where=norms > 0)
    shares = np.square(deviations @ np.swapaxes(each, -1, -2)) * weights[..., None, :] * chosen  # (R, M, B K)
    sums = shares.sum(axis=-1) / blocks
    return np.asarray(np.divide(sums, squares, out=np.zeros_like(sums), where=squares > 0))


def _variance_of_mean(errors: Floats, choices: Ints, correlations: Floats) -> Floats:
    """Return the variance of the mean of the chosen options with standard errors (B, K), (M,)."""
    blocks, size = errors.shape
    index = choices + size * np.arange(blocks)
    each = errors.reshape(-1)[index]
    variance = np.square(each).sum(axis=-1)
    for a in range(blocks):
        for b in range(a):
            variance += 2 * correlations[index[:, a], index[:, b]] * each[:, a] * each[:, b]
    return np.asarray(variance / blocks**2)
