"""Turns the data of a source into the three splits that all later stages use: split, and grouped or coloured.

Preparation has two passes. The first reads the metadata, and decides where each example goes (a `SplitPlan`). The
second reads the pixels once, in the order of the source, and writes each image to its places in the files. The pixels
are never in memory all at once.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fair_distill.config import Data
from fair_distill.data.assignments import Assignments, Changes, dealing_rule
from fair_distill.data.attribute_values import declared_values
from fair_distill.data.colour_skew import assign_groups, default_owners, paint_groups
from fair_distill.data.column_builders import TextBuilder
from fair_distill.data.columns import SourceData
from fair_distill.data.group_merging import merge_groups
from fair_distill.data.grouped_dataset import Array, Attributes, GroupedDataset, placeholder_images
from fair_distill.data.image_stream import BATCH_BYTES, ImageStream, iterate_batches
from fair_distill.data.split_file import write_split_without_images
from fair_distill.data.splits import split_rows
from fair_distill.data.units import name_units
from fair_distill.errors import ConfigError, DataError
from fair_distill.formats.row_schema import RowSchema
from fair_distill.workspace import SPLITS

# Receives source images and their group indices, and returns the images of the split.
ImageTransform = Callable[[Array, Array], Array]
# Receives the number of images that are done, and the number of all images.
Progress = Callable[[int, int], None]

_ID_BATCH = 2**18


def no_progress(done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True, eq=False)
class SplitPlan:
    """A split without its pixels.

    Attributes
    ----------
    rows, group_indices : int32 arrays (N,); the source row and the group of each example
        One source row may have several examples.
    build : returns the split with placeholder images. A function, because the result takes most of the memory
    """

    rows: Array
    group_indices: Array
    build: Callable[[], GroupedDataset]


@dataclass(frozen=True, eq=False)
class Preparation:
    """The images of a source, and the plan of each split.

    Attributes
    ----------
    transform : turns source images into the images of a split
    assignments : the earlier assignments with the units of this source
    changes : how the splits differ from the earlier assignments
    """

    images: Array | ImageStream
    plans: Mapping[str, SplitPlan]
    transform: ImageTransform
    assignments: Assignments
    changes: Changes

    def write(self, paths: Mapping[str, Path], *, size: int = BATCH_BYTES, progress: Progress = no_progress) -> None:
        """Write all splits in one pass over the images. If it fails, no file is written.

        Parameters
        ----------
        paths : the file of each split
        size : bytes of images in memory at a time; it does not change the files
        progress : called after each batch
        """
        with ExitStack() as files:
            pixels = {
                name: files.enter_context(write_split_without_images(plan.build(), paths[name]))
                for name, plan in self.plans.items()
            }
            self._fill(pixels, size, progress)

    def in_memory(self) -> dict[str, GroupedDataset]:
        splits = {name: plan.build() for name, plan in self.plans.items()}
        pixels = {name: np.empty(split.images.shape, split.images.dtype) for name, split in splits.items()}
        self._fill(pixels, BATCH_BYTES, no_progress)
        return {name: _with_images(split, pixels[name]) for name, split in splits.items()}

    def _fill(self, pixels: Mapping[str, Array], size: int, progress: Progress) -> None:
        """Read the images, and put each into its places in the pixels of the splits."""
        by_row = {name: np.argsort(plan.rows, kind="stable").astype(np.int32) for name, plan in self.plans.items()}
        start = 0
        for batch in iterate_batches(self.images, size):
            stop = start + len(batch)
            for name, plan in self.plans.items():
                first, last = np.searchsorted(plan.rows, [start, stop], sorter=by_row[name])
                step = max(1, size * len(plan.rows) // pixels[name].nbytes)
                for position in range(first, last, step):
                    targets = by_row[name][position : min(last, position + step)]
                    images = batch[plan.rows[targets] - start]
                    pixels[name][targets] = self.transform(images, plan.group_indices[targets])
            start = stop
            progress(start, len(self.images))


def _with_images(split: GroupedDataset, images: Array) -> GroupedDataset:
    """Return a split with its images, and with int64 indices as in other datasets in memory."""
    indices = {name: getattr(split, name).astype(np.int64) for name in ("labels", "group_indices", "pairs")}
    clustered = None if split.clustered is None else split.clustered.astype(np.int64)
    return replace(split, images=images, clustered=clustered, **indices)


def make_splits(
    source: SourceData, data: Data, *, dealing: int, colouring: np.random.Generator
) -> dict[str, GroupedDataset]:
    """Return train, tune and gate in memory; see `plan_splits`."""
    return plan_splits(source, data, dealing=dealing, colouring=colouring).in_memory()


def plan_splits(
    source: SourceData,
    data: Data,
    *,
    dealing: int,
    colouring: np.random.Generator,
    assignments: Assignments | None = None,
) -> Preparation:
    """Plan train, tune and gate by the section `data` of params.yaml.

    Parameters
    ----------
    dealing : the key that determines the split of each unit; see `dealing.deal`
    colouring : the generator that assigns colours to training images
    assignments : the earlier assignments, which units keep unless the key or a share differs; None if there are none

    Raises
    ------
    ConfigError, DataError
        If not exactly one of groups and colours is set, or the splits cannot be made as declared.
    """
    _check_groups(source, data)
    _check_clusters(source)
    source, dropped = declared_values(source, data.groups)
    source, merged = merge_groups(source, data.missing_cells)
    missing_cells = dropped | merged
    units = name_units(source)
    rule = dealing_rule(dealing, data.splits.shares)
    earlier = assignments or Assignments.empty(rule)
    known = earlier.known(units) if earlier.rule == rule else None
    rows = split_rows(source, data.splits.model_dump(), units, key=dealing, known=known)
    split_of_row = np.empty(len(source), np.int8)
    for index, name in enumerate(SPLITS):
        split_of_row[rows[name]] = index
    joined, changes = earlier.updated(units, split_of_row, rule)
    # Equal rows of a table can be of two people, so rows that only have a content are not recognised in named splits.
    identify = not (units.are_contents and source.schema is not None and source.splits is not None)
    layout = _layout_of(source, rows, data, colouring)
    if data.missing_cells == "drop_class":
        layout, dropped_classes = _drop_classes(layout)
        missing_cells |= dropped_classes
    content = _content_of(source, layout, data)
    return Preparation(
        images=content.images,
        plans={
            name: _plan_split(source, part, layout, content, missing_cells, units.names if identify else None)
            for name, part in layout.parts.items()
        },
        transform=content.transform,
        assignments=joined,
        changes=changes,
    )


def _check_groups(source: SourceData, data: Data) -> None:
    if (source.group_indices is None) == (data.colours is None):
        state = "neither is set" if source.group_indices is None else "both are set"
        raise ConfigError(
            "params.yaml: data: groups come either from data.source.columns.groups or from data.colours; "
            f"{state}. Set one of them"
        )
    if source.schema is not None and data.colours is not None:
        raise ConfigError(
            "params.yaml: data.colours needs images, but the source has rows of a table. "
            "Remove it, and set data.source.columns.groups"
        )


def _check_clusters(source: SourceData) -> None:
    """Refuse data with fewer clusters than splits: a cluster is never divided, so a split would be empty."""
    for noun, values in (("cluster", source.clusters), ("pair", source.pairs)):
        if values is not None and (count := len(np.unique(values))) < len(SPLITS):
            raise DataError(
                f"the source has {count} {noun}{'' if count == 1 else 's'} (data.source.columns.{noun}), and a {noun} "
                f"is never divided between the {len(SPLITS)} splits. Add data, or correct the column"
            )


@dataclass(frozen=True, eq=False)
class _SplitRows:
    """The source rows of a split, and the class and group index of each."""

    rows: Array
    labels: Array
    group_indices: Array


@dataclass(frozen=True, eq=False)
class _Layout:
    """The rows of all splits, and the names of their classes and groups."""

    parts: Mapping[str, _SplitRows]
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    attributes: tuple[Attributes, ...]
    attribute_names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Content:
    """The images of the source, and what they become in a split: their shape and data type, and the schema of rows."""

    images: Array | ImageStream
    transform: ImageTransform
    shape: tuple[int, ...]
    dtype: type
    schema: RowSchema | None = None


def _layout_of(source: SourceData, rows: Mapping[str, Array], data: Data, rng: np.random.Generator) -> _Layout:
    if data.colours is not None:
        colours = tuple(data.colours)
        return _Layout(
            _coloured_rows(source, rows, data, rng), source.classes, colours, tuple((c,) for c in colours), ()
        )
    group_indices = source.group_indices
    assert group_indices is not None
    parts = {name: _SplitRows(rows[name], source.labels[rows[name]], group_indices[rows[name]]) for name in SPLITS}
    return _Layout(parts, source.classes, source.groups, source.attributes, source.attribute_names)


def _coloured_rows(
    source: SourceData, rows: Mapping[str, Array], data: Data, rng: np.random.Generator
) -> dict[str, _SplitRows]:
    """Give each training image one colour, with the skew of params.yaml, and every other image all colours."""
    assert data.colours is not None
    assert data.own_share is not None  # params.yaml requires it with colours
    n_groups, train = len(data.colours), rows[SPLITS[0]]
    group_indices = assign_groups(source.labels[train], n_groups, data.own_share, rng, owners=_owners(source, data))
    parts = {SPLITS[0]: _SplitRows(train, source.labels[train], group_indices)}
    for name in SPLITS[1:]:
        repeated = np.repeat(rows[name], n_groups)
        colours = np.tile(np.arange(n_groups), len(rows[name]))
        parts[name] = _SplitRows(repeated, source.labels[repeated], colours)
    return parts


def _owners(source: SourceData, data: Data) -> list[int]:
    """Return the index of the group that each class owns."""
    assert data.colours is not None
    if data.owners is None:
        return default_owners(len(source.classes), len(data.colours))
    if len(data.owners) != len(source.classes):
        raise ConfigError(
            f"params.yaml: data.owners has {len(data.owners)} groups; it must have one for each of the "
            f"{len(source.classes)} classes, which are {', '.join(source.classes[:10])}"
        )
    return [list(data.colours).index(name) for name in data.owners]


def _drop_classes(layout: _Layout) -> tuple[_Layout, dict[str, Any]]:
    """Drop each class that has no examples of a known group in a split, from all splits.

    Returns
    -------
    layout : with the remaining classes
    missing_cells : the record of the dropped classes for the prepared files
    """
    known = np.array([None not in values for values in layout.attributes])
    shape = len(layout.classes), len(known)
    counts = {
        name: np.bincount(part.labels * len(known) + part.group_indices, minlength=np.prod(shape)).reshape(shape)
        for name, part in layout.parts.items()
    }
    incomplete = np.any([(count[:, known] == 0).any(axis=1) for count in counts.values()], axis=0)
    complete = np.flatnonzero(~incomplete)
    if len(complete) < 2:
        raise DataError(
            f"params.yaml: data.missing_cells is drop_class, but only {len(complete)} of {len(layout.classes)} classes "
            "have every group in every split; at least two are needed. Add data, or merge or drop attribute values "
            "with data.groups.merge or data.groups.drop"
        )
    parts = {}
    for name, part in layout.parts.items():
        rows = np.flatnonzero(~incomplete[part.labels])
        labels = np.searchsorted(complete, part.labels[rows])
        parts[name] = _SplitRows(part.rows[rows], labels, part.group_indices[rows])
    dropped = {
        layout.classes[label]: {name: int(count[label].sum()) for name, count in counts.items()}
        for label in np.flatnonzero(incomplete)
    }
    classes = tuple(layout.classes[label] for label in complete)
    return replace(layout, parts=parts, classes=classes), {"drop_class": dropped}


def _content_of(source: SourceData, layout: _Layout, data: Data) -> _Content:
    if data.colours is not None:
        assert data.paint is not None  # params.yaml requires it with colours
        transform = partial(paint_groups, colours=data.colours, paint=data.paint)
        return _Content(source.images, transform, (3, *source.images.shape[2:]), np.uint8)
    if source.schema is None:
        return _Content(source.images, _unchanged, source.images.shape[1:], np.uint8)
    assert isinstance(source.images, ImageStream)  # rows of tables are always a stream
    schema = source.schema(source.images.take(layout.parts[SPLITS[0]].rows).batches())
    if source.label is not None:
        schema = replace(schema, label=source.label.take([source.classes.index(name) for name in layout.classes]))
    encoded = source.images.map(lambda rows, first: schema.encode(rows, first=first))
    return _Content(encoded, _unchanged, schema.shape, np.float32, schema)


def _unchanged(images: Array, group_indices: Array) -> Array:
    return images


def _plan_split(
    source: SourceData,
    part: _SplitRows,
    layout: _Layout,
    content: _Content,
    missing_cells: Mapping[str, Any],
    unit_names: Array | None,
) -> SplitPlan:
    # An unknown group without examples in this split is removed: the split does not lack examples of it.
    present = [a for a, values in enumerate(layout.attributes) if None not in values or (part.group_indices == a).any()]
    classes = layout.classes
    cells = part.labels * len(present) + np.searchsorted(present, part.group_indices)
    order = np.argsort(cells, kind="stable")
    counts = np.bincount(cells, minlength=len(classes) * len(present))
    cells = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    rows, group_indices = part.rows[order].astype(np.int32), cells % len(present)

    def build() -> GroupedDataset:
        return GroupedDataset(
            images=placeholder_images((len(rows), *content.shape), content.dtype),
            labels=np.repeat(np.arange(len(classes), dtype=np.int32), counts.reshape(len(classes), -1).sum(axis=1)),
            group_indices=group_indices,
            pairs=rows if source.pairs is None else source.pairs[rows],
            classes=classes,
            groups=tuple(layout.groups[a] for a in present),
            offsets=np.concatenate([[0], np.cumsum(counts)]),
            attributes=tuple(layout.attributes[a] for a in present),
            schema=content.schema,
            attribute_names=layout.attribute_names,
            clustered=None if source.clusters is None else source.clusters[rows],
            ids=None if source.ids is None else _take_text(source.ids, rows),
            weights=None if source.weights is None else source.weights[rows],
            missing_cells=missing_cells,
            units=None if unit_names is None else unit_names[rows],
        )

    return SplitPlan(rows, group_indices, build)


def _take_text(text: pa.Array, rows: Array) -> pa.Array:
    """Return the texts of these rows in a memory-mapped file."""
    builder = TextBuilder()
    for start in range(0, len(rows), _ID_BATCH):
        builder.add(text.take(pa.array(rows[start : start + _ID_BATCH])))
    return builder.finish()
