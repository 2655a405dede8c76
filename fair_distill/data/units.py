"""Units: examples that are dealt together, and names by which later data contain the same unit again.

A unit is a cluster or a pair, or all examples that are linked through both. Without them it is an example id, and
without ids all images with the same pixels. Rows of tables without ids are units of their own, because two people can
have equal rows: such a name is the values and the number of equal rows before them.

Numbers of clusters change when the source grows, so a unit is named by a digest of the value in the source: the first
64 bits of a SHA-256.

N examples, K names for each, U units.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from fair_distill.data.column_builders import dense_ranks
from fair_distill.data.columns import SourceData
from fair_distill.data.example_digests import short_digests
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.image_stream import iterate_batches

# The number of names that are Python values at a time.
_BLOCK = 2**16


@dataclass(frozen=True, eq=False)
class Units:
    """The units of a source.

    Attributes
    ----------
    of_row : int32 array (N,); the unit of each example, from 0
    names : uint64 array (N, K); the digests of the cluster and of the pair of each example if the source has both,
        otherwise of one name
    digests : uint64 array (U,); the smallest name in each unit
    are_contents : whether the names are those of contents
    """

    of_row: Array
    names: Array
    digests: Array
    are_contents: bool = False

    def __len__(self) -> int:
        return len(self.digests)

    def split_of_unit(self, split_of_row: Array) -> Array:
        """Return the split of each unit, from those of its rows."""
        split_of_unit = np.empty(len(self), split_of_row.dtype)
        split_of_unit[self.of_row] = split_of_row
        return split_of_unit


def name_units(source: SourceData) -> Units:
    """Return the units of a source. Without clusters, pairs and ids, this reads all images or rows."""
    links = [column for column in (_clusters(source), _pairs(source)) if column is not None]
    if not links and source.ids is None:
        contents = _content_digests(source)
        return replace(_single(contents if source.schema is None else _numbered(contents)), are_contents=True)
    if not links:
        return _single(unit_name_digests("example", source.ids))
    if len(links) == 1:
        return _single(links[0])
    names = np.stack(links, axis=1)
    assert source.pairs is not None and source.clusters is not None  # noqa: PT018 (two links are both)
    of_row, counts = dense_ranks(connected(source.pairs, source.clusters))
    digests = np.full(len(counts), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(digests, of_row, names.min(axis=1))
    return Units(of_row, names, digests)


def connected(pairs: Array, clusters: Array) -> Array:
    """Return a number for each example that is shared by all examples linked by pairs or clusters, also indirectly."""
    units = clusters
    while True:
        previous = units
        for links in (pairs, clusters):
            lowest = np.full(links.max() + 1, len(units))
            np.minimum.at(lowest, links, units)
            units = lowest[links]
        if np.array_equal(units, previous):
            return units


def unit_name_digests(kind: str, names: pa.Array) -> Array:
    """Return a digest for each name, uint64 (N,). Equal names of different kinds have different digests."""
    blocks = (names[start : start + _BLOCK].to_pylist() for start in range(0, len(names), _BLOCK))
    return short_digests((f"{kind}\0{name}".encode() for block in blocks for name in block), len(names))


def _single(names: Array) -> Units:
    digests, of_row = np.unique(names, return_inverse=True)
    return Units(of_row.astype(np.int32), names[:, None], digests)


def _clusters(source: SourceData) -> Array | None:
    return None if source.clusters is None else _linked("cluster", source.clusters, source.cluster_names)


def _pairs(source: SourceData) -> Array | None:
    return None if source.pairs is None else _linked("pair", source.pairs, source.pair_names)


def _linked(kind: str, numbers: Array, names: pa.Array | None) -> Array:
    """Return the digest of the cluster or pair of each example. A source without their names has stable numbers."""
    if names is None:
        names = pa.array(map(str, range(int(numbers.max()) + 1)), pa.large_string())
    return unit_name_digests(kind, names)[numbers]


def _content_digests(source: SourceData) -> Array:
    """Return the digest of the pixels of each image, or of the values of each row, without label and group."""
    batches = iterate_batches(source.images)
    return short_digests((content for batch in batches for content in _contents(batch)), len(source))


def _numbered(digests: Array) -> Array:
    """Return another digest for each of several equal ones, (N,): it depends on the number of equal ones before it."""
    order = np.argsort(digests, kind="stable")
    ordered = digests[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    numbers = np.arange(len(digests)) - np.repeat(starts, np.diff([*starts, len(digests)]))
    numbered = np.empty_like(digests)
    numbered[order] = ordered + numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return numbered


def _contents(batch: Array) -> Iterator[bytes]:
    if batch.dtype.names is None:
        header = f"{batch.dtype} {batch.shape[1:]}\0".encode()
        yield from (header + image.tobytes() for image in batch)
        return
    # Numbers are float32, of which 0.0 and -0.0 are equal; text has another width in each batch.
    names = sorted(batch.dtype.names)
    columns = [batch[name] + 0 if batch[name].dtype.kind == "f" else batch[name] for name in names]
    for values in zip(*(column.tolist() for column in columns), strict=True):
        yield repr(list(zip(names, values, strict=True))).encode()
