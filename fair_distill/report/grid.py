"""A picture of a set: a row of images for each class, or the rows of a table as lines."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fair_distill.distilled_set import DistilledSet
from fair_distill.formats.row_columns import Numeric
from fair_distill.formats.row_schema import RowSchema


def grid_png(distilled: DistilledSet, *, side: int = 40, gap: int = 4) -> bytes:
    """Return a PNG with a row of images for each class.

    Pixel values outside [0, 1] are clipped in the picture, not in the set.

    Parameters
    ----------
    side : approximate width of an image in the picture, in pixels
    gap : space between images, in pixels
    """
    if distilled.card.schema is not None:
        return _png(_table_rows(distilled, distilled.card.schema, gap=gap))
    pixels = (distilled.images.clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    scale = max(1, side // pixels.shape[1])
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    rows = [pixels[distilled.labels == label] for label in range(len(distilled.card.classes))]
    height, width = pixels.shape[1] + gap, pixels.shape[2] + gap
    canvas = np.full((len(rows) * height + gap, max(map(len, rows)) * width + gap, 3), 255, dtype=np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            top, left = gap + y * height, gap + x * width
            canvas[top : top + height - gap, left : left + width - gap] = image
    return _png(canvas)


def blank_png(side: int = 40) -> bytes:
    """Return a grey square, for a set whose images are restricted."""
    return _png(np.full((side, side, 3), 200, dtype=np.uint8))


def _table_rows(distilled: DistilledSet, schema: RowSchema, *, gap: int, cell: int = 8) -> NDArray[Any]:
    """Return an image with a line for each row, grouped by class, and a block for each column.

    A number is a grey level: white is the smallest value of the training data, black the largest. A category is one
    black cell in the block of its column.
    """
    columns = []
    for column, values in zip(schema.columns, schema.decode(distilled.images).values(), strict=True):
        if isinstance(column, Numeric):
            columns.append(((values - column.low) / max(column.high - column.low, 1e-9))[:, None])
        else:
            columns.append(values[:, None] == np.array(column.values))
        columns.append(np.zeros((len(values), 1)))
    dark = np.concatenate(columns[:-1], axis=1).astype(float)
    shades = (255 * (1 - dark)).round().astype(np.uint8).repeat(cell, axis=0).repeat(cell, axis=1)
    labels = distilled.labels.repeat(cell)
    width = shades.shape[1]
    blocks = [np.vstack([shades[labels == label], np.full((gap, width), 128)]) for label in np.unique(distilled.labels)]
    canvas = np.pad(np.vstack(blocks), ((gap, 0), (gap, gap)), constant_values=128)
    return canvas.astype(np.uint8)


def _png(canvas: NDArray[Any]) -> bytes:
    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(canvas).save(sink, format="PNG", optimize=True)
    return sink.getvalue()
