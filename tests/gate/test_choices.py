"""The bound of a mean of largest gaps against brute force over all choices, and its bound for many choices."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fair_distill.gate import choices
from fair_distill.gate.bounds import Contrasts, level, minus, on_the_same, stacked
from fair_distill.gate.choices import MeanOfLargest
from fair_distill.gate.evidence import absolute_upper

ALPHA = 0.05


def unpaired(blocks: int, groups: int, rng: np.random.Generator, *, n: int = 60, seeds: int = 4) -> Contrasts:
    """The differences between every two groups in every block."""
    parts = []
    for _ in range(blocks):
        hard = rng.random((groups, 1, n)) * 0.7 + rng.random((groups, seeds, n)) * 0.3
        rates = 0.75 + 0.06 * rng.standard_normal((groups, seeds, 1))
        levels = [level((hard[g] < rates[g]).astype(float)[None]) for g in range(groups)]
        parts += [minus(levels[a], levels[b]) for a in range(groups) for b in range(a)]
    return stacked(parts)


def paired(blocks: int, rng: np.random.Generator, *, n: int = 60, seeds: int = 4, down: float = 0.2) -> Contrasts:
    return on_the_same(rng.choice([-1.0, 0.0, 1.0], (blocks, seeds, n), p=[down, 0.8 - down, 0.2]))


def brute_force(contrasts: Contrasts, blocks: int) -> tuple[float, float]:
    """The largest bound of all choices, one by one, with SciPy's quantiles and the formulas of the docstrings.

    First with the quantile of each choice, then with the largest quantile of all choices.
    """
    per_block = len(contrasts.seeds) // blocks
    count = contrasts.seeds.shape[1]
    variances, spreads = contrasts.variances_of_examples
    interaction = np.where(contrasts.is_extreme, 0, contrasts.interaction)
    signed = [(j, sign) for j in range(per_block) for sign in (1, -1)]
    drawn = []
    for choice in product(signed, repeat=blocks):
        index = [b * per_block + j for b, (j, _) in enumerate(choice)]
        signs = np.array([sign for _, sign in choice])
        seeds = (signs[:, None] * contrasts.seeds[index]).mean(axis=0)
        of_seeds = seeds.var(ddof=1) / count
        scatter = max(of_seeds - interaction[index].sum() / blocks**2, 0)
        examples, spread = variances[index].sum() / blocks**2, spreads[index].sum() / blocks**4
        freedom = (examples + scatter) ** 2 / (spread + of_seeds**2 * (count + 1) / (count - 1) ** 2)
        freedom = max(freedom, min(examples**2 / spread, count - 1))
        lean = 0.0
        if contrasts.bend is not None:
            for sign, j in zip(signs, index, strict=True):
                scatters = seeds.std() > 0 and contrasts.seeds[j].std() > 0
                correlation = np.corrcoef(seeds, contrasts.seeds[j])[0, 1] if scatters else 0.0
                lean += sign * contrasts.bend[j] * correlation**2 / blocks
        drawn.append((index, signs, seeds.mean(), scatter, freedom, lean))
    extreme = contrasts.is_extreme.any()
    alone = stats.t.isf(ALPHA, (variances**2 / spreads).min()), stats.t.isf(ALPHA, count - 1)
    largest = stats.t.isf(ALPHA, min(freedom for *_, freedom, _ in drawn))
    johnson = (1 + 2 * stats.t.isf(ALPHA, count - 1) ** 2) / count
    bounds: list[list[float]] = [[], []]
    for index, signs, mean, scatter, freedom, lean in drawn:
        for q, of_choices in zip((stats.t.isf(ALPHA, freedom), largest), bounds, strict=True):
            of_examples, of_seeds = alone if extreme else (q, q)
            widths = [
                float(contrasts[j : j + 1].examples(np.array([of_examples]), int(sign))[0])
                for j, sign in zip(index, signs, strict=True)
            ]
            from_seeds = of_seeds * math.sqrt(scatter) + max(lean, 0) * johnson
            of_choices.append(mean + math.hypot(math.hypot(*widths) / blocks, from_seeds))
    return max(bounds[0]), max(bounds[1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("blocks", "groups", "networks"), [(1, 2, 4), (4, 2, 4), (2, 3, 4), (3, 2, 2)])
def test_the_bound_of_a_mean_is_the_largest_of_all_choices(blocks: int, groups: int, networks: int, seed: int) -> None:
    contrasts = unpaired(blocks, groups, np.random.default_rng(seed), seeds=networks)

    least, most = brute_force(contrasts, blocks)
    assert least * (1 - 1e-9) <= MeanOfLargest(contrasts, blocks).upper(ALPHA) <= most * (1 + 1e-4)
    assert MeanOfLargest(contrasts, blocks).upper(ALPHA) <= 1.05 * least


def test_paired_differences_are_chosen_like_others() -> None:
    contrasts = paired(5, np.random.default_rng(0))

    least, most = brute_force(contrasts, 5)
    assert least * (1 - 1e-9) <= MeanOfLargest(contrasts, 5).upper(ALPHA) <= most * (1 + 1e-4)


def test_one_contrast_has_the_bound_of_its_absolute_value() -> None:
    contrasts = unpaired(1, 2, np.random.default_rng(1))

    assert MeanOfLargest(contrasts, 1).upper(ALPHA) == pytest.approx(absolute_upper(contrasts)(ALPHA)[0], rel=1e-3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("blocks", "groups", "seeds"), [(6, 2, 2), (6, 2, 3), (3, 3, 5), (2, 4, 10)])
@pytest.mark.parametrize("treatment", ["normal", "given"])
def test_the_bound_for_many_choices_is_not_smaller_and_close(
    blocks: int, groups: int, seeds: int, treatment: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contrasts = unpaired(blocks, groups, np.random.default_rng(seed), seeds=seeds)
    mean = MeanOfLargest(Contrasts(**{**vars(contrasts), "treatment": treatment}), blocks)
    exact = mean.parts(ALPHA)

    monkeypatch.setattr(choices, "MOST_CHOICES", 0)
    bound = mean.parts(ALPHA)
    assert bound.upper >= exact.upper - 1e-12
    assert bound.upper - mean.value < 1.5 * (exact.upper - mean.value)
    # Chunks of one block are the coarsest division.
    monkeypatch.setattr("fair_distill.gate.many_choices._MOST_OF_CHUNK", 1)
    coarse = mean.parts(ALPHA)
    assert coarse.upper >= exact.upper - 1e-12


def test_many_classes_and_groups_are_bounded_in_bounded_time_and_less_widely_than_class_by_class() -> None:
    contrasts = unpaired(10, 5, np.random.default_rng(2), n=200, seeds=5)
    mean = MeanOfLargest(contrasts, 10)  # 20^10 choices

    each = absolute_upper(contrasts)(ALPHA).reshape(10, -1).max(axis=1).mean()
    assert mean.value < mean.upper(ALPHA) < mean.value + 0.8 * (each - mean.value)


def test_scatter_of_seeds_that_cancels_between_blocks_costs_nothing() -> None:
    rng = np.random.default_rng(3)
    one = unpaired(1, 2, rng)
    # In the second block the same networks deviate in the other direction, about a clear gap in both.
    values = 0.5 + np.array([one.seeds[0] - one.value[0], one.value[0] - one.seeds[0]])
    both = stacked([one, one])
    both = Contrasts(**{**vars(both), "seeds": values, "bend": None})

    cancelled = MeanOfLargest(both, 2).parts(ALPHA)
    assert cancelled.centre == pytest.approx(0.5)
    assert cancelled.seeds == pytest.approx(0, abs=1e-12)
    assert MeanOfLargest(one, 1).parts(ALPHA).seeds > 0.01


def test_clusters_in_several_blocks_that_move_together_widen_the_bound_and_others_do_not_narrow_it() -> None:
    contrasts = paired(3, np.random.default_rng(4), n=400, down=0.0)  # 0.2 in every block
    apart = MeanOfLargest(contrasts, 3).parts(ALPHA)
    moves = np.random.default_rng(5).standard_normal((1, 40)) * np.ones((3, 1))

    together = MeanOfLargest(contrasts, 3, moves).parts(ALPHA)
    assert together.examples > 1.2 * apart.examples
    unrelated = MeanOfLargest(contrasts, 3, np.eye(3)).parts(ALPHA)
    assert unrelated.upper >= apart.upper - 0.001  # the quantile has slightly other degrees of freedom


def test_leading_axes_are_separate_sets() -> None:
    parts = [unpaired(3, 2, np.random.default_rng(seed)) for seed in range(3)]
    together = stacked([part[None] for part in parts])

    np.testing.assert_allclose(
        MeanOfLargest(together, 3).upper(ALPHA), [MeanOfLargest(part, 3).upper(ALPHA) for part in parts]
    )


def test_the_parts_of_a_bound_without_a_distribution_of_networks_add_up_to_it() -> None:
    contrasts = unpaired(2, 2, np.random.default_rng(8), seeds=30)
    parts = MeanOfLargest(Contrasts(**{**vars(contrasts), "treatment": "bounded"}), 2).parts(ALPHA)

    assert parts.upper == pytest.approx(parts.centre + parts.examples + parts.seeds)


def test_the_mean_of_one_seed_is_not_bounded() -> None:
    contrasts = unpaired(2, 2, np.random.default_rng(6), seeds=1)

    assert MeanOfLargest(contrasts, 2).upper(ALPHA) == np.inf
    given = Contrasts(**{**vars(contrasts), "treatment": "given"})
    assert MeanOfLargest(given, 2).upper(ALPHA) < 1


def test_one_contrast_of_an_extreme_rate_has_the_bound_of_its_absolute_value() -> None:
    # 60 examples at a rate of 0.99 often have no error, so their variance is uncertain.
    rng, seeds = np.random.default_rng(7), 5
    right = rng.random((1, 1, 60)) < np.full((1, seeds, 1), 0.99)
    most = rng.random((1, 1, 2000)) < 0.84 + 0.03 * rng.standard_normal((1, seeds, 1))
    contrasts = minus(level(right.astype(float)), level(most.astype(float)))

    assert contrasts.is_extreme.all()
    np.testing.assert_allclose(MeanOfLargest(contrasts, 1).upper(ALPHA), absolute_upper(contrasts)(ALPHA)[0])
