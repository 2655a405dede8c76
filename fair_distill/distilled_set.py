"""A distilled set: its images or rows, its labels and its card, in memory and as a Parquet file.

The file stores the card, which contains the training recipe, in its schema metadata. The format is Parquet instead of
Arrow IPC because published sets are small and many tools read Parquet. This module imports no torch.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fair_distill.card import DatasetCard
from fair_distill.errors import DataError, ShapeError, missing_library
from fair_distill.files import parse_json, to_json
from fair_distill.formats import arrow
from fair_distill.formats.mosaics import cut_mosaics
from fair_distill.formats.row_columns import Categorical, Numeric
from fair_distill.formats.row_schema import RowSchema
from fair_distill.formats.value_types import arrow_type
from fair_distill.text import html_table

_KEY = b"fair_distill"


@dataclass(frozen=True, eq=False)
class DistilledSet:
    """A small training set and its card.

    Attributes
    ----------
    images : float32 array (N, channels, height, width)
        Pixel values divided by 255. Distilled pixels can be outside [0, 1] because they are optimised. They are not
        clipped: clipping would ship a different set from the one that was evaluated.
        The rows of a table have shape (N, D, 1, 1). They are encoded by `card.schema` and valid under it; `columns`
        decodes them.
    labels : int64 array (N,)
        Indices into `card.classes`. Groups are not recorded: a distilled image does not belong to a group.
    custom_digests : mapping or None
        For a set from a registry, the SHA-256 of the source of each custom component (`package.module:callable`), as
        recorded in the manifest. None for a set that was not loaded from a registry.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    card: DatasetCard
    custom_digests: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != np.float32 or self.images.shape != (self.card.examples, *self.card.shape):
            raise ShapeError(
                f"the card describes {self.card.examples} images of shape {self.card.shape}; "
                f"got {self.images.dtype} {self.images.shape}"
            )
        if self.labels.shape != (len(self.images),):
            raise ShapeError(
                f"labels have shape {self.labels.shape}; one label for each of {len(self.images)} images is needed"
            )
        if not np.isfinite(self.images).all():
            raise DataError("the set contains pixels that are not finite")
        if self.card.schema is not None:
            self.card.schema.check(self.images, name="the set")
        if len(self.labels) and not (0 <= self.labels.min() and self.labels.max() < len(self.card.classes)):
            raise DataError(f"the set contains labels outside the {len(self.card.classes)} classes of its card")

    def __len__(self) -> int:
        return len(self.images)

    def _repr_html_(self) -> str:
        """Return the set for a notebook: the number of examples of each class."""
        counts = np.bincount(self.labels, minlength=len(self.card.classes))
        unit = self.card.unit
        caption = f"{self.card.name}: {len(self):,} {unit} of shape {'×'.join(map(str, self.card.shape))}; groups: "
        caption += ", ".join(self.card.groups)
        return html_table(("class", unit), zip(self.card.classes, counts.tolist(), strict=True), caption=caption)

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns of a table by name, with the types of the source, and without the label.

        Missing integers are NaN, so their column has floats, as in pandas. Raises DataError for a set of images, which
        has no columns.
        """
        return {name: values.to_numpy(zero_copy_only=False) for name, values in self._table_columns().items()}

    def _table_columns(self) -> dict[str, pa.Array]:
        if self.card.schema is None:
            raise DataError(f"{self.card.name!r} is a set of images and has no columns; use `images` instead")
        return self.card.schema.to_arrow(self.images)

    def to_numpy(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the examples to train on, and their labels, as copies.

        These are the images or encoded rows of the set. If its recipe has `formation` above 1, each stored image is a
        mosaic, and each of its formation² tiles is one example. Training on whole mosaics gives useless networks.
        """
        formation = self.card.recipe.formation
        return cut_mosaics(self.images, formation).copy(), np.repeat(self.labels, formation**2)

    def to_torch(self, *, normalised: bool = True) -> Any:
        """Return the examples that the recipe trains on as a `torch.utils.data.Dataset`; see `TorchDataset`."""
        # Imported here because loading a set must not import torch. The import contracts name this one exception.
        try:
            from fair_distill.torch_dataset import TorchDataset
        except ModuleNotFoundError as error:
            raise missing_library("DistilledSet.to_torch", error) from None

        return TorchDataset(
            self.images, self.labels, recipe=self.card.recipe, classes=self.card.classes, normalised=normalised
        )

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame with the columns of `to_arrow`; a missing value is NaN. Requires pandas."""
        frame = self.to_arrow().to_pandas()
        if self.card.schema is not None:
            # pandas 2 reads a missing text as NaN from a file, but as None from Arrow, and encoders distinguish them.
            for name in frame.columns[frame.isna().any()]:
                if frame[name].dtype == object:
                    frame[name] = frame[name].where(frame[name].notna(), np.nan)
        return frame

    def to_polars(self) -> Any:
        """Return a polars.DataFrame with the columns of `to_arrow`. Requires polars. Raises DataError for images."""
        self._table_columns()
        try:
            import polars
        except ModuleNotFoundError as error:
            raise missing_library("DistilledSet.to_polars", error) from None

        return polars.from_arrow(self.to_arrow())

    def to_arrow(self) -> pa.Table:
        """Return the table that `to_parquet` stores, with the card in the schema metadata.

        A table has its columns and its label with the names, the values and the types of the source. In a set of
        images, and in a table from before types were recorded, the column `label` has indices into `card.classes`.
        """
        schema = self.card.schema
        content = {"image": arrow.tensors(self.images)} if schema is None else schema.to_arrow(self.images)
        if schema is None or schema.label is None:
            columns = content | {"label": arrow.array(self.labels, pa.int32())}
        else:
            columns = content | {schema.label.name: schema.label.to_arrow(self.labels)}
        arrow_schema = pa.schema(
            [(name, column.type) for name, column in columns.items()],
            metadata={_KEY: to_json(self.card.to_dict())},
        )
        return pa.table(list(columns.values()), schema=arrow_schema)

    def to_parquet(self) -> bytes:
        """Return the bytes of the Parquet file. One version of pyarrow writes the same bytes for the same set.

        Images are stored in one column of tensors. The rows of a table are stored as their decoded columns, so that
        other tools can read them.
        """
        sink = io.BytesIO()
        pq.write_table(self.to_arrow(), sink, compression="zstd", store_schema=True)
        return sink.getvalue()

    @classmethod
    def from_parquet(cls, content: bytes, *, name: str = "the set") -> "DistilledSet":
        """Read the bytes that `to_parquet` wrote. Raises DataError, which contains `name`, for other content."""
        try:
            metadata = arrow.parquet_metadata(content)[_KEY]
            card = DatasetCard.from_dict(parse_json(metadata, name=f"{name}: its card"))
            limit = arrow.decoded_limit(content)
            if card.schema is not None and 4 * card.examples * sum(card.schema.widths) > 4 * limit:
                raise ValueError(f"{card.examples:,} rows encode to more than the allowed {4 * limit:,} bytes")
            table = arrow.read_parquet_bounded(content, _columns(card), rows=card.examples, max_bytes=limit)
            nullable = {column.name for column in card.schema.columns if _may_be_null(column)} if card.schema else ()
            if any(table.column(column).null_count for column in table.column_names if column not in nullable):
                raise ValueError("it contains a null value")
            if card.schema is None:
                images = table.column("image").combine_chunks().to_numpy_ndarray()
            else:
                images = _encoded(table, card.schema, name)
            if card.schema is None or card.schema.label is None:
                labels = arrow.view(table.column("label").combine_chunks()).astype(np.int64)
            else:
                labels = card.schema.label.encode(table.column(card.schema.label.name))
        except (pa.ArrowException, OSError, KeyError, ValueError, AttributeError) as error:
            raise DataError(f"{name} is not a distilled set: {error}") from None
        return cls(images, labels, card)


def _columns(card: DatasetCard) -> dict[str, pa.DataType]:
    """Return the names and types of the columns that `to_arrow` stores for a set with this card."""
    if card.schema is None:
        return {"image": arrow.tensor_type(pa.float32(), card.shape), "label": pa.int32()}
    types = {column.name: column.arrow_type for column in card.schema.columns}
    label = card.schema.label
    return types | ({"label": pa.int32()} if label is None else {label.name: arrow_type(label.type)})


def _may_be_null(column: Numeric | Categorical) -> bool:
    return isinstance(column, Categorical) and column.null


def _encoded(table: pa.Table, schema: RowSchema, name: str) -> NDArray[Any]:
    try:
        images = schema.encode(table)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    schema.check(images, name=name)
    return images
