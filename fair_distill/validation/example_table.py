"""The table of examples: one row for each example of a split, with digests and statistics instead of pixels.

One pass over the pixels, in batches, takes the digests, the sketches and the range of each image. Great Expectations
then works on a few dozen bytes per example, and no image goes through pandas.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.formats.row_columns import Numeric
from fair_distill.validation.near_duplicates import find_near_duplicates, sketch_images

_BATCH_BYTES = 16 * 2**20


@dataclass(frozen=True)
class ExampleTable:
    """A row for each example, and a sketch of each image in the same order.

    Attributes
    ----------
    rows : DataFrame
        example : the row in the dataset
        id : the id of the example, or its pair number if the source has no ids
        pair : the number shared by examples that show the same thing in different groups
        cluster : the number shared by dependent examples; absent if the source has no clusters
        class, group : names; missing for index -1, `#7` for an index 7 without a name
        pixels : the SHA-256 of the pixels; equal for exact duplicates
        minimum, maximum, mean, finite : statistics of the pixels
        row.NAME : for rows of a table, each decoded column; missing for an invalid category
    sketches, has_sketch : see `near_duplicates.sketch_images`
    """

    rows: pd.DataFrame
    sketches: Array
    has_sketch: Array


def tabulate_examples(dataset: GroupedDataset) -> ExampleTable:
    """Return the table of a split's examples, in an order that does not depend on their order in the file."""
    size = max(1, _BATCH_BYTES // (math.prod(dataset.shape) * dataset.images.itemsize))
    starts = range(0, max(1, len(dataset)), size)
    batches = [_pixel_columns(dataset.images[start : start + size]) for start in starts]
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    sketches, has_sketch = columns.pop("sketches"), columns.pop("has_sketch")
    rows = pd.DataFrame(
        {
            "example": np.arange(len(dataset)),
            "id": dataset.pairs if dataset.ids is None else np.asarray(dataset.ids, dtype=object),
            "pair": dataset.pairs,
            **({} if dataset.clustered is None else {"cluster": dataset.clustered}),
            "class": _names(dataset.labels, dataset.classes),
            "group": _names(dataset.group_indices, dataset.groups),
            **columns,
            **_row_columns(dataset),
        }
    )
    # The same examples in another order differ only in `example`, so reports do not depend on the order.
    rows = rows.sort_values(["pair", "group", "class", "pixels"], ignore_index=True)
    order = rows["example"].to_numpy()
    return ExampleTable(rows, sketches[order], has_sketch[order])


def add_overlaps(
    tables: Mapping[str, ExampleTable], *, distance: int, difference: float
) -> tuple[dict[str, pd.DataFrame], int]:
    """Add to each split's rows the earlier split that has the same id, pair, cluster or pixels, or a similar image.

    Each split is compared only with earlier ones, so an overlap is reported once, in the split where it does harm:
    training data come first. `near_also_in` and `near_in`, the split itself, are set only without an exact overlap.

    Parameters
    ----------
    tables : by split, training data first
    distance, difference : see `near_duplicates.find_near_duplicates`

    Returns
    -------
    rows : by split
    not_compared : the number of sketches that were not compared with all similar ones
    """
    whole = pd.concat([table.rows for table in tables.values()], ignore_index=True)
    split_indices = np.repeat(np.arange(len(tables)), [len(table.rows) for table in tables.values()])
    names = np.array([*tables, None], dtype=object)
    overlaps = {
        key: _first_split(whole[key], split_indices) for key in ("id", "pair", "cluster", "pixels") if key in whole
    }
    near, within, not_compared = find_near_duplicates(
        np.concatenate([table.sketches for table in tables.values()]),
        np.concatenate([table.has_sketch for table in tables.values()]),
        split_indices,
        whole["pair"].to_numpy(),
        distance=distance,
        difference=difference,
    )
    exact = np.any([splits >= 0 for splits in overlaps.values()], axis=0)
    within &= ~whole["pixels"].duplicated(keep=False).to_numpy()
    near[exact] = -1
    whole = whole.assign(
        **{f"{key}_also_in": names[splits] for key, splits in overlaps.items()},
        near_also_in=names[near],
        near_in=names[np.where(within, split_indices, -1)],
    )
    return {split: whole[split_indices == i].reset_index(drop=True) for i, split in enumerate(tables)}, not_compared


def _pixel_columns(images: Array) -> dict[str, Array]:
    rows = np.ascontiguousarray(images).reshape(len(images), math.prod(images.shape[1:]))
    sketches, has_sketch = sketch_images(images)
    finite = np.isfinite(rows).all(axis=1)
    return {
        "pixels": np.array([hashlib.sha256(row.data).hexdigest() for row in rows], dtype=object),
        "minimum": rows.min(axis=1),
        "maximum": rows.max(axis=1),
        "mean": np.where(finite, np.nan_to_num(rows, posinf=0.0, neginf=0.0).mean(axis=1, dtype=np.float64), np.nan),
        "finite": finite,
        "sketches": sketches,
        "has_sketch": has_sketch,
    }


def _row_columns(dataset: GroupedDataset) -> dict[str, Array]:
    """Return numbers as they are stored, and categories as names; None for an invalid one-hot block."""
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


def _names(indices: Array, names: tuple[str, ...]) -> Array:
    has_name = (indices >= 0) & (indices < len(names))
    result = np.array([*names, None], dtype=object)[np.where(has_name, indices, -1)]
    unnamed = ~has_name & (indices != -1)
    result[unnamed] = [f"#{index}" for index in indices[unnamed]]
    return result


def _first_split(values: pd.Series, split_indices: Array) -> Array:
    """Return the first split that has each value; -1 if it is the row's own split, or if the value is missing."""
    codes = pd.factorize(values)[0]
    first = np.full(codes.max(initial=-1) + 2, split_indices.max(initial=0) + 1)  # after the last split
    np.minimum.at(first, codes, split_indices)
    return np.where((codes >= 0) & (first[codes] < split_indices), first[codes], -1)
