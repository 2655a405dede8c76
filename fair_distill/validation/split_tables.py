"""Light tables of what a split holds: a row per example, per cell and per class. No image goes through pandas.

One pass over the pixels, in batches of rows, takes from each image its digests and its range; Great
Expectations then works on a few dozen bytes per example.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.formats.row_schema import Numeric
from fair_distill.validation.near_duplicates import near_facts, sketch

_BATCH_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Examples:
    """What one pass over a split leaves: a row an example, and a sketch of each image, in the same order.

    Attributes
    ----------
    table :
        example : row in the dataset
        id : what it is called where it is named: its own id, or its pair where the source gave none
        pair : number shared by examples that show the same thing in different groups
        cluster : number shared by examples that are not independent; only where the source has clusters
        class, group : by name; missing for index -1, `#7` for an index 7 that has no name
        pixels : SHA-256 of the pixels; equal for exact duplicates
        minimum, maximum, mean, finite : of the pixels
        row.NAME : for the rows of a table, each column, decoded; missing where a category has none of its values
    sketches, seen : see `near.sketch`
    """

    table: pd.DataFrame
    sketches: Array
    seen: Array


def examples_of(dataset: GroupedDataset) -> Examples:
    """Return the facts about each example, sorted by them and not by where the example stands."""
    size = max(1, _BATCH_BYTES // (math.prod(dataset.shape) * dataset.images.itemsize))
    starts = range(0, max(1, len(dataset)), size)
    batches = [_pixel_facts(dataset.images[start : start + size]) for start in starts]
    facts = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    sketches, seen = facts.pop("sketches"), facts.pop("seen")
    table = pd.DataFrame(
        {
            "example": np.arange(len(dataset)),
            "id": dataset.pairs if dataset.ids is None else np.asarray(dataset.ids, dtype=object),
            "pair": dataset.pairs,
            **({} if dataset.clustered is None else {"cluster": dataset.clustered}),
            "class": _named(dataset.labels, dataset.classes),
            "group": _named(dataset.group_indices, dataset.groups),
            **facts,
            **_row_columns(dataset),
        }
    )
    # The same examples in another order are the same table but for `example`: what is reported stays the same.
    table = table.sort_values(["pair", "group", "class", "pixels"], ignore_index=True)
    order = table["example"].to_numpy()
    return Examples(table, sketches[order], seen[order])


def with_overlaps(
    splits: Mapping[str, Examples], *, distance: int, difference: float
) -> tuple[dict[str, pd.DataFrame], int]:
    """Add to each split's table which earlier split holds the same id, pair, cluster or pixels, or an image near it.

    A later split is held against the earlier ones only, so that an overlap is reported once, where it does
    harm: training data come first. `near_also_in` and `near_in` are left to examples for which nothing worse is known;
    `near_in` is the split itself. The number is of sketches that were not compared with all others, see `near_facts`.
    """
    whole = pd.concat([examples.table for examples in splits.values()], ignore_index=True)
    at = np.repeat(np.arange(len(splits)), [len(examples.table) for examples in splits.values()])
    names = np.array([*splits, None], dtype=object)
    found = {key: _earliest(whole[key], at) for key in ("id", "pair", "cluster", "pixels") if key in whole}
    near, within, incomplete = near_facts(
        np.concatenate([examples.sketches for examples in splits.values()]),
        np.concatenate([examples.seen for examples in splits.values()]),
        at,
        whole["pair"].to_numpy(),
        distance=distance,
        difference=difference,
    )
    worse = np.any([earliest >= 0 for earliest in found.values()], axis=0)
    within &= ~whole["pixels"].duplicated(keep=False).to_numpy()
    near[worse] = -1
    whole = whole.assign(
        **{f"{key}_also_in": names[earliest] for key, earliest in found.items()},
        near_also_in=names[near],
        near_in=names[np.where(within, at, -1)],
    )
    return {split: whole[at == i].reset_index(drop=True) for i, split in enumerate(splits)}, incomplete


def split_table(splits: Mapping[str, GroupedDataset]) -> pd.DataFrame:
    """Return a row a split: type and shape of its images, the names of its classes and known groups, its columns."""
    return pd.DataFrame(
        [
            {
                "split": split,
                "examples": len(dataset),
                "type": str(dataset.images.dtype),
                "shape": listed(dataset.shape),
                "classes": listed(dataset.classes),
                "groups": listed(name for name, known in zip(dataset.groups, dataset.known, strict=True) if known),
                "columns": "" if dataset.schema is None else listed(column.name for column in dataset.schema.columns),
            }
            for split, dataset in splits.items()
        ]
    )


def listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def cell_table(
    splits: Mapping[str, GroupedDataset], *, classes: Sequence[str] = (), groups: Sequence[str] = ()
) -> pd.DataFrame:
    """Return split, class, group, whether it is known, and count; a row for every cell, also for an empty one.

    What is declared in `classes` and `groups` has cells whether or not a split knows the name.
    """
    parts = []
    for split, dataset in splits.items():
        n_classes, n_groups = len(dataset.classes), len(dataset.groups)
        # Counted from the rows, not read off the offsets: what is declared is what is being checked.
        named = (
            (dataset.labels >= 0)
            & (dataset.labels < n_classes)
            & (dataset.group_indices >= 0)
            & (dataset.group_indices < n_groups)
        )
        of_class, of_group = _joined(dataset.classes, classes), _joined(dataset.groups, groups)
        known = np.append(dataset.known, np.ones(len(of_group) - n_groups, bool))
        cells = dataset.labels[named] * len(of_group) + dataset.group_indices[named]
        parts.append(
            pd.DataFrame(
                {
                    "split": split,
                    "class": np.repeat(np.array(of_class), len(of_group)),
                    "group": np.tile(np.array(of_group), len(of_class)),
                    "known": np.tile(known, len(of_class)),
                    "count": np.bincount(cells, minlength=len(of_class) * len(of_group)),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def class_table(cells: pd.DataFrame) -> pd.DataFrame:
    """Return split, class, largest and smallest cell and their ratio, the imbalance; missing where one is empty.

    Not to know a group is no group to have examples of: those examples are counted apart, in `unknown`, their share.
    """
    known, every = (part.groupby(["split", "class"], sort=False)["count"] for part in (cells[cells["known"]], cells))
    table = known.agg(largest="max", smallest="min", sum="sum").reset_index()
    total = every.sum().to_numpy()
    return table.assign(
        imbalance=table["largest"] / table["smallest"].where(table["smallest"] > 0),
        total=total,
        unknown=1 - table["sum"] / np.where(total, total, np.nan),
    ).drop(columns="sum")


def _pixel_facts(images: Array) -> dict[str, Array]:
    rows = np.ascontiguousarray(images).reshape(len(images), math.prod(images.shape[1:]))
    sketches, seen = sketch(images)
    finite = np.isfinite(rows).all(axis=1)
    return {
        "pixels": np.array([hashlib.sha256(row.data).hexdigest() for row in rows], dtype=object),
        "minimum": rows.min(axis=1),
        "maximum": rows.max(axis=1),
        "mean": np.where(finite, np.nan_to_num(rows, posinf=0.0, neginf=0.0).mean(axis=1, dtype=np.float64), np.nan),
        "finite": finite,
        "sketches": sketches,
        "seen": seen,
    }


def _row_columns(dataset: GroupedDataset) -> dict[str, Array]:
    """Numbers as they are stored; names where a block of values is a valid one, and None elsewhere."""
    if dataset.schema is None:
        return {}
    decoded, valid = dataset.schema.decode(dataset.images), dataset.schema.valid(dataset.images)
    columns = {}
    for column in dataset.schema.columns:
        values = decoded[column.name]
        if not isinstance(column, Numeric):
            values[~valid[column.name]] = None
        columns[f"row.{column.name}"] = values
    return columns


def _joined(names: Sequence[str], declared: Sequence[str]) -> list[str]:
    return [*names, *(name for name in declared if name not in names)]


def _named(indices: Array, names: tuple[str, ...]) -> Array:
    within = (indices >= 0) & (indices < len(names))
    named = np.array([*names, None], dtype=object)[np.where(within, indices, -1)]
    unknown = ~within & (indices != -1)
    named[unknown] = [f"#{index}" for index in indices[unknown]]
    return named


def _earliest(values: pd.Series, splits: Array) -> Array:
    """Return the first split that holds each value; -1 where that is the row's own, or the value is missing."""
    codes = pd.factorize(values)[0]
    first = np.full(codes.max(initial=-1) + 2, splits.max(initial=0) + 1)  # later than any
    np.minimum.at(first, codes, splits)
    return np.where((codes >= 0) & (first[codes] < splits), first[codes], -1)
