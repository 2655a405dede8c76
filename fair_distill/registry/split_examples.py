"""The examples of a gate split as digests, and the share of them that an earlier attempt evaluated.

A registry keeps 8 bytes for the content of each example, 16 more for its name, and up to 20 more for its cluster and
pair. So a split which shares examples with an earlier one is recognised under any name, in any order and in any data
set, and a split with other images of the same people is recognised within a data set. Of a split with more than
2,097,152 examples, only those are kept whose digest is in the lowest 1/2, 1/4, 1/8 and so on of the range. All splits
keep the same contents then, so shares are estimated from about a million examples, with a standard error of at most
0.05 points. But examples of such splits that share only a name or a cluster are often not recognised: of two examples
with different contents, the sample may have one only.

N examples, in cells: one cell for each class and group.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fair_distill.errors import IntegrityError
from fair_distill.files import is_sha256, parse_json, sha256, to_json
from fair_distill.registry.layout import MAX_EXAMPLES_BYTES

MOST_KEPT = 2**21
# Examples of two data sets with equal names are the same if so many of them have equal labels and groups. Row numbers
# of unrelated tables have equal names too, and their labels and groups agree by chance only.
_AGREEMENT = 0.9
# Format 1 has no plain names, names of cells, units and data set.
_FORMAT, _FIRST_FORMAT = 2, 1
_MOST_HEADER = 2**22
_MOST_UNITS = 2
# The columns by which an example can be recognised.
_DIGESTS_OF_EXAMPLES = ("contents", "names", "plain_names", "units")
_SHORT_DIGEST = re.compile("[0-9a-f]{16}")
_MOST_BITS = 40
# No file has more examples, because each takes at least 8 bytes.
_MOST_EXAMPLES = MAX_EXAMPLES_BYTES // 8

Digests = NDArray[np.uint64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SplitExamples:
    """The kept examples of a gate split.

    Attributes
    ----------
    split : SHA-256 of the gate split
    cells : int64 array (N,), the class and group of each example as one number
    contents : uint64 array (N,), digests of the contents
    clusters : int64 array (N,), equal for dependent examples such as images of one person
    names : uint64 array (N,), digests of the data set and the name; None if examples have no names
    bits : 0 if all examples are kept, else only those whose digest begins with this many zero bits
    plain_names : uint64 array (N,), digests of the normalised names; None if examples have no names
    cell_names : uint64 array (N,), digests of the names of the class and the group; None in format 1
    units : uint64 array (N, 1 or 2), digests of the names of the cluster or pair; None if there are none
    dataset : the normalised name of the data set, in which names and units are unique; empty in format 1
    """

    split: str
    cells: Indices
    contents: Digests
    clusters: Indices
    names: Digests | None = None
    bits: int = 0
    plain_names: Digests | None = None
    cell_names: Digests | None = None
    units: Digests | None = None
    dataset: str = ""

    def __len__(self) -> int:
        return len(self.contents)

    def kept(self) -> "SplitExamples":
        """Return the examples that a registry keeps, sorted by cell and digest, with small cluster numbers."""
        bits = max(0, math.ceil(math.log2(max(len(self), 1) / MOST_KEPT)))
        rows = np.flatnonzero(_in_sample(self.contents, bits))
        rows = rows[np.lexsort((self.contents[rows], self.cells[rows]))]
        kept = self._take(rows)
        clusters = np.unique(kept.clusters, return_inverse=True)[1].astype(np.int64)
        return replace(kept, clusters=clusters, bits=bits)

    def _take(self, rows: Indices | NDArray[np.bool_]) -> "SplitExamples":
        columns = ("cells", "clusters", "cell_names", *_DIGESTS_OF_EXAMPLES)
        values: dict[str, Any] = {name: getattr(self, name) for name in columns}
        values = {name: None if value is None else value[rows] for name, value in values.items()}
        return replace(self, **values)

    @cached_property
    def content(self) -> bytes:
        """The bytes of the file: a line of JSON, then the columns as little-endian numbers."""
        clustered = len(np.unique(self.clusters)) < len(self)
        header = {"format": _FIRST_FORMAT, "split": self.split, "examples": len(self), "bits": self.bits}
        header |= {"clusters": clustered, "names": self.names is not None}
        # Rows are sorted by cell.
        cells, first, counts = np.unique(self.cells, return_index=True, return_counts=True)
        header["cells"] = [list(pair) for pair in zip(cells.tolist(), counts.tolist(), strict=True)]
        if self.cell_names is not None:
            header |= {"format": _FORMAT, "dataset": self.dataset, "plain_names": self.plain_names is not None}
            header["units"] = 0 if self.units is None else self.units.shape[1]
            header["cell_names"] = [f"{name:016x}" for name in self.cell_names[first].tolist()]
        line = b" ".join(to_json(header).split()) + b"\n"
        columns = [self.contents.astype("<u8")]
        columns += [self.clusters.astype("<u4")] if clustered else []
        columns += [] if self.names is None else [self.names.astype("<u8")]
        if self.cell_names is not None:
            columns += [] if self.plain_names is None else [self.plain_names.astype("<u8")]
            columns += [] if self.units is None else list(self.units.T.astype("<u8"))
        return line + b"".join(column.tobytes() for column in columns)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the bytes of the file."""
        return sha256(self.content)

    def holds(self, contents: Digests, names: Digests, units: Digests) -> NDArray[np.bool_]:
        """Return which examples have one of these names or units, bool (N,). Without names, contents are compared."""
        rows = np.isin(self.contents, contents) if self.names is None else np.isin(self.names, names)
        return rows if self.units is None else rows | np.isin(self.units, units).any(axis=1)

    def digests_in(self, rows: NDArray[np.bool_]) -> set[int]:
        """Return the digests of the contents, names and units of some rows."""
        columns = (getattr(self, name) for name in _DIGESTS_OF_EXAMPLES)
        return {value for column in columns if column is not None for value in column[rows].ravel().tolist()}

    def replaced(self, digests: Mapping[int, int], rows: NDArray[np.bool_]) -> "SplitExamples":
        """Return the examples with other digests in some rows, so that nobody can recognise these examples.

        The number of examples in each cell stays, and so does every share of the examples that attempts evaluated, if
        all splits of a registry get the same new digests.

        Parameters
        ----------
        digests : the new digest for each of `digests_in(rows)`
        """

        def renamed(column: Digests) -> Digests:
            values = column.copy()
            replacements = [digests[value] for value in column[rows].ravel().tolist()]
            values[rows] = np.array(replacements, dtype=np.uint64).reshape(values[rows].shape)
            return values

        columns = {name: getattr(self, name) for name in _DIGESTS_OF_EXAMPLES}
        values: dict[str, Any] = {name: renamed(each) for name, each in columns.items() if each is not None}
        changed = replace(self, **values)
        return changed._take(np.lexsort((changed.contents, changed.cells)))

    @classmethod
    def from_bytes(cls, content: bytes, *, name: str) -> "SplitExamples":
        """Read the file. Raises IntegrityError, with `name`, unless it is one."""
        end = content.find(b"\n", 0, _MOST_HEADER)
        header = parse_json(content[:end] if end > 0 else b"", name=name, error=IntegrityError)
        keys = {"format": int, "split": str, "examples": int, "bits": int, "clusters": bool, "names": bool}
        is_first = header.get("format") == _FIRST_FORMAT
        if not is_first:
            keys |= {"dataset": str, "plain_names": bool, "units": int}
        pairs = header.pop("cells", None)
        cells = _read_cells(pairs)
        valid = header.keys() - {"cell_names"} == keys.keys() and ("cell_names" in header) != is_first
        valid = valid and all(type(header[key]) is kind for key, kind in keys.items())
        if (
            not valid
            or cells is None
            or header["format"] not in (_FIRST_FORMAT, _FORMAT)
            or not is_sha256(header["split"])
        ):
            raise IntegrityError(f"{name} has no header of format {_FORMAT} for the examples of a split")
        cell_names = None if is_first else _read_cell_names(header["cell_names"], pairs)
        count, bits, n_units = header["examples"], header["bits"], header.get("units", 0)
        widths = [("<u8", 1), ("<u4", header["clusters"]), ("<u8", header["names"])]
        widths += [("<u8", header.get("plain_names", False)), ("<u8", n_units)]
        size = sum(int(kind[2]) * count * number for kind, number in widths)
        if not 0 <= bits <= _MOST_BITS or len(cells) != count or len(content) - end - 1 != size:
            raise IntegrityError(f"{name} has {len(content) - end - 1} bytes of digests; its header says {size}")
        if not 0 <= n_units <= _MOST_UNITS or (cell_names is None and not is_first):
            raise IntegrityError(f"{name} has no header of format {_FORMAT} for the examples of a split")
        offset = end + 1
        columns: list[NDArray[Any] | None] = []
        for kind, number in widths:
            column = np.frombuffer(content, kind, count * number, offset).reshape(int(number), count)
            columns.append(column.T.astype(np.int64 if kind == "<u4" else np.uint64) if number else None)
            offset += int(kind[2]) * count * number
        contents, clusters, names, plain_names = (None if each is None else each[:, 0] for each in columns[:4])
        assert contents is not None
        return cls(
            split=header["split"],
            cells=cells,
            contents=contents,
            clusters=np.arange(count) if clusters is None else clusters,
            names=names,
            bits=bits,
            plain_names=plain_names,
            cell_names=cell_names,
            units=columns[4],
            dataset=header.get("dataset", ""),
        )

    def in_sample(self, bits: int) -> "SplitExamples":
        """Return the examples whose digest begins with this many zero bits."""
        return self._take(_in_sample(self.contents, bits))


