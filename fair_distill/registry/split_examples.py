"""The examples of a gate split as digests, and the share of them that an earlier attempt evaluated.

A registry keeps 8 bytes for each example, 8 more for its name and 4 more for its cluster, so that a split which shares
examples with an earlier one is recognised under any name, in any order and in any data set. Of a split with more than
2,097,152 examples, only those are kept whose digest is in the lowest 1/2, 1/4, 1/8 and so on of the range. All splits
keep the same contents then, so shares are estimated from about a million examples, with a standard error of at most
0.05 points. But examples of such splits that share only a name or a cluster are often not recognised: of two examples
with different contents, the sample may have one only.

N examples, in cells: one cell for each class and group.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fair_distill.errors import IntegrityError
from fair_distill.files import is_sha256, parse_json, sha256, to_json
from fair_distill.registry.layout import MAX_EXAMPLES_BYTES

MOST_KEPT = 2**21
_FORMAT = 1
_MOST_HEADER = 2**20
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
    names : uint64 array (N,), digests of the names; None if examples have no names
    bits : 0 if all examples are kept, else only those whose digest begins with this many zero bits
    """

    split: str
    cells: Indices
    contents: Digests
    clusters: Indices
    names: Digests | None = None
    bits: int = 0

    def __len__(self) -> int:
        return len(self.contents)

    def kept(self) -> "SplitExamples":
        """Return the examples that a registry keeps, sorted by cell and digest, with small cluster numbers."""
        bits = max(0, math.ceil(math.log2(max(len(self), 1) / MOST_KEPT)))
        rows = np.flatnonzero(_in_sample(self.contents, bits))
        rows = rows[np.lexsort((self.contents[rows], self.cells[rows]))]
        clusters = np.unique(self.clusters[rows], return_inverse=True)[1].astype(np.int64)
        names = None if self.names is None else self.names[rows]
        return SplitExamples(self.split, self.cells[rows], self.contents[rows], clusters, names, bits)

    @cached_property
    def content(self) -> bytes:
        """The bytes of the file: a line of JSON, then the columns as little-endian numbers."""
        clustered = len(np.unique(self.clusters)) < len(self)
        header = {"format": _FORMAT, "split": self.split, "examples": len(self), "bits": self.bits}
        header |= {"clusters": clustered, "names": self.names is not None}
        header["cells"] = [list(pair) for pair in zip(*map(np.ndarray.tolist, self._cell_counts), strict=True)]
        line = b" ".join(to_json(header).split()) + b"\n"
        columns = [self.contents.astype("<u8")]
        columns += [self.clusters.astype("<u4")] if clustered else []
        columns += [self.names.astype("<u8")] if self.names is not None else []
        return line + b"".join(column.tobytes() for column in columns)

    @property
    def _cell_counts(self) -> tuple[Indices, Indices]:
        """The numbers of the cells, in order, and their counts of examples. Rows are sorted by cell."""
        cells, counts = np.unique(self.cells, return_counts=True)
        return cells, counts

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the bytes of the file."""
        return sha256(self.content)

    def holds(self, contents: Digests, names: Digests) -> NDArray[np.bool_]:
        """Return which examples have one of these names, bool (N,). Examples without names are compared by content."""
        return np.isin(self.contents, contents) if self.names is None else np.isin(self.names, names)

    def replaced(self, contents: Mapping[int, int], rows: NDArray[np.bool_]) -> "SplitExamples":
        """Return the examples with other digests in some rows, so that nobody can recognise these examples.

        The number of examples in each cell stays, and so does every share of the examples that attempts evaluated, if
        all splits of a registry get the same new digests.

        Parameters
        ----------
        contents : the new digest for each content and each name of these rows
        """

        def renamed(column: Digests) -> Digests:
            values = column.copy()
            values[rows] = [contents[value] for value in column[rows].tolist()]
            return values

        changed = replace(self, contents=renamed(self.contents))
        if self.names is not None:
            changed = replace(changed, names=renamed(self.names))
        order = np.lexsort((changed.contents, changed.cells))
        names = None if changed.names is None else changed.names[order]
        return replace(
            changed,
            cells=changed.cells[order],
            contents=changed.contents[order],
            clusters=changed.clusters[order],
            names=names,
        )

    @classmethod
    def from_bytes(cls, content: bytes, *, name: str) -> "SplitExamples":
        """Read the file. Raises IntegrityError, with `name`, unless it is one."""
        end = content.find(b"\n", 0, _MOST_HEADER)
        header = parse_json(content[:end] if end > 0 else b"", name=name, error=IntegrityError)
        keys = {"format": int, "split": str, "examples": int, "bits": int, "clusters": bool, "names": bool}
        cells = _read_cells(header.pop("cells", None))
        valid = header.keys() == keys.keys() and all(type(header[key]) is kind for key, kind in keys.items())
        if not valid or cells is None or header["format"] != _FORMAT or not is_sha256(header["split"]):
            raise IntegrityError(f"{name} has no header of format {_FORMAT} for the examples of a split")
        count, bits = header["examples"], header["bits"]
        widths = [("<u8", True), ("<u4", header["clusters"]), ("<u8", header["names"])]
        size = sum(int(kind[2]) * count for kind, present in widths if present)
        if not 0 <= bits <= _MOST_BITS or len(cells) != count or len(content) - end - 1 != size:
            raise IntegrityError(f"{name} has {len(content) - end - 1} bytes of digests; its header says {size}")
        offset = end + 1
        columns = []
        for kind, present in widths:
            columns.append(np.frombuffer(content, kind, count, offset) if present else None)
            offset += int(kind[2]) * count if present else 0
        contents, clusters, names = columns
        assert contents is not None
        return cls(
            split=header["split"],
            cells=cells,
            contents=contents.astype(np.uint64),
            clusters=np.arange(count) if clusters is None else clusters.astype(np.int64),
            names=None if names is None else names.astype(np.uint64),
            bits=bits,
        )

    def in_sample(self, bits: int) -> "SplitExamples":
        """Return the examples whose digest begins with this many zero bits."""
        rows = _in_sample(self.contents, bits)
        names = None if self.names is None else self.names[rows]
        return replace(
            self, cells=self.cells[rows], contents=self.contents[rows], clusters=self.clusters[rows], names=names
        )


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


def evaluated(current: SplitExamples, earlier: SplitExamples) -> NDArray[np.bool_]:
    """Return which examples of a split an attempt at an earlier split evaluated, bool (N,).

    An example counts as evaluated if the earlier split had its content or its name, or those of any other example of
    its cluster in the current split. So a duplicate of an evaluated example counts as evaluated too.
    """
    hits = np.isin(current.contents, earlier.contents)
    if current.names is not None and earlier.names is not None:
        hits |= np.isin(current.names, earlier.names)
    return np.isin(current.clusters, current.clusters[hits])


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
