"""A bound of all choices of a mean over blocks, for choices that are too many to enumerate.

It is never smaller than the bound that `gate.choices` would find by enumeration. The steps are:

1. A quantile q that no choice exceeds, from the extremes of its parts.
2. The bound of a choice is written as

       value + lean + max(sqrt(sum_b e_b²), sqrt(sum_b r_b² + q² |sum_b u_b|²))      with r_b² = max(e_b² - q² I_b, 0)

   e_b: half-width of the examples; u_b: the contrast of each seed as a vector whose norm is its standard error; I_b:
   variance of the interaction; lean: correction for asymmetry, at its largest. This is exact except for the lean.
3. An option of a block is dropped if another one of this block has at least its bound in every choice: the value of
   the other is larger by at least the distance of their vectors (triangle inequality).
4. Blocks are joined to chunks whose choices are enumerated. Chunks are combined with |sum u|² <= sum |u_k|² / w_k
   (Cauchy-Schwarz, weights with sum 1) and sqrt(x) <= (t + x / t) / 2. Each chunk then has its maximum separately.
   Every t and every w give a valid bound; a few iterations make it tight.

Axes: R leading axes, B blocks, K options of a block, S seeds.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fair_distill.gate.confusion import Floats
from fair_distill.gate.degrees_of_freedom import johnson
from fair_distill.gate.quantiles import t_quantiles
from fair_distill.gate.signed_contrasts import SignedContrasts

# Choices of one chunk.
_MOST_OF_CHUNK = 1 << 12
_ITERATIONS = 6
# Cells of the search for the fewest degrees of freedom.
_CELLS = 64


class Parts(NamedTuple):
    """The bound of the choice that decides, its mean, and the half-widths of examples and of seeds, each (R,)."""

    upper: Floats
    centre: Floats
    examples: Floats
    seeds: Floats


class _Chunk(NamedTuple):
    """The choices of one chunk: values, squares of the examples' half-widths and vectors of seeds, (R, M[, S])."""

    values: Floats
    squares: Floats
    vectors: Floats


def bounded(options: SignedContrasts, alpha: float) -> Parts:
    """Return an upper bound of all choices, as if it were the bound of the choice with the largest value."""
    blocks, size, count = options.deviations.shape[-3:]
    leading = options.values.shape[:-2]
    best = options.values.argmax(axis=-1)[..., None]
    centre = np.take_along_axis(options.values, best, axis=-1)[..., 0].mean(axis=-1)
    if options.seeds_are_sampled and count < 2:
        infinite = np.full_like(centre, np.inf)
        return Parts(infinite, centre, np.zeros_like(centre), infinite)
    scale = np.sqrt(count * max(count - 1, 1))
    vectors = options.deviations / scale * options.seeds_are_sampled
    q_examples, q = options.quantiles(t_quantiles(alpha, _fewest_freedom(options, vectors)), alpha)
    widths = options.examples(q_examples)
    values = options.values
    if options.seeds_are_sampled and options.bends is not None:
        values = values + np.maximum(options.bends, 0) * johnson(alpha, count)
    kept = np.ones((blocks, size), dtype=bool)
    rest = np.maximum(np.square(widths) - np.square(q)[..., None, None] * options.interactions, 0)
    scaled = q[..., None, None, None] * vectors
    if options.correlations is None:
        if not leading:
            kept = _not_dominated(values, np.sqrt(rest), scaled)
        chunks = [_chunk(block, kept, values, rest, scaled) for block in _joined(kept)]
        alone = [
            _Chunk(values[..., b, :], np.square(widths[..., b, :]), 0 * scaled[..., b, :, :]) for b in range(blocks)
        ]
        upper = np.maximum(_combined(chunks), _combined(alone))
    else:
        # The examples of all blocks may be fully correlated: their half-widths add like the scatter of one more seed.
        joint = np.concatenate([widths[..., None], scaled], axis=-1)
        chunks = [_chunk(block, kept, values, np.zeros_like(widths), joint) for block in _joined(kept)]
        upper = _combined(chunks)
    upper = upper / blocks
    examples = np.sqrt(np.square(np.take_along_axis(widths, best, axis=-1)[..., 0]).sum(axis=-1)) / blocks
    examples = np.minimum(examples, upper - centre)
    return Parts(upper, centre, examples, np.sqrt(np.maximum((upper - centre) ** 2 - examples**2, 0)))


