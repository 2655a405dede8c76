"""From a source to the three splits that every later stage works on: divided, and grouped or coloured."""

import numpy as np

from fair_distill.artifacts import SPLITS
from fair_distill.config import Data
from fair_distill.data.columns import Labelled
from fair_distill.data.grouped import Array, GroupedDataset
from fair_distill.data.skew import paired, skewed
from fair_distill.data.splits import split_rows
from fair_distill.errors import ConfigError
from fair_distill.rows import RowSchema


def make_splits(
    source: Labelled, data: Data, *, dealing: np.random.Generator, colouring: np.random.Generator
) -> dict[str, GroupedDataset]:
    """Return train, tune and gate, by `data` of params.yaml.

    Raises
    ------
    ConfigError, DataError
        If there is not exactly one of groups and colours, or the splits cannot be made as declared.
    """
    if (source.groups is None) == (data.colours is None):
        came = "neither" if source.groups is None else "both"
        raise ConfigError(
            f"params.yaml: data: groups come from data.source.columns.groups or from data.colours; there are {came}"
        )
    if source.schema is not None and data.colours is not None:
        raise ConfigError("params.yaml: data.colours are for images; rows have groups by data.source.columns.groups")
    rows = split_rows(source, data.splits.model_dump(), dealing)
    if data.colours is None:
        schema = source.schema(source.images[rows["train"]]) if source.schema is not None else None
        content = source.images if schema is None else schema.encode(source.images)
        return {name: _natural(source, content, rows[name], schema) for name in SPLITS}
    assert data.own_share is not None  # it goes with colours, and so does paint
    assert data.paint is not None
    train = skewed(source, rows["train"], data.colours, data.own_share, colouring, paint=data.paint)
    measured = {name: paired(source, rows[name], data.colours, paint=data.paint) for name in SPLITS[1:]}
    return {"train": train, **measured}


def _natural(source: Labelled, images: Array, rows: Array, schema: RowSchema | None) -> GroupedDataset:
    assert source.groups is not None
    groups = source.groups[rows]
    # Where all labels are known, "not known" is no group that the split lacks examples of.
    kept = [a for a, values in enumerate(source.attributes) if None not in values or (groups == a).any()]
    return GroupedDataset.from_arrays(
        images[rows],
        source.labels[rows],
        np.searchsorted(kept, groups),
        classes=source.classes,
        group_names=[source.group_names[a] for a in kept],
        pairs=rows if source.pairs is None else source.pairs[rows],
        attributes=[source.attributes[a] for a in kept],
        schema=schema,
        attribute_names=source.attribute_names,
    )
