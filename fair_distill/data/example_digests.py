"""Digests of the content of examples, which recognise an example in another split, order or data set.

A digest covers the pixels of an image, or the values of a row of a table. It does not cover the label, the group, the
name or the position. N examples.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.files import to_json
from fair_distill.formats.row_schema import RowSchema

# The number of rows of a table that are Python values at a time.
_BLOCK = 2**12
# A whole number, which a library may have written as floating point.
_NUMBER = re.compile(r"([+-]?[0-9]{1,18})(?:\.0*)?")


def content_digests(split: GroupedDataset) -> NDArray[np.uint64]:
    """Return the first 64 bits of the SHA-256 of each example's content, uint64 (N,)."""
    contents = _pixels(split) if split.schema is None else _rows(split, split.schema)
    return short_digests(contents, len(split))


def name_digests(split: GroupedDataset, *, dataset: str) -> NDArray[np.uint64] | None:
    """Return digests of the names of the examples in a data set, uint64 (N,); None if they have no names.

    A name identifies an example even if its pixels or its columns change. Other data sets may use the same names.
    """
    if split.ids is None:
        return None
    return digests_of_names(split.ids.to_pylist(), dataset=dataset)


def normalised_name(name: str) -> str:
    """Return a name without differences that readers overlook: Unicode form, case, outer blanks, and 1.0 for 1."""
    name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name.strip()).casefold()).strip()
    number = _NUMBER.fullmatch(name)
    return str(int(number[1])) if number else name


def plain_name_digests(names: Sequence[str]) -> NDArray[np.uint64]:
    """Return digests of normalised names, whatever the data set, uint64 (N,)."""
    return short_digests((normalised_name(name).encode() for name in names), len(names))


def cell_name_digests(
    labels: NDArray[np.integer], group_indices: NDArray[np.integer], *, classes: Sequence[str], groups: Sequence[str]
) -> NDArray[np.uint64]:
    """Return digests of the names of the class and the group of each example, uint64 (N,)."""
    cells, cell = np.unique(labels.astype(np.int64) * len(groups) + group_indices, return_inverse=True)
    names = (f"{classes[i // len(groups)]}\0{groups[i % len(groups)]}".encode() for i in cells.tolist())
    return short_digests(names, len(cells))[cell]


def name_unit_digests(kind: str, names: Sequence[str]) -> NDArray[np.uint64]:
    """Return the digests of `units.unit_name_digests` for each name as it is and for its normalised form, (N, 2)."""
    forms = (names, [normalised_name(name) for name in names])
    columns = [short_digests((f"{kind}\0{name}".encode() for name in form), len(names)) for form in forms]
    return np.stack(columns, axis=1)


def digests_of_names(names: Sequence[str], *, dataset: str) -> NDArray[np.uint64]:
    """Return digests of the names of examples in a data set, uint64 (N,)."""
    return short_digests((f"{dataset}\0{name}".encode() for name in names), len(names))


def _pixels(split: GroupedDataset) -> Iterator[bytes]:
    header = f"{split.images.dtype} {split.shape}\0".encode()
    for image in split.images:
        yield header + image.tobytes()


def _rows(split: GroupedDataset, schema: RowSchema) -> Iterator[bytes]:
    # Values, not their encoding: the encoding of a category depends on the other categories in the training data.
    for start in range(0, len(split), _BLOCK):
        columns = schema.decode(np.asarray(split.images[start : start + _BLOCK]))
        names = sorted(columns)
        # Whether a column has integers only depends on the training data, so 3 and 3.0 must be equal; -0.0 is 0.0.
        columns = {name: values if values.dtype == object else values + 0.0 for name, values in columns.items()}
        for values in zip(*(columns[name].tolist() for name in names), strict=True):
            yield to_json(dict(zip(names, values, strict=True)))


def short_digests(contents: Iterable[bytes], count: int) -> NDArray[np.uint64]:
    """Return the first 64 bits of the SHA-256 of each content, uint64 (N,)."""
    # The first 64 bits, big-endian, so that numbers sort like the hexadecimal digests.
    first = b"".join(hashlib.sha256(content).digest()[:8] for content in contents)
    return np.frombuffer(first, ">u8", count).astype(np.uint64)
