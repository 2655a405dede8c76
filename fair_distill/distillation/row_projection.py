"""Projection of synthetic rows onto valid rows of the table, so that networks and published sets contain valid rows.

The optimised tensor is unconstrained: one number per numeric column and one logit per value of a categorical column.
Its projection is the nearest valid row: numbers are clipped to the range of the training data and rounded if the
column contains whole numbers, and exactly one value of a category is set. The projection has no useful gradient, so
the gradient passes straight through it (Bengio, Léonard & Courville, 2013). For categories it passes through a softmax
(Jang, Gu & Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017, straight-through). We omit the
Gumbel noise, because a published set is not a sample.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fair_distill.config import Distill
from fair_distill.data.column_relations import ColumnRelation, find_relations, keep_relations
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.sampling import Normalisation
from fair_distill.distillation.synthetic import identity
from fair_distill.errors import ConfigError
from fair_distill.formats.row_columns import Categorical, Numeric
from fair_distill.formats.row_schema import RowSchema

Projection = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class RowProjection:
    """Maps unconstrained rows to valid rows, both normalised, (N, D, 1, 1), with a straight-through gradient.

    Attributes
    ----------
    schema : the columns of the table and their valid values
    normalise : the normalisation of both rows
    temperature : of the softmax that gives categories their gradient; a lower temperature concentrates the gradient on
        the two most likely values
    relations : the relations between columns that valid rows must have
    """

    schema: RowSchema
    normalise: Normalisation
    temperature: float
    relations: tuple[ColumnRelation, ...] = ()

    def __call__(self, rows: Tensor) -> Tensor:
        widths = self.schema.widths
        encoded = torch.split(self.normalise.undo(rows.detach()), widths, dim=1)
        nearest = [_nearest(column, block) for column, block in zip(self.schema.columns, encoded, strict=True)]
        smooth = [
            (block / self.temperature).softmax(dim=1) if isinstance(column, Categorical) else block
            for column, block in zip(self.schema.columns, torch.split(rows, widths, dim=1), strict=True)
        ]
        through = torch.cat(smooth, dim=1)
        # The difference is exactly 0, so the value is the valid row's and the gradient is the smooth row's.
        return self.normalise.apply(self._related(torch.cat(nearest, dim=1))) + (through - through.detach())

    def _related(self, nearest: Tensor) -> Tensor:
        if not self.relations:
            return nearest
        rows = keep_relations(self.schema, self.relations, nearest.cpu().numpy())
        return torch.from_numpy(rows).to(nearest.device)

    def nearest(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the nearest valid rows that have the relations. Rows are not normalised."""
        return keep_relations(self.schema, self.relations, self.schema.nearest(rows))


def _nearest(column: Numeric | Categorical, encoded: Tensor) -> Tensor:
    """Return the nearest valid values: `RowSchema.nearest` in torch, on the device."""
    if isinstance(column, Categorical):
        return torch.zeros_like(encoded).scatter_(1, encoded.argmax(dim=1, keepdim=True), 1.0)
    clipped = encoded.clamp(column.low, column.high)
    return clipped.round() if column.whole else clipped


def build_projection(dataset: GroupedDataset, normalise: Normalisation, settings: Distill) -> Projection:
    """Return the map from the optimised tensor to valid, normalised examples.

    All images are valid; those that are optimised in pixels are normalised.

    Parameters
    ----------
    dataset : the training data, whose relations between columns the rows keep if the settings say so

    Raises
    ------
    ConfigError
        If the settings use options of images for rows, or options of rows for images.
    """
    schema = dataset.schema
    if schema is None:
        if settings.rows is not None:
            raise ConfigError("params.yaml: distill.rows applies to rows of a table; the data are images. Remove it")
        return normalise.apply if settings.optimiser.unit == "pixel" else identity
    if settings.rows is None:
        raise ConfigError(
            "params.yaml: distill.rows is missing; the rows of a table need it, for example {temperature: 0.5}"
        )
    if settings.optimiser.unit is not None:
        raise ConfigError(
            f"params.yaml: distill.optimiser.unit is {settings.optimiser.unit!r}, which applies to images; the data "
            "are rows. Remove it"
        )
    if settings.augment:
        raise ConfigError(
            f"params.yaml: distill.augment is {settings.augment}, which applies to images; the data are rows. Use []"
        )
    if settings.formation != 1:
        raise ConfigError(
            f"params.yaml: distill.formation is {settings.formation}, which applies to images; the data are rows. Use 1"
        )
    relations = find_relations(schema, dataset.images) if settings.rows.relations == "keep" else ()
    return RowProjection(schema, normalise, settings.rows.temperature, relations)
