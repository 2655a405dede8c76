"""All tables that the contract reads: the examples of each split, and one row per split, cell, class and so on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fair_distill.config import Validate
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.validation.drift import Profile, drift_table, profile_split
from fair_distill.validation.example_table import add_overlaps, tabulate_examples
from fair_distill.validation.label_leak import leak_table
from fair_distill.validation.spellings import spelling_table
from fair_distill.workspace import SPLITS

TRAIN = SPLITS[0]


@dataclass(frozen=True)
class ContractTables:
    """The tables by name.

    Attributes
    ----------
    examples : for each split, see `example_table.ExampleTable`
    splits, cells, classes : see `split_table`, `cell_table` and `class_table`
    spellings : see `spellings.spelling_table`
    columns : see `label_leak.leak_table`; None for images
    drift : see `drift.drift_table`; None without a reference
    profile : the distributions of the training data
    not_compared : see `example_table.add_overlaps`
    """

    examples: dict[str, pd.DataFrame]
    splits: pd.DataFrame
    cells: pd.DataFrame
    classes: pd.DataFrame
    spellings: pd.DataFrame
    columns: pd.DataFrame | None
    drift: pd.DataFrame | None
    profile: Profile
    not_compared: int

    def select(self, name: str) -> Iterator[tuple[str | None, pd.DataFrame]]:
        """Yield the tables with a name of params.yaml, and the split of a table of examples; possibly none."""
        if name == "examples":
            yield from self.examples.items()
        elif name in self.examples:
            yield name, self.examples[name]
        elif name not in SPLITS and (table := getattr(self, name)) is not None:
            yield None, table


def build_tables(splits: Mapping[str, GroupedDataset], config: Validate, reference: Profile | None) -> ContractTables:
    """Build all tables. The pixels are read once, in batches.

    Parameters
    ----------
    splits : by name, training data first
    reference : the profile of earlier data; None builds no drift table
    """
    # Without the section `near`, only images with equal sketches are near duplicates.
    distance, difference = (config.near.distance, config.near.difference) if config.near else (0, 0.0)
    examples, not_compared = add_overlaps(
        {split: tabulate_examples(dataset) for split, dataset in splits.items()},
        distance=distance,
        difference=difference,
    )
    train, train_examples = splits[TRAIN], examples[TRAIN]
    cells = cell_table(splits, classes=config.classes or (), groups=config.groups or ())
    train_cells = cells[cells["split"] == TRAIN]
    drift = None
    if reference is not None:
        edges = {name: histogram.edges for name, histogram in reference.numbers.items()}
        drift = drift_table(profile_split(train, train_examples, train_cells, edges=edges), reference)
    return ContractTables(
        examples=examples,
        splits=split_table(splits),
        cells=cells,
        classes=class_table(cells),
        spellings=spelling_table(splits),
        columns=None if train.schema is None else leak_table(train.schema, examples),
        drift=drift,
        profile=profile_split(train, train_examples, train_cells, edges={}),
        not_compared=not_compared,
    )


def split_table(splits: Mapping[str, GroupedDataset]) -> pd.DataFrame:
    """Return a row for each split: data type, shape, classes, known groups, and the columns of a table."""
    return pd.DataFrame(
        [
            {
                "split": split,
                "examples": len(dataset),
                "type": str(dataset.images.dtype),
                "shape": _joined(dataset.shape),
                "classes": _joined(dataset.classes),
                "groups": _joined(name for name, known in zip(dataset.groups, dataset.known, strict=True) if known),
                "columns": "" if dataset.schema is None else _joined(column.name for column in dataset.schema.columns),
            }
            for split, dataset in splits.items()
        ]
    )


def _joined(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def cell_table(
    splits: Mapping[str, GroupedDataset], *, classes: Sequence[str] = (), groups: Sequence[str] = ()
) -> pd.DataFrame:
    """Return split, class, group, whether the group is known, and count, for every cell, also for empty ones.

    Parameters
    ----------
    classes, groups : declared names, which have cells even if a split does not know the name
    """
    tables = []
    for split, dataset in splits.items():
        n_classes, n_groups = len(dataset.classes), len(dataset.groups)
        # Counted from the rows and not from the offsets, because the offsets are declared and could be wrong.
        valid = (
            (dataset.labels >= 0)
            & (dataset.labels < n_classes)
            & (dataset.group_indices >= 0)
            & (dataset.group_indices < n_groups)
        )
        all_classes, all_groups = _union(dataset.classes, classes), _union(dataset.groups, groups)
        known = np.append(dataset.known, np.ones(len(all_groups) - n_groups, bool))
        cells = dataset.labels[valid] * len(all_groups) + dataset.group_indices[valid]
        tables.append(
            pd.DataFrame(
                {
                    "split": split,
                    "class": np.repeat(np.array(all_classes), len(all_groups)),
                    "group": np.tile(np.array(all_groups), len(all_classes)),
                    "known": np.tile(known, len(all_classes)),
                    "count": np.bincount(cells, minlength=len(all_classes) * len(all_groups)),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _union(names: Sequence[str], declared: Sequence[str]) -> list[str]:
    return [*names, *(name for name in declared if name not in names)]


def class_table(cells: pd.DataFrame) -> pd.DataFrame:
    """Return split, class, the largest and smallest cell, their ratio `imbalance`, the total, and `unknown`.

    The imbalance is missing if a cell is empty. Cells of unknown groups are left out of it; `unknown` is the share of
    the class's examples in them.
    """
    known, every = (part.groupby(["split", "class"], sort=False)["count"] for part in (cells[cells["known"]], cells))
    table = known.agg(largest="max", smallest="min", sum="sum").reset_index()
    total = every.sum().to_numpy()
    return table.assign(
        imbalance=table["largest"] / table["smallest"].where(table["smallest"] > 0),
        total=total,
        unknown=1 - table["sum"] / np.where(total, total, np.nan),
    ).drop(columns="sum")
