"""Every table that the contract looks at, made once. What is in each stands in `table`, `drift` and `leak`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from fair_distill.config import Validate
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.validation.drift import Profile, drift_table, profile_of
from fair_distill.validation.label_leak import column_table
from fair_distill.validation.split_tables import cell_table, class_table, examples_of, split_table, with_overlaps
from fair_distill.workspace import SPLITS

TRAIN = SPLITS[0]


@dataclass(frozen=True)
class Tables:
    """The tables by name.

    Attributes
    ----------
    examples : of each split
    columns : None for images
    drift : None without a reference
    profile : of the training data, by their own bins
    not_compared : see `near.near_facts`
    """

    examples: dict[str, pd.DataFrame]
    splits: pd.DataFrame
    cells: pd.DataFrame
    classes: pd.DataFrame
    columns: pd.DataFrame | None
    drift: pd.DataFrame | None
    profile: Profile
    not_compared: int

    def named(self, name: str) -> Iterator[tuple[str | None, pd.DataFrame]]:
        """Give the tables that params.yaml calls so, with the split where it is the examples of one; maybe none."""
        if name == "examples":
            yield from self.examples.items()
        elif name in self.examples:
            yield name, self.examples[name]
        elif name not in SPLITS and (table := getattr(self, name)) is not None:
            yield None, table


def tables_of(splits: Mapping[str, GroupedDataset], rules: Validate, reference: Profile | None) -> Tables:
    """Make all tables. The pixels are read once, in batches."""
    # Without a section on it, near is what is equal to the bit, colour and brightness apart.
    distance, difference = (rules.near.distance, rules.near.difference) if rules.near else (0, 0.0)
    examples, not_compared = with_overlaps(
        {split: examples_of(dataset) for split, dataset in splits.items()}, distance=distance, difference=difference
    )
    train, in_train = splits[TRAIN], examples[TRAIN]
    cells = cell_table(splits, classes=rules.classes or (), groups=rules.groups or ())
    cells_in_train = cells[cells["split"] == TRAIN]
    drift = None
    if reference is not None:
        edges = {name: histogram.edges for name, histogram in reference.numbers.items()}
        drift = drift_table(profile_of(train, in_train, cells_in_train, edges=edges), reference)
    return Tables(
        examples=examples,
        splits=split_table(splits),
        cells=cells,
        classes=class_table(cells),
        columns=None if train.schema is None else column_table(train.schema, examples),
        drift=drift,
        profile=profile_of(train, in_train, cells_in_train, edges={}),
        not_compared=not_compared,
    )
