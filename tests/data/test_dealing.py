"""Units are dealt by share, a unit's split does not depend on the other units, and units that were dealt stay."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fair_distill.data import dealing
from fair_distill.data.dealing import EXACT_UNITS, deal, hash_split
from fair_distill.data.grouped_dataset import Array

SHARES = (0.5, 0.1, 0.4)


def digests(n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


def singles(strata: Array, names: Array, **more: object) -> Array:
    return deal(strata, np.arange(len(strata)), names, SHARES, **({"key": 0} | more))  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(0, 10**6))
def test_a_small_cell_gets_its_shares_to_within_one_unit(sizes: list[int], key: int) -> None:
    strata = np.repeat(np.arange(len(sizes)), sizes)

    splits = singles(strata, digests(len(strata)), key=key)

    for stratum, size in enumerate(sizes):
        counts = np.bincount(splits[strata == stratum], minlength=3)
        assert np.abs(counts - np.array(SHARES) * size).max() <= 1 + 1e-9


def test_most_units_of_a_small_cell_go_where_their_hash_says() -> None:
    names = digests(1000)

    splits = singles(np.zeros(1000, int), names)

    assert np.bincount(splits).tolist() == [500, 100, 400]
    assert (splits == hash_split(names, SHARES, key=0)).mean() > 0.95


def test_a_large_cell_gets_its_shares_as_random_draws_do() -> None:
    n = 40 * EXACT_UNITS
    for key in range(5):
        counts = np.bincount(singles(np.zeros(n, int), digests(n, seed=key), key=key))
        assert stats.chisquare(counts, np.array(SHARES) * n).pvalue > 1e-4


def test_another_key_gives_independent_splits() -> None:
    names = digests(20_000)
    first, second = (hash_split(names, SHARES, key=key) for key in (1, 2))

    table = np.histogram2d(first, second, bins=3)[0]

    assert stats.chi2_contingency(table).pvalue > 1e-4


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50, unique=True), st.data())
def test_without_small_cells_no_unit_depends_on_another(names: list[int], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dealing, "EXACT_UNITS", 0)
        whole, part = (
            dict(zip(units, singles(np.zeros(len(units), int), np.array(units, np.uint64)).tolist(), strict=True))
            for units in (names, chosen)
        )

    assert part == {name: whole[name] for name in chosen}


@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 10**6))
def test_units_of_several_cells_are_dealt_as_one_would_by_hand(n_strata: int, n_units: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    strata, units = rng.integers(0, n_strata, 120), rng.integers(0, n_units, 120)
    names, known = digests(n_units, seed), rng.integers(-1, 3, n_units).astype(np.int8)
    units[:n_units] = np.arange(n_units)  # every unit occurs

    splits = deal(strata, units, names, SHARES, key=seed, known=known)

    assert (splits[known >= 0] == known[known >= 0]).all()
    totals = np.bincount(strata, minlength=n_strata)
    lacking = np.outer(SHARES, totals)
    for unit in np.flatnonzero(known >= 0):
        lacking[known[unit]] -= np.bincount(strata[units == unit], minlength=n_strata)
    hashed = hash_split(names, SHARES, key=seed)
    for unit in sorted(np.flatnonzero(known < 0), key=lambda unit: (-np.sum(units == unit), names[unit])):
        held = np.bincount(strata[units == unit], minlength=n_strata)
        weights = [held[y] / totals[y] if totals[y] else 0.0 for y in range(n_strata)]
        lacks = [sum(row[y] * weights[y] for y in range(n_strata)) for row in lacking]
        enough = sum((held[y] - 0.5) * weights[y] for y in range(n_strata))
        best = max(lacks)
        if lacks[hashed[unit]] >= enough + 1e-9:
            assert splits[unit] == hashed[unit]
        elif lacks[hashed[unit]] < enough - 1e-9:
            assert lacks[splits[unit]] >= best - 1e-9
        lacking[splits[unit]] -= held


def test_one_large_unit_goes_where_there_is_room() -> None:
    units = np.array([0] * 50 + list(range(1, 51)))

    for key in range(10):
        splits = deal(np.zeros(100, int), units, digests(51), (0.6, 0.4), key=key)

        assert splits[0] == 0
        assert np.bincount(splits[units]).tolist() == [60, 40]


@given(st.data())
def test_units_that_were_dealt_stay_and_new_ones_fill_the_shares(data: st.DataObject) -> None:
    cells: Sequence[int] = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=80))
    strata, names = np.array(cells), digests(len(cells))
    before = data.draw(st.lists(st.sampled_from(range(len(cells))), unique=True))
    known = np.full(len(cells), -1, np.int8)
    known[before] = singles(strata[before], names[before]) if before else 0

    splits = singles(strata, names, known=known)

    assert (splits[before] == known[before]).all()
    for stratum in set(cells):
        counts = np.bincount(splits[strata == stratum], minlength=3)
        assert np.abs(counts - np.array(SHARES) * np.sum(strata == stratum)).max() < 2