def _fewest_freedom(options: SignedContrasts, vectors: Floats) -> Floats:
    """Return degrees of freedom that no choice falls short of, (R,); see `satterthwaite`.

    With the variance E of the examples, the variance x of the seeds and the interaction I, they are
    (E + max(x - I, 0))² / (E² / f + c x²). For given x they are smallest at an end of the range of E. The range of x is
    cut into cells, and each cell gets its smallest numerator and largest denominator.
    """
    count = options.deviations.shape[-1]
    freedom = options.least_freedom
    if not options.seeds_are_sampled or count < 2:
        return freedom
    kept = np.ones(options.values.shape[-2:], dtype=bool)
    none = np.zeros_like(options.values)
    norms = [np.sqrt(np.square(_chunk(b, kept, none, none, vectors).vectors).sum(-1)).max(-1) for b in _joined(kept)]
    largest = np.square(np.sum(norms, axis=0))
    interaction = options.interactions.max(axis=-1).sum(axis=-1)
    variance = np.sqrt(options.variances)
    least = options.variances.min(axis=-1).sum(axis=-1)
    most = options.variances.max(axis=-1).sum(axis=-1)
    if options.correlations is not None:
        most = np.square(variance.max(axis=-1).sum(axis=-1))
    ends = np.linspace(0, 1, _CELLS + 1) * np.asarray(largest)[..., None]
    added = np.maximum(ends[..., :-1] - np.asarray(interaction)[..., None], 0)
    factor = (count + 1) / (count - 1) ** 2
    fewest = []
    for examples in (np.asarray(least)[..., None], np.asarray(most)[..., None]):
        spread = examples**2 / np.maximum(np.asarray(freedom)[..., None], 1e-12)
        fewest.append(((examples + added) ** 2 / (spread + factor * ends[..., 1:] ** 2)).min(axis=-1))
    return np.asarray(np.maximum(np.minimum(*fewest), np.minimum(freedom, count - 1)))


def _not_dominated(values: Floats, widths: Floats, vectors: Floats) -> NDArray[np.bool_]:
    """Return which options of each block (B, K) are needed.

    The norm grows by at most the distance of the vectors of two options, and not at all where a half-width is smaller.
    """
    kept = np.ones(values.shape, dtype=bool)
    for b, order in enumerate(np.argsort(-values, axis=-1, kind="stable")):
        survivors: list[int] = []
        for j in order.tolist():
            steps = np.maximum(widths[b, j] - widths[b, survivors], 0)
            distances = np.hypot(steps, np.sqrt(np.square(vectors[b, j] - vectors[b, survivors]).sum(axis=-1)))
            if (values[b, survivors] - values[b, j] >= distances).any():
                kept[b, j] = False
            else:
                survivors.append(j)
    return kept


def _joined(kept: NDArray[np.bool_]) -> list[range]:
    """Return ranges of blocks whose options have few enough combinations."""
    chunks, start, combinations = [], 0, 1
    for b, options in enumerate(kept.sum(axis=1).tolist()):
        if b > start and combinations * options > _MOST_OF_CHUNK:
            chunks.append(range(start, b))
            start, combinations = b, 1
        combinations *= options
    return [*chunks, range(start, len(kept))]


def _chunk(blocks: range, kept: NDArray[np.bool_], values: Floats, squares: Floats, vectors: Floats) -> _Chunk:
    """Enumerate the choices of some blocks."""
    choices = np.array(list(product(*(np.flatnonzero(kept[b]).tolist() for b in blocks))))
    return _Chunk(
        np.asarray(sum(values[..., b, choices[:, i]] for i, b in enumerate(blocks))),
        np.asarray(sum(squares[..., b, choices[:, i]] for i, b in enumerate(blocks))),
        np.asarray(sum(vectors[..., b, choices[:, i], :] for i, b in enumerate(blocks))),
    )


def _combined(chunks: list[_Chunk]) -> Floats:
    """Return an upper bound of the sum of values plus the norm of the sums, over one choice of each chunk, (R,)."""
    seeds = [np.square(chunk.vectors).sum(axis=-1) for chunk in chunks]
    if len(chunks) == 1:
        return np.asarray((chunks[0].values + np.sqrt(chunks[0].squares + seeds[0])).max(axis=-1))
    picks = [chunk.values.argmax(axis=-1) for chunk in chunks]
    best = np.full(chunks[0].values.shape[:-1], np.inf)
    for _ in range(_ITERATIONS):
        norms = np.stack([np.sqrt(_at(each, pick)) for each, pick in zip(seeds, picks, strict=True)])
        examples = sum(_at(chunk.squares, pick) for chunk, pick in zip(chunks, picks, strict=True))
        weights = norms + 1e-3 * norms.sum(axis=0) + 1e-12
        weights = weights / weights.sum(axis=0)
        t = np.sqrt(examples + np.square(norms.sum(axis=0))) + 1e-12
        penalised = [
            chunk.values + (chunk.squares + each / weight[..., None]) / (2 * t[..., None])
            for chunk, each, weight in zip(chunks, seeds, weights, strict=True)
        ]
        picks = [each.argmax(axis=-1) for each in penalised]
        best = np.minimum(best, t / 2 + sum(_at(each, pick) for each, pick in zip(penalised, picks, strict=True)))
    return np.asarray(best)


def _at(values: Floats, picks: NDArray[np.int64]) -> Floats:
    return np.asarray(np.take_along_axis(values, np.asarray(picks)[..., None], axis=-1)[..., 0])
