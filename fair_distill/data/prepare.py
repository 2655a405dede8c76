"""From a source to the three splits that every later stage works on: divided, and grouped or coloured.

In two passes: what is known of each example says where it will stand (a `Plan`), then the pixels are read once, in the
order of the source, and each goes to its places. So pixels are never in memory together.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fair_distill.config import Data
from fair_distill.config.data import Merge
from fair_distill.data.categorical import Texts
from fair_distill.data.colour_skew import in_turn, painted, skewed_groups
from fair_distill.data.columns import Labelled
from fair_distill.data.grouped_dataset import Array, Attributes, GroupedDataset, stand_in
from fair_distill.data.image_stream import BATCH_BYTES, Stream, in_batches
from fair_distill.data.split_file import split_to_fill
from fair_distill.data.splits import split_rows
from fair_distill.errors import ConfigError, DataError
from fair_distill.formats.row_schema import RowSchema
from fair_distill.workspace import SPLITS

Finish = Callable[[Array, Array], Array]
Progress = Callable[[int, int], None]

_TEXTS = 2**18  # taken at a time


def quiet(done: int, of: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A split but for its pixels.

    Attributes
    ----------
    rows, group_indices : int32 arrays (N,); the source row and the group of each example
        One source row may give several examples
    split : makes the split with a stand-in for its images; when asked for, since it is most of what is in memory
    """

    rows: Array
    group_indices: Array
    split: Callable[[], GroupedDataset]


