"""Samples of a set for a page: some images of each class as data URLs, or some rows of each class."""

import base64
import io
from dataclasses import dataclass

import numpy as np

from fair_distill.distilled_set import DistilledSet
from fair_distill.formats.row_columns import Numeric

_MOST_IMAGES = 10
_MOST_ROWS = 3


@dataclass(frozen=True)
class Strip:
    """Some images of one class in one row, at their original size; the page enlarges them.

    Attributes
    ----------
    displayed : number of images in the strip
    total : number of images of the class
    url : a data URL of a PNG
    width, height : in pixels
    """

    label: str
    displayed: int
    total: int
    url: str
    width: int
    height: int


def strips(distilled: DistilledSet) -> list[Strip]:
    """Return a strip for each class. Pixel values outside [0, 1] are clipped, as in `grid_png`."""
    from PIL import Image

    pixels = (distilled.images.clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    result = []
    for index, label in enumerate(distilled.card.classes):
        of_class = pixels[distilled.labels == index]
        images = of_class[:_MOST_IMAGES]
        if not len(images):
            continue
        height, width = images.shape[1], images.shape[2]
        # The column between two images is transparent, so that it has the colour of the page.
        canvas = np.zeros((height, len(images) * (width + 1) - 1, 4), dtype=np.uint8)
        for i, image in enumerate(images):
            canvas[:, i * (width + 1) : i * (width + 1) + width, :3] = image
            canvas[:, i * (width + 1) : i * (width + 1) + width, 3] = 255
        sink = io.BytesIO()
        Image.fromarray(canvas).save(sink, format="PNG", optimize=True)
        url = "data:image/png;base64," + base64.b64encode(sink.getvalue()).decode()
        result.append(Strip(label, len(images), len(of_class), url, canvas.shape[1], height))
    return result


def rows(distilled: DistilledSet) -> dict[str, list[tuple[str, ...]]]:
    """Return for each class a line for each column of the table: its name, and its values in some rows of the class.

    A table can have so many columns that only lines of columns fit on a page.
    """
    schema = distilled.card.schema
    assert schema is not None
    columns = schema.decode(distilled.images)
    texts = {
        column.name: [f"{value:,.6g}" if isinstance(column, Numeric) else str(value) for value in columns[column.name]]
        for column in schema.columns
    }
    lines: dict[str, list[tuple[str, ...]]] = {}
    for index, label in enumerate(distilled.card.classes):
        of_class = np.flatnonzero(distilled.labels == index)[:_MOST_ROWS]
        if len(of_class):
            lines[label] = [(name, *(values[row] for row in of_class)) for name, values in texts.items()]
    return lines