def _read_cells(value: object) -> Indices | None:
    """Return the cell of each example from the pairs of cell and count in a header; None if they are not valid."""
    if not isinstance(value, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(type(number) is int and number >= 0 for number in pair)
        for pair in value
    ):
        return None
    numbers = np.array(value, dtype=np.int64).reshape(-1, 2)
    if sum(pair[1] for pair in value) > _MOST_EXAMPLES or (np.diff(numbers[:, 0]) <= 0).any():
        return None
    return np.repeat(numbers[:, 0], numbers[:, 1])


def _read_cell_names(value: object, pairs: list[list[int]]) -> Digests | None:
    """Return the digest of the cell of each example from the list in a header; None if it is not valid."""
    if not isinstance(value, list) or len(value) != len(pairs):
        return None
    if not all(isinstance(name, str) and _SHORT_DIGEST.fullmatch(name) for name in value):
        return None
    digests = np.array([int(name, 16) for name in value], dtype=np.uint64)
    return np.repeat(digests, [count for _, count in pairs])


def evaluated(current: SplitExamples, earlier: SplitExamples) -> NDArray[np.bool_]:
    """Return which examples of a split an attempt at an earlier split evaluated, bool (N,).

    An example counts as evaluated if the earlier split had its content, its name or its cluster, or those of any other
    example of its cluster in the current split. So a duplicate of an evaluated example counts as evaluated too. Names
    of clusters are compared within a data set only. Names of examples of two data sets are compared together with
    label and group, and count if they agree in nearly all examples with equal names.
    """
    hits = np.isin(current.contents, earlier.contents)
    if current.names is not None and earlier.names is not None:
        hits |= np.isin(current.names, earlier.names)
    is_same_dataset = bool(current.dataset) and current.dataset == earlier.dataset
    if current.plain_names is not None and earlier.plain_names is not None:
        shared = np.isin(current.plain_names, earlier.plain_names)
        agree = shared if is_same_dataset else np.isin(_names_in_cells(current), _names_in_cells(earlier))
        if agree.sum() >= _AGREEMENT * shared.sum():
            hits |= agree
    if is_same_dataset and current.units is not None and earlier.units is not None:
        hits |= np.isin(current.units, earlier.units).any(axis=1)
    return np.isin(current.clusters, current.clusters[hits])