@dataclass(frozen=True, eq=False)
class Preparation:
    """The images of a source, and what is to become of them.

    Attributes
    ----------
    finish : makes of images of the source, and the groups they are to stand in, what a split has
    """

    images: Array | Stream
    plans: Mapping[str, Plan]
    finish: Finish

    def write(self, paths: Mapping[str, Path], *, size: int = BATCH_BYTES, progress: Progress = quiet) -> None:
        """Write all splits in one pass over the images, or none of them.

        Parameters
        ----------
        size : bytes of images in memory at a time; the files are the same whatever it is
        progress : is told how many images are done, of how many
        """
        with ExitStack() as files:
            pixels = {
                name: files.enter_context(split_to_fill(plan.split(), paths[name])) for name, plan in self.plans.items()
            }
            self._fill(pixels, size, progress)

    def in_memory(self) -> dict[str, GroupedDataset]:
        splits = {name: plan.split() for name, plan in self.plans.items()}
        pixels = {name: np.empty(split.images.shape, split.images.dtype) for name, split in splits.items()}
        self._fill(pixels, BATCH_BYTES, quiet)
        return {name: _for_computing(split, pixels[name]) for name, split in splits.items()}

    def _fill(self, pixels: Mapping[str, Array], size: int, progress: Progress) -> None:
        by_row = {name: np.argsort(plan.rows, kind="stable").astype(np.int32) for name, plan in self.plans.items()}
        start = 0
        for batch in in_batches(self.images, size):
            stop = start + len(batch)
            for name, plan in self.plans.items():
                first, last = np.searchsorted(plan.rows, [start, stop], sorter=by_row[name])
                some = max(1, size * len(plan.rows) // pixels[name].nbytes)
                for at in range(first, last, some):
                    places = by_row[name][at : min(last, at + some)]
                    pixels[name][places] = self.finish(batch[plan.rows[places] - start], plan.group_indices[places])
            start = stop
            progress(start, len(self.images))


def _for_computing(split: GroupedDataset, images: Array) -> GroupedDataset:
    """Return a split with its images, and with indices as wide as those of other data sets in memory."""
    wide = {name: getattr(split, name).astype(np.int64) for name in ("labels", "group_indices", "pairs")}
    clustered = None if split.clustered is None else split.clustered.astype(np.int64)
    return replace(split, images=images, clustered=clustered, **wide)


def make_splits(
    source: Labelled, data: Data, *, dealing: np.random.Generator, colouring: np.random.Generator
) -> dict[str, GroupedDataset]:
    """Return train, tune and gate in memory; see `plan`."""
    return plan(source, data, dealing=dealing, colouring=colouring).in_memory()


def plan(source: Labelled, data: Data, *, dealing: np.random.Generator, colouring: np.random.Generator) -> Preparation:
    """Return what train, tune and gate will be, by `data` of params.yaml.

    Raises
    ------
    ConfigError, DataError
        If there is not exactly one of groups and colours, or the splits cannot be made as declared.
    """
    if (source.group_indices is None) == (data.colours is None):
        came = "neither" if source.group_indices is None else "both"
        raise ConfigError(
            f"params.yaml: data: groups come from data.source.columns.groups or from data.colours; there are {came}"
        )
    if source.schema is not None and data.colours is not None:
        raise ConfigError("params.yaml: data.colours are for images; rows have groups by data.source.columns.groups")
    source, done = merged(source, data.missing_cells)
    rows = split_rows(source, data.splits.model_dump(), dealing)
    if data.colours is None:
        assert source.group_indices is not None
        parts = {
            name: _Part(rows[name], source.labels[rows[name]], source.group_indices[rows[name]]) for name in SPLITS
        }
        names, attributes, said = source.groups, source.attributes, source.attribute_names
    else:
        parts = _coloured(source, rows, data, colouring)
        names, attributes, said = tuple(data.colours), tuple((name,) for name in data.colours), ()
    classes = source.classes
    if data.missing_cells == "drop_class":
        known = np.array([None not in values for values in attributes])
        parts, classes, done = _without_missing(parts, classes, known)
    images, finish, one, schema = _content(source, parts[SPLITS[0]].rows, data)
    return Preparation(
        images=images,
        plans={
            name: _plan(source, part, one, classes, names, attributes, said, schema, done)
            for name, part in parts.items()
        },
        finish=finish,
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """The rows of the source that a split has, with the class and the group of each."""

    rows: Array
    labels: Array
    group_indices: Array


def _coloured(source: Labelled, rows: Mapping[str, Array], data: Data, rng: np.random.Generator) -> dict[str, _Part]:
    """Training images in one colour each, by the skew; the others in every colour."""
    assert data.colours is not None
    assert data.own_share is not None  # it goes with colours
    n_groups, train = len(data.colours), rows[SPLITS[0]]
    group_indices = skewed_groups(source.labels[train], n_groups, data.own_share, rng, owners=_owners(source, data))
    parts = {SPLITS[0]: _Part(train, source.labels[train], group_indices)}
    for name in SPLITS[1:]:
        repeated = np.repeat(rows[name], n_groups)
        parts[name] = _Part(repeated, source.labels[repeated], np.tile(np.arange(n_groups), len(rows[name])))
    return parts


def _owners(source: Labelled, data: Data) -> list[int]:
    assert data.colours is not None
    if data.owners is None:
        return in_turn(len(source.classes), len(data.colours))
    if len(data.owners) != len(source.classes):
        raise ConfigError(
            f"params.yaml: data.owners: a group for each of {len(source.classes)} classes is wanted, "
            f"got {len(data.owners)}; the classes are {', '.join(source.classes[:10])}"
        )
    return [list(data.colours).index(name) for name in data.owners]


def merged(source: Labelled, declared: str | Merge | None) -> tuple[Labelled, dict[str, Any]]:
    """Return the source with the groups merged that params.yaml says, and the record of it."""
    if not isinstance(declared, Merge):
        return source, {}
    where, becomes = "params.yaml: data.missing_cells.merge", declared.becomes
    if source.group_indices is None:
        raise ConfigError(f"{where} goes with data.source.columns.groups; here groups are colours")
    for group in becomes:
        if group not in source.groups or None in source.attributes[source.groups.index(group)]:
            raise ConfigError(f"{where}: {group!r} is no known group; the groups are {', '.join(source.groups)}")
    new = [becomes.get(group, group) for group in source.groups]
    names = tuple(dict.fromkeys(new))
    for name in declared.merge:
        if name in source.groups and name not in becomes:
            raise ConfigError(f"{where}: {name!r} is a group already; name it among those that are merged")
    if len(names) < 2:
        raise ConfigError(f"{where}: one group would be left, {names[0]!r}; at least two are needed")
    members = [[source.attributes[i] for i, other in enumerate(new) if other == name] for name in names]
    attributes = tuple(
        tuple(value if all(row[i] == value for row in rows) else name for i, value in enumerate(rows[0]))
        for name, rows in zip(names, members, strict=True)
    )
    group_indices = np.array([names.index(name) for name in new])[source.group_indices]
    return (
        replace(source, group_indices=group_indices, groups=names, attributes=attributes),
        {"merge": {name: list(groups) for name, groups in declared.merge.items()}},
    )


def _without_missing(
    parts: Mapping[str, _Part], classes: tuple[str, ...], known: Array
) -> tuple[dict[str, _Part], tuple[str, ...], dict[str, Any]]:
    """Drop each class that lacks a known group in a split, from all splits; return what is left, and the record."""
    shape = len(classes), len(known)
    counts = {
        name: np.bincount(part.labels * len(known) + part.group_indices, minlength=np.prod(shape)).reshape(shape)
        for name, part in parts.items()
    }
    lacking = np.any([(count[:, known] == 0).any(axis=1) for count in counts.values()], axis=0)
    kept = np.flatnonzero(~lacking)
    if len(kept) < 2:
        raise DataError(
            f"params.yaml: data.missing_cells is drop_class, and {len(kept)} of {len(classes)} classes have every "
            "group in every split; at least two are needed. Add data, or merge groups there"
        )
    left = {}
    for name, part in parts.items():
        rows = np.flatnonzero(~lacking[part.labels])
        left[name] = _Part(part.rows[rows], np.searchsorted(kept, part.labels[rows]), part.group_indices[rows])
    dropped = {
        classes[label]: {name: int(count[label].sum()) for name, count in counts.items()}
        for label in np.flatnonzero(lacking)
    }
    return left, tuple(classes[label] for label in kept), {"drop_class": dropped}


def _content(
    source: Labelled, train: Array, data: Data
) -> tuple[Array | Stream, Finish, tuple[tuple[int, ...], type], RowSchema | None]:
    """Return images, what finishes them, the shape and type of a finished one, and the schema of rows."""
    if data.colours is not None:
        assert data.paint is not None  # it goes with colours
        finish = partial(painted, colours=data.colours, paint=data.paint)
        return source.images, finish, ((3, *source.images.shape[2:]), np.uint8), None
    if source.schema is None:
        return source.images, _as_they_are, (source.images.shape[1:], np.uint8), None
    assert isinstance(source.images, Stream)  # what has a schema is read so
    schema = source.schema(_chosen(source.images, train))
    encoded = source.images.changed(lambda rows, first: schema.encode(rows, first=first))
    return encoded, _as_they_are, (schema.shape, np.float32), schema


def _chosen(images: Stream, rows: Array) -> Iterator[Array]:
    """Yield those of these rows, which are sorted, batch by batch."""
    start = 0
    for batch in images.batches():
        first, last = np.searchsorted(rows, [start, start + len(batch)])
        if first < last:
            yield batch[rows[first:last] - start]
        start += len(batch)


def _as_they_are(images: Array, group_indices: Array) -> Array:
    return images


def _plan(
    source: Labelled,
    part: _Part,
    one: tuple[tuple[int, ...], type],
    classes: tuple[str, ...],
    names: tuple[str, ...],
    attributes: tuple[Attributes, ...],
    attribute_names: tuple[str, ...],
    schema: RowSchema | None,
    missing_cells: Mapping[str, Any],
) -> Plan:
    # Where all labels are known, "not known" is no group that the split lacks examples of.
    kept = [a for a, values in enumerate(attributes) if None not in values or (part.group_indices == a).any()]
    cells = part.labels * len(kept) + np.searchsorted(kept, part.group_indices)
    order = np.argsort(cells, kind="stable")
    counts = np.bincount(cells, minlength=len(classes) * len(kept))
    cells = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    rows, group_indices = part.rows[order].astype(np.int32), cells % len(kept)
    shape, dtype = one

    def split() -> GroupedDataset:
        return GroupedDataset(
            images=stand_in((len(rows), *shape), dtype),
            labels=np.repeat(np.arange(len(classes), dtype=np.int32), counts.reshape(len(classes), -1).sum(axis=1)),
            group_indices=group_indices,
            pairs=rows if source.pairs is None else source.pairs[rows],
            classes=classes,
            groups=tuple(names[a] for a in kept),
            offsets=np.concatenate([[0], np.cumsum(counts)]),
            attributes=tuple(attributes[a] for a in kept),
            schema=schema,
            attribute_names=attribute_names,
            clustered=None if source.clusters is None else source.clusters[rows],
            ids=None if source.ids is None else _taken(source.ids, rows),
            weights=None if source.weights is None else source.weights[rows],
            missing_cells=missing_cells,
        )

    return Plan(rows, group_indices, split)


def _taken(text: pa.Array, rows: Array) -> pa.Array:
    """Return these rows of text, on disk."""
    taken = Texts()
    for start in range(0, len(rows), _TEXTS):
        taken.add(text.take(pa.array(rows[start : start + _TEXTS])))
    return taken.whole()
