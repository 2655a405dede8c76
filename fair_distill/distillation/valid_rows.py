"""Synthetic rows that stay rows: what a network is shown of them, and what is shipped, is valid at every step.

What is optimised is free: a number for each numeric column, a logit for each value of a category. What is looked at is
the nearest valid row: numbers clipped to the range of the training data and rounded where those are whole, exactly one
value of a category. The step between has no gradient of its own, so the gradient goes straight through it (Bengio,
Léonard & Courville, 2013), for categories by way of a softmax (Jang, Gu & Poole, "Categorical Reparameterization with
Gumbel-Softmax", ICLR 2017, straight-through, without the noise: a set that is shipped is not a sample).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fair_distill.config import Distill
from fair_distill.distillation.sampling import Normalisation
from fair_distill.distillation.synthetic import as_it_is
from fair_distill.errors import ConfigError
from fair_distill.formats.row_schema import Categorical, Numeric, RowSchema

Valid = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class ValidRows:
    """Maps free rows to valid ones, both normalised, (N, D, 1, 1); as if it were smooth, as far as gradients can tell.

    Attributes
    ----------
    temperature : of the softmax whose gradient a category has; the lower, the more the two likeliest values have of it
    """

    schema: RowSchema
    normalise: Normalisation
    temperature: float

    def __call__(self, free: Tensor) -> Tensor:
        widths = self.schema.widths
        raw = self.normalise.undo(free.detach()).split(widths, dim=1)
        nearest = [_nearest(column, block) for column, block in zip(self.schema.columns, raw, strict=True)]
        smooth = [
            (block / self.temperature).softmax(dim=1) if isinstance(column, Categorical) else block
            for column, block in zip(self.schema.columns, free.split(widths, dim=1), strict=True)
        ]
        through = torch.cat(smooth, dim=1)
        # The difference is exactly 0: the value is the valid row's to the bit, the gradient is the smooth one's.
        return self.normalise.apply(torch.cat(nearest, dim=1)) + (through - through.detach())


def _nearest(column: Numeric | Categorical, raw: Tensor) -> Tensor:
    """What `RowSchema.nearest` does in numpy, on the device."""
    if isinstance(column, Categorical):
        return torch.zeros_like(raw).scatter_(1, raw.argmax(dim=1, keepdim=True), 1.0)
    clipped = raw.clamp(column.low, column.high)
    return clipped.round() if column.whole else clipped


def keep_valid(schema: RowSchema | None, normalise: Normalisation, settings: Distill) -> Valid:
    """Return what keeps the set valid: of images, without a schema, nothing is asked.

    Raises
    ------
    ConfigError
        If the settings ask of rows what only images can do, or have an option of rows for images.
    """
    if schema is None:
        if settings.rows is not None:
            raise ConfigError("params.yaml: distill.rows is for the rows of a table; these are images. Take it out")
        return as_it_is
    if settings.rows is None:
        raise ConfigError(
            "params.yaml: distill.rows: this key is needed for the rows of a table, for example {temperature: 0.5}"
        )
    if settings.augment:
        raise ConfigError(f"params.yaml: distill.augment is {settings.augment}, which changes images; for rows say []")
    if settings.formation != 1:
        raise ConfigError(f"params.yaml: distill.formation is {settings.formation}; rows cannot be cut up, so say 1")
    return ValidRows(schema, normalise, settings.rows.temperature)
