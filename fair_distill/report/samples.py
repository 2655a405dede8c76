"""What a set holds, class by class, for a page: strips of its images as data URLs, or some of its rows."""

import base64
import io
from dataclasses import dataclass

import numpy as np

from fair_distill.distilled_set import DistilledSet
from fair_distill.formats.row_schema import Numeric

_MOST_IMAGES = 10
_MOST_ROWS = 5


@dataclass(frozen=True)
class Strip:
    """Some images of one class side by side, in their own pixels; a page enlarges them.

    Attributes
    ----------
    shown, of : how many of how many
    width, height : in pixels
    """

    label: str
    shown: int
    of: int
    url: str
    width: int
    height: int


def strips(distilled: DistilledSet) -> list[Strip]:
    """Return a strip per class. Pixels outside [0, 1] are shown at the end of the range, as in `grid`."""
    from PIL import Image

    pixels = (distilled.images.clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    found = []
    for index, label in enumerate(distilled.card.classes):
        of_class = pixels[distilled.labels == index]
        some = of_class[:_MOST_IMAGES]
        if not len(some):
            continue
        size, wide = some.shape[1], some.shape[2]
        # A column of nothing between images: alpha, so that it is whatever the page is.
        canvas = np.zeros((size, len(some) * (wide + 1) - 1, 4), dtype=np.uint8)
        for i, image in enumerate(some):
            canvas[:, i * (wide + 1) : i * (wide + 1) + wide, :3] = image
            canvas[:, i * (wide + 1) : i * (wide + 1) + wide, 3] = 255
        sink = io.BytesIO()
        Image.fromarray(canvas).save(sink, format="PNG", optimize=True)
        url = "data:image/png;base64," + base64.b64encode(sink.getvalue()).decode()
        found.append(Strip(label, len(some), len(of_class), url, canvas.shape[1], size))
    return found


def rows(distilled: DistilledSet) -> tuple[list[str], list[list[str]]]:
    """Return the header and some rows of every class, as people read them."""
    schema = distilled.card.schema
    assert schema is not None
    columns = distilled.columns
    header = [column.name for column in schema.columns]
    numeric = {column.name for column in schema.columns if isinstance(column, Numeric)}
    shown = []
    for index, label in enumerate(distilled.card.classes):
        for row in np.flatnonzero(distilled.labels == index)[:_MOST_ROWS]:
            cells = [f"{columns[name][row]:,.6g}" if name in numeric else str(columns[name][row]) for name in header]
            shown.append([label, *cells])
    return ["class", *header], shown