def _names_in_cells(examples: SplitExamples) -> Digests:
    """Return a digest of the name, the label and the group of each example, (N,)."""
    assert examples.plain_names is not None
    assert examples.cell_names is not None  # a file with plain names has them
    return examples.plain_names ^ examples.cell_names


def are_stated(current: SplitExamples, stated: Sequence[SplitExamples]) -> NDArray[np.bool_]:
    """Return which examples of a split have a content of the splits that somebody stated to be fresh, bool (N,)."""
    hits = np.zeros(len(current), dtype=bool)
    for split in stated:
        hits |= np.isin(current.contents, split.contents)
    return hits


def unstated_shares(current: SplitExamples, stated: Sequence[SplitExamples]) -> NDArray[np.float64]:
    """Return the share of each cell of a split that is not in splits which somebody stated to be fresh.

    It is computed like `shares`, with every example outside these splits as evaluated. Without such splits it is 1.
    """
    cells = np.unique(current.cells)
    compared = current.in_sample(max((split.bits for split in stated), default=0))
    if not stated or not len(compared):
        return np.ones(len(cells))
    outside = ~are_stated(compared, stated)
    return _largest_shares(cells, compared, np.isin(compared.clusters, compared.clusters[outside]))


def shares(current: SplitExamples, earlier: SplitExamples) -> NDArray[np.float64]:
    """Return the share of each cell of a split that an attempt at an earlier split evaluated, one entry per cell.

    The cells are those of `np.unique(current.cells)`. The share is the largest of the shares of rows, of different
    contents and of clusters, so that copies of a new example renew nothing. Of large splits, only examples that both
    splits keep are compared. A cell without such examples gets the share of all cells; without any such examples, all
    shares are 1. They are 1 too if contents cannot be compared with names and the tables of counts are equal.
    """
    cells = np.unique(current.cells)
    compared = current.in_sample(earlier.bits)
    hits = evaluated(compared, earlier)
    if not len(hits) or _have_same_table(current, earlier):
        return np.ones(len(cells))
    return _largest_shares(cells, compared, hits)


