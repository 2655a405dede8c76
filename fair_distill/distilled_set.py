"""The distilled set as a value and as a file: Parquet, with its card and recipe in the schema metadata.

Parquet and not Arrow IPC, because a published set is small and read everywhere. Light: no torch.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fair_distill.card import DatasetCard
from fair_distill.errors import DataError, ShapeError
from fair_distill.files import parse_json, to_json
from fair_distill.formats import arrow
from fair_distill.formats.row_schema import Categorical, RowSchema

_KEY = b"fair_distill"


@dataclass(frozen=True, eq=False)
class DistilledSet:
    """A small training set and its card.

    Attributes
    ----------
    images : float32 array (N, channels, height, width)
        In units of the real pixels over 255. Distilled pixels may lie outside [0, 1]: they are optimised,
        and cutting them off would ship another set than the one that was measured.
        Rows are (N, D, 1, 1), encoded by `card.schema`, and valid by it; `columns` decodes them.
    labels : int64 array (N,)
        Indices into `card.classes`. There is no group: a distilled image belongs to none.
    own : for a set from a registry, the SHA-256 of the source of each custom component (`package.module:callable`)
        that its manifest records; None for a set that was not loaded from a registry
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    card: DatasetCard
    own: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != np.float32 or self.images.shape != (self.card.examples, *self.card.shape):
            raise ShapeError(
                f"the card says {self.card.examples} images of {self.card.shape}; "
                f"got {self.images.dtype} {self.images.shape}"
            )
        if self.labels.shape != (len(self.images),):
            raise ShapeError(f"one label per image is needed: got {self.labels.shape} for {len(self.images)} images")
        if not np.isfinite(self.images).all():
            raise DataError("the set has pixels that are not finite")
        if self.card.schema is not None:
            self.card.schema.check(self.images, name="the set")
        if len(self.labels) and not (0 <= self.labels.min() and self.labels.max() < len(self.card.classes)):
            raise DataError(f"labels outside the {len(self.card.classes)} classes of the card")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns of rows, by name. Raises DataError for a set of images, which has none."""
        if self.card.schema is None:
            raise DataError(f"{self.card.name!r} is a set of images; it has no columns, take `images`")
        return self.card.schema.decode(self.images)

    def to_numpy(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return copies of images and labels."""
        return self.images.copy(), self.labels.copy()

    def to_torch(self, *, normalised: bool = True) -> Any:
        """Return a `torch.utils.data.Dataset` of the examples that the recipe trains on (tensors.Examples)."""
        # By name, so that whoever does not ask for it needs no torch.
        return import_module("fair_distill.tensors").Examples(self, normalised=normalised)

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame: the columns of rows, or an image a cell, and the label. Needs pandas."""
        return self.to_arrow().to_pandas()

    def to_arrow(self) -> pa.Table:
        """Return the table that is stored, with the card, and so the recipe, in the metadata of its schema."""
        if self.card.schema is None:
            content = {"image": arrow.tensors(self.images)}
        else:
            content = {name: pa.array(values) for name, values in self.columns.items()}
        columns = content | {"label": arrow.array(self.labels, pa.int32())}
        schema = pa.schema(
            [(name, column.type) for name, column in columns.items()],
            metadata={_KEY: to_json(self.card.to_dict())},
        )
        return pa.table(list(columns.values()), schema=schema)

    def to_parquet(self) -> bytes:
        """Return the file's bytes; the same set gives the same bytes under one version of pyarrow.

        An image is a column of tensors; a row is the columns of its table, for whoever reads it without us.
        """
        sink = io.BytesIO()
        pq.write_table(self.to_arrow(), sink, compression="zstd", store_schema=True)
        return sink.getvalue()

    @classmethod
    def from_parquet(cls, content: bytes, *, name: str = "the set") -> "DistilledSet":
        """Read what `to_parquet` wrote. Raises DataError, with `name` in the message, for anything else."""
        try:
            about = arrow.parquet_metadata(content)[_KEY]
            card = DatasetCard.from_dict(parse_json(about, name=f"{name}: its card"))
            limit = arrow.decoded_limit(content)
            if card.schema is not None and 4 * card.examples * sum(card.schema.widths) > 4 * limit:
                raise ValueError(f"its {card.examples:,} rows encode to more than {4 * limit:,} bytes")
            table = arrow.read_parquet_bounded(content, _columns(card), rows=card.examples, max_bytes=limit)
            if any(column.null_count for column in table.columns):
                raise ValueError("a value is null")
            if card.schema is None:
                images = table.column("image").combine_chunks().to_numpy_ndarray()
            else:
                images = _encoded(table, card.schema, name)
            labels = arrow.view(table.column("label").combine_chunks()).astype(np.int64)
        except (pa.ArrowException, OSError, KeyError, ValueError, AttributeError) as error:
            raise DataError(f"{name} is not a distilled set: {error}") from None
        return cls(images, labels, card)


def _columns(card: DatasetCard) -> dict[str, pa.DataType]:
    """Return the columns that `to_arrow` stores for such a card."""
    if card.schema is None:
        kinds = {"image": arrow.tensor_type(pa.float32(), card.shape)}
    else:
        kinds = {
            column.name: pa.string()
            if isinstance(column, Categorical)
            else pa.int64()
            if column.whole
            else pa.float32()
            for column in card.schema.columns
        }
    return kinds | {"label": pa.int32()}


def _encoded(table: pa.Table, schema: RowSchema, name: str) -> NDArray[Any]:
    try:
        images = schema.encode(table)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    schema.check(images, name=name)
    return images
