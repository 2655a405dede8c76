"""What files say of each example, apart from its pixels: read in batches, and kept in as little memory as it takes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from fair_distill.data.categorical import Coded, Codes, Numbers, Texts
from fair_distill.data.columns import Classes, Columns, Labelled, as_names, as_weights, labelled
from fair_distill.data.files.arrays import opened_npz
from fair_distill.data.files.file import File
from fair_distill.data.files.tables import Csv, table_batches, tidied
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.image_stream import BATCH_BYTES, Stream
from fair_distill.errors import ConfigError, DataError, ShapeError
from fair_distill.formats.row_schema import RowSchema

# Columns by name, of some examples of a file; not all need to be there at once.
Batches = Iterable[Mapping[str, pa.Array]]


@dataclass(frozen=True, eq=False)
class Facts:
    """What several files say, one after the other.

    Attributes
    ----------
    columns : of each column what it says of each example: Coded for those of few values, else an Arrow array
    counts : for each file, how many examples each column knows of
    """

    columns: Mapping[str, Any]
    counts: tuple[Mapping[str, int], ...]


def gathered(files: Iterable[Batches], columns: Columns) -> Facts:
    """Read what files say in the columns that are no image."""
    gathering = {name: _gathering(name, columns) for name in columns.facts}
    counts = []
    for batches in files:
        count = dict.fromkeys(columns.facts, 0)
        for name, values in chain.from_iterable(batch.items() for batch in batches):
            gathering[name].add(values)
            count[name] += len(values)
        counts.append(count)
    return Facts({name: column.whole() for name, column in gathering.items()}, tuple(counts))


def _gathering(name: str, columns: Columns) -> Codes | Numbers | Texts:
    if name == columns.weight:
        return Numbers()
    return Codes() if name in columns.of_few_values else Texts()


def of_table(file: File, columns: Columns, csv: Csv | None) -> Iterator[dict[str, pa.Array]]:
    """Read what a table says about each example."""
    first = 0
    for rows in table_batches(file, columns.facts, BATCH_BYTES, csv=csv):
        named = {name: rows.column(name) for name in columns.facts}
        if csv is not None:
            named = {name: tidied(column, csv, number=False) for name, column in named.items()}
        yield {name: _fact(column, columns, name, file, first) for name, column in named.items()}
        first += len(rows)
    if first == 0:
        raise DataError(f"{file} has no rows; a row for each example was wanted")


def of_arrays(file: File, columns: Columns) -> Iterator[dict[str, pa.Array]]:
    """Read what the arrays of an .npz file say about each example."""
    for name in columns.facts:
        first = 0
        with opened_npz(file, name) as promise:
            for batch in promise.batches(BATCH_BYTES):
                yield {name: _fact(batch, columns, name, file, first)}
                first += len(batch)


def _fact(values: Any, columns: Columns, name: str, file: File, first: int) -> pa.Array:
    if name == columns.weight:
        return as_weights(values, where=f"{file}: {name}", first=first)
    return as_names(values, where=f"{file}: {name}", missing_as=columns.missing_as(name), first=first)


def joined(
    images: Stream,
    facts: Facts,
    columns: Columns,
    classes: Classes | None,
    *,
    by_file: Sequence[str] | None,
    labels: Coded | None = None,
    schema: Callable[[Iterable[Array]], RowSchema] | None = None,
) -> Labelled:
    """Put images and facts of the same files together; `by_file` is the split of each, if they are of splits.

    Raises
    ------
    ConfigError, ShapeError
        If splits are named twice, or a file knows of more or fewer examples than it has images.
    """
    if by_file is not None and columns.split:
        raise ConfigError("params.yaml: data.source: name splits by file or by columns.split, not by both")
    for part, counts in zip(images.parts, facts.counts, strict=True):
        for name, count in counts.items():
            if count != part.count:
                raise ShapeError(f"{part.name}: {part.count} images, but {count} entries in {name}")
    splits = None if by_file is None else Coded.repeated(by_file, [part.count for part in images.parts])
    return labelled(images, facts.columns, columns, classes, splits=splits, labels=labels, schema=schema)
