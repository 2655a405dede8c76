"""Shares are kept in every cell, and what belongs together stays together."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fair_distill.data.column_builders import CategoryColumn
from fair_distill.data.columns import SourceData
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.splits import split_by_share, split_rows
from fair_distill.errors import ConfigError, DataError

SHARES: dict[str, float | str] = {"train": 0.5, "tune": 0.1, "gate": 0.4}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def source(n: int, **more: Any) -> SourceData:
    numbers = np.arange(n)
    cells: dict[str, Any] = {"group_indices": numbers // 2 % 2, "groups": ("x", "y")}
    return SourceData(np.zeros((n, 1, 8, 8), np.uint8), numbers % 2, ("a", "b"), **(cells | more))


def cells(data: SourceData, rows: Array) -> list[int]:
    assert data.group_indices is not None
    return np.bincount(data.labels[rows] * 2 + data.group_indices[rows], minlength=4).tolist()


def test_every_cell_is_dealt_out_by_share() -> None:
    data = source(400)

    parts = split_rows(data, SHARES, rng())

    assert {name: cells(data, rows) for name, rows in parts.items()} == {
        "train": [50] * 4,
        "tune": [10] * 4,
        "gate": [40] * 4,
    }
    assert sorted(np.concatenate(list(parts.values()))) == list(range(400))


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=60),
    st.lists(st.integers(0, 2), min_size=60, max_size=60),
    st.integers(0, 3),
)
def test_no_unit_is_torn_apart_and_every_row_is_in_one_split(units: list[int], strata: list[int], seed: int) -> None:
    bound = np.array(units)

    parts = split_by_share(np.array(strata[: len(units)]), bound, {"train": 0.5, "gate": 0.5}, rng(seed))

    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(units)))
    if len(set(units)) < len(units):
        assert not set(bound[parts["train"]]) & set(bound[parts["gate"]])


def test_units_of_many_cells_still_come_out_by_share() -> None:
    strata, units = rng(1).integers(0, 4, 2000), rng(2).integers(0, 200, 2000)

    parts = split_by_share(strata, units, {"train": 0.5, "tune": 0.1, "gate": 0.4}, rng())

    totals = np.bincount(strata)
    for name, share in (("train", 0.5), ("tune", 0.1), ("gate", 0.4)):
        assert np.abs(np.bincount(strata[parts[name]]) / totals - share).max() < 0.03


@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 10**6))
def test_units_are_dealt_as_one_would_by_hand(n_strata: int, n_units: int, seed: int) -> None:
    strata, units = rng(seed).integers(0, n_strata, 120), rng(seed + 1).integers(0, n_units, 120)
    shares = {"train": 0.55, "tune": 0.15, "gate": 0.3}

    parts = split_by_share(strata, units, shares, rng(seed))

    totals = np.bincount(strata, minlength=n_strata)
    lacking = np.array([[share] for share in shares.values()]) * totals
    distinct = np.unique(units)
    shuffled = rng(seed).permutation(len(distinct))
    for unit in sorted(shuffled, key=lambda unit: -np.sum(units == distinct[unit])):
        rows = np.flatnonzero(units == distinct[unit])
        held = np.bincount(strata[rows], minlength=n_strata)
        lacks = [sum(row[y] / totals[y] * held[y] for y in range(n_strata) if held[y]) for row in lacking]
        chosen = lacks.index(max(lacks))
        lacking[chosen] -= held
        assert set(rows) <= set(parts[list(shares)[chosen]])


def test_one_large_unit_goes_where_there_is_room() -> None:
    units = np.array([0] * 50 + list(range(1, 51)))

    parts = split_by_share(np.zeros(100, int), units, {"train": 0.6, "gate": 0.4}, rng())

    assert set(range(50)) <= set(parts["train"].tolist())
    assert len(parts["train"]) == 60


def test_pairs_and_clusters_are_kept_together_also_through_each_other() -> None:
    # Pair k is images 2k and 2k+1; cluster links the second of a pair with the first of the next, five pairs long.
    pairs = np.arange(200) // 2
    clusters = np.where(np.arange(200) % 10 == 0, 1000 + np.arange(200), (np.arange(200) + 1) // 2)
    clusters = np.unique(clusters, return_inverse=True)[1]
    data = source(200, pairs=pairs, clusters=clusters)

    parts = split_rows(data, SHARES, rng())

    for rows in parts.values():
        assert len(rows) % 10 == 0
        assert np.array_equal(np.unique(rows // 10).repeat(10), rows // 10)


def test_the_deal_follows_its_generator_and_nothing_else() -> None:
    for more in ({}, {"clusters": np.arange(100) // 2}):
        once, again, different = (split_rows(source(100, **more), SHARES, rng(seed))["train"] for seed in (1, 1, 2))
        assert np.array_equal(once, again)
        assert not np.array_equal(once, different)


def test_a_named_split_is_taken_and_shares_are_of_the_rest() -> None:
    data = source(200, splits=CategoryColumn.from_text(["learn"] * 120 + ["test"] * 80))

    parts = split_rows(data, {"train": 0.9, "tune": 0.1, "gate": "test"}, rng())

    assert list(parts) == ["train", "tune", "gate"]
    assert parts["gate"].tolist() == list(range(120, 200))
    assert (len(parts["train"]), len(parts["tune"])) == (108, 12)
    assert max(parts["train"].max(), parts["tune"].max()) < 120


NAMES = CategoryColumn.from_text(["a"] * 20 + ["b"] * 20 + ["c"] * 20)
NAMED: dict[str, float | str] = {"train": "a", "tune": "b", "gate": "c"}


def test_all_splits_may_have_names() -> None:
    parts = split_rows(source(60, splits=NAMES), NAMED, rng())

    assert [rows.tolist() for rows in parts.values()] == [list(range(20)), list(range(20, 40)), list(range(40, 60))]


@pytest.mark.parametrize(
    ("data", "splits", "error", "message"),
    [
        (source(60), NAMED, ConfigError, r"data\.splits\.train is 'a', but the source has no named splits"),
        (source(60, splits=NAMES), SHARES, ConfigError, r"has named splits \(a, b, c\), but .* uses none of them"),
        (source(60, splits=NAMES), NAMED | {"gate": "d"}, DataError, r"gate is 'd'; the source has the splits a, b, c"),
        (
            source(80, splits=CategoryColumn.from_text([*NAMES.tolist(), *["z"] * 20])),
            NAMED,
            DataError,
            "20 examples have no split, for example of the source's split 'z'",
        ),
        (source(60, splits=NAMES), {"train": "a", "tune": 1.0, "gate": "z"}, DataError, "gate is 'z'"),
        (
            source(60, splits=NAMES, clusters=np.arange(60) // 8),
            NAMED,
            DataError,
            "1 clusters are in both train and tune; a cluster must be in one split",
        ),
        (source(60, splits=NAMES, pairs=np.arange(60) % 50), NAMED, DataError, "10 pairs are in both train and gate"),
    ],
)
def test_names_that_do_not_fit_are_refused(
    data: SourceData, splits: dict[str, float | str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        split_rows(data, splits, rng())
