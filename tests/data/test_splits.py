"""Every cell gets its shares, linked examples stay together, and named splits of the source win."""

from typing import Any

import numpy as np
import pytest

from fair_distill.data.column_builders import CategoryColumn
from fair_distill.data.columns import SourceData
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.splits import split_rows
from fair_distill.data.units import name_units
from fair_distill.errors import ConfigError, DataError

SHARES: dict[str, float | str] = {"train": 0.5, "tune": 0.1, "gate": 0.4}


def source(n: int, **more: Any) -> SourceData:
    numbers = np.arange(n)
    cells: dict[str, Any] = {"group_indices": numbers // 2 % 2, "groups": ("x", "y")}
    images = np.zeros((n, 1, 8, 8), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = numbers % 256, numbers // 256
    return SourceData(images, numbers % 2, ("a", "b"), **(cells | more))


def deal(data: SourceData, splits: dict[str, float | str], key: int = 0) -> dict[str, Array]:
    return split_rows(data, splits, name_units(data), key=key)


def cells(data: SourceData, rows: Array) -> list[int]:
    assert data.group_indices is not None
    return np.bincount(data.labels[rows] * 2 + data.group_indices[rows], minlength=4).tolist()


def test_every_cell_is_dealt_out_by_share() -> None:
    data = source(400)

    parts = deal(data, SHARES)

    assert {name: cells(data, rows) for name, rows in parts.items()} == {
        "train": [50] * 4,
        "tune": [10] * 4,
        "gate": [40] * 4,
    }
    assert sorted(np.concatenate(list(parts.values()))) == list(range(400))


def test_pairs_and_clusters_are_kept_together_also_through_each_other() -> None:
    # Pair k is images 2k and 2k+1; cluster links the second of a pair with the first of the next, five pairs long.
    pairs = np.arange(200) // 2
    clusters = np.where(np.arange(200) % 10 == 0, 1000 + np.arange(200), (np.arange(200) + 1) // 2)
    clusters = np.unique(clusters, return_inverse=True)[1]
    data = source(200, pairs=pairs, clusters=clusters)

    parts = deal(data, SHARES)

    for rows in parts.values():
        assert len(rows) % 10 == 0
        assert np.array_equal(np.unique(rows // 10).repeat(10), rows // 10)


def test_the_key_determines_the_splits() -> None:
    for more in ({}, {"clusters": np.arange(100) // 2}):
        once, again, different = (deal(source(100, **more), SHARES, key)["train"] for key in (1, 1, 2))
        assert np.array_equal(once, again)
        assert not np.array_equal(once, different)


def test_a_named_split_is_taken_and_shares_are_of_the_rest() -> None:
    data = source(200, splits=CategoryColumn.from_text(["learn"] * 120 + ["test"] * 80))

    parts = deal(data, {"train": 0.9, "tune": 0.1, "gate": "test"})

    assert list(parts) == ["train", "tune", "gate"]
    assert parts["gate"].tolist() == list(range(120, 200))
    assert (len(parts["train"]), len(parts["tune"])) == (108, 12)
    assert max(parts["train"].max(), parts["tune"].max()) < 120


NAMES = CategoryColumn.from_text(["a"] * 20 + ["b"] * 20 + ["c"] * 20)
NAMED: dict[str, float | str] = {"train": "a", "tune": "b", "gate": "c"}


def test_all_splits_may_have_names() -> None:
    parts = deal(source(60, splits=NAMES), NAMED)

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
        deal(data, splits)
