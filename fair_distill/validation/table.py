"""Light tables of what a split holds: a row per example, per cell and per class. No image goes through pandas.

One pass over the pixels, in batches of rows, takes from each image its digests and its range; Great
Expectations then works on a few dozen bytes per example.
"""

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from fair_distill.data.grouped import Array, GroupedDataset
from fair_distill.rows import Numeric

_BATCH_BYTES = 16 * 2**20
_BLOCKS = 8
_LEVELS = 4


def example_table(dataset: GroupedDataset) -> pd.DataFrame:
    """Return the facts about each example, sorted by them and not by where the example stands.

    Returns
    -------
    DataFrame
        example : row in the dataset
        pair : number shared by examples that show the same thing in different groups
        class, group : by name; missing for index -1, `#7` for an index 7 that has no name
        pixels : SHA-256 of the pixels; equal for exact duplicates
        near : coarse fingerprint, see `near_hash`; equal for near duplicates, whatever their colour
        minimum, maximum, finite : of the pixels
        row.NAME : for the rows of a table, each column, decoded; missing where a category has none of its values
    """
    size = max(1, _BATCH_BYTES // (math.prod(dataset.shape) * dataset.images.itemsize))
    starts = range(0, max(1, len(dataset)), size)
    batches = [_pixel_facts(dataset.images[start : start + size]) for start in starts]
    table = pd.DataFrame(
        {
            "example": np.arange(len(dataset)),
            "pair": dataset.pairs,
            "class": _named(dataset.labels, dataset.classes),
            "group": _named(dataset.groups, dataset.group_names),
            **{name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]},
            **_row_columns(dataset),
        }
    )
    # The same examples in another order are the same table but for `example`: what is reported stays the same.
    return table.sort_values(["pair", "group", "class", "pixels"], ignore_index=True)


def with_overlaps(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Add to each split's table which earlier split holds the same pair, pixels or near hash, if one does.

    A later split is held against the earlier ones only, so that an overlap is reported once, where it does
    harm: training data come first. `near_also_in` is left to examples for which nothing worse is known.
    """
    whole = pd.concat(list(tables.values()), ignore_index=True)
    splits = np.repeat(np.arange(len(tables)), [len(table) for table in tables.values()])
    pair, pixels, near = (_earliest(whole[key], splits) for key in ("pair", "pixels", "near"))
    near[(pair >= 0) | (pixels >= 0)] = -1
    names = np.array([*tables, None], dtype=object)
    whole = whole.assign(pair_also_in=names[pair], pixels_also_in=names[pixels], near_also_in=names[near])
    return {split: whole[splits == i].reset_index(drop=True) for i, split in enumerate(tables)}


def cell_table(splits: Mapping[str, GroupedDataset]) -> pd.DataFrame:
    """Return split, class, group, whether it is known, and count; a row for every cell, also for an empty one."""
    parts = []
    for split, dataset in splits.items():
        n_classes, n_groups = len(dataset.classes), len(dataset.group_names)
        # Counted from the rows, not read off the offsets: what is declared is what is being checked.
        named = (
            (dataset.labels >= 0) & (dataset.labels < n_classes) & (dataset.groups >= 0) & (dataset.groups < n_groups)
        )
        cells = dataset.labels[named] * n_groups + dataset.groups[named]
        parts.append(
            pd.DataFrame(
                {
                    "split": split,
                    "class": np.repeat(np.array(dataset.classes), n_groups),
                    "group": np.tile(np.array(dataset.group_names), n_classes),
                    "known": np.tile(dataset.known, n_classes),
                    "count": np.bincount(cells, minlength=n_classes * n_groups),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def class_table(cells: pd.DataFrame) -> pd.DataFrame:
    """Return split, class, largest and smallest cell and their ratio, the imbalance; missing where one is empty."""
    counts = cells.groupby(["split", "class"], sort=False)["count"]
    table = counts.agg(largest="max", smallest="min").reset_index()
    return table.assign(imbalance=table["largest"] / table["smallest"].where(table["smallest"] > 0))


def near_hash(images: Array) -> Array:
    """Return a coarse fingerprint of each image: 8×8 block means over all channels, in four levels.

    The levels divide the range between the image's own darkest and brightest block, so the fingerprint is the
    same, to the bit, when all pixels are multiplied by one number: a shape painted on black in red and in cyan is
    found. An image without any contrast between blocks has none (None): every blank would equal every other.
    """
    # Whole numbers where the pixels are: rounding would tear equal shapes apart at the edge of a level.
    exact = np.int64 if np.issubdtype(images.dtype, np.integer) else np.float64
    grey = np.nan_to_num(images, posinf=0.0, neginf=0.0).sum(axis=1, dtype=exact)
    rows, heights = _blocks(grey.shape[1])
    columns, widths = _blocks(grey.shape[2])
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=1), columns, axis=2)
    areas = np.outer(heights, widths)
    means = (sums * (np.lcm.reduce(areas.ravel()) // areas)).reshape(len(images), _BLOCKS**2)

    low = means.min(axis=1, keepdims=True)
    span = means.max(axis=1, keepdims=True) - low
    flat = span[:, 0] == 0
    span[flat] = 1
    levels = np.minimum((means - low) * _LEVELS // span, _LEVELS - 1).astype(np.uint8)
    digits = np.ascontiguousarray(levels + ord("0")).view(f"S{_BLOCKS**2}")[:, 0]
    hashes = digits.astype(str).astype(object)
    hashes[flat] = None
    return hashes


def _pixel_facts(images: Array) -> dict[str, Array]:
    rows = np.ascontiguousarray(images).reshape(len(images), math.prod(images.shape[1:]))
    return {
        "pixels": np.array([hashlib.sha256(row.data).hexdigest() for row in rows], dtype=object),
        "near": near_hash(images),
        "minimum": rows.min(axis=1),
        "maximum": rows.max(axis=1),
        "finite": np.isfinite(rows).all(axis=1),
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


def _blocks(length: int) -> tuple[Array, Array]:
    """Where each of the blocks starts, and how long it is; a short side repeats its pixels."""
    starts = np.arange(_BLOCKS) * length // _BLOCKS
    return starts, np.maximum(np.diff(starts, append=length), 1)


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