def _largest_shares(cells: Indices, compared: SplitExamples, hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the largest of the shares of rows, of contents and of clusters that are hits, in each of these cells."""
    index = np.searchsorted(cells, compared.cells)
    largest = _shares_of(index, hits, len(cells))
    for keys in (compared.contents, compared.clusters):
        units, unit = np.unique(keys, return_inverse=True)
        if len(units) < len(keys):
            rows = np.unique(unit * len(cells) + index, return_index=True)[1]
            largest = np.maximum(largest, _shares_of(index[rows], hits[rows], len(cells)))
    return largest


def _shares_of(cells: Indices, hits: NDArray[np.bool_], count: int) -> NDArray[np.float64]:
    """Return the share of hits in each of `count` cells, and the share of all hits for a cell without rows."""
    totals = np.bincount(cells, minlength=count)
    sums = np.bincount(cells, weights=hits, minlength=count)
    return np.asarray(np.where(totals > 0, sums / np.maximum(totals, 1), hits.mean()))


def _have_same_table(current: SplitExamples, earlier: SplitExamples) -> bool:
    """Return whether one split has contents only and the other names only, and their cells have equal counts.

    `gate model` knows the contents of examples with the file of their split, and only their names without it.
    """
    if (current.names is None) == (earlier.names is None):
        return False
    named = earlier if current.names is None else current
    if named.names is None or not np.array_equal(named.contents, named.names):
        return False
    counts, earlier_counts = (np.unique(each.cells, return_counts=True)[1] for each in (current, earlier))
    return np.array_equal(np.sort(counts), np.sort(earlier_counts))


def _in_sample(contents: Digests, bits: int) -> NDArray[np.bool_]:
    if bits == 0:
        return np.ones(len(contents), dtype=bool)
    return contents < np.uint64(2 ** (64 - bits))
