"""The synthetic images by class, as one picture."""

import io

import numpy as np

from fair_distill.distilled import DistilledSet


def grid_png(distilled: DistilledSet, *, side: int = 40, gap: int = 4) -> bytes:
    """Return a PNG with a row a class and a column an image; each is enlarged to about `side` pixels.

    Pixels outside [0, 1] are shown at the end of the range: this is a picture, the set keeps them.
    """
    from PIL import Image

    pixels = (distilled.images.clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    times = max(1, side // pixels.shape[1])
    pixels = pixels.repeat(times, axis=1).repeat(times, axis=2)
    rows = [pixels[distilled.labels == label] for label in range(len(distilled.card.classes))]
    height, width = pixels.shape[1] + gap, pixels.shape[2] + gap
    canvas = np.full((len(rows) * height + gap, max(map(len, rows)) * width + gap, 3), 255, dtype=np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            top, left = gap + y * height, gap + x * width
            canvas[top : top + height - gap, left : left + width - gap] = image
    sink = io.BytesIO()
    Image.fromarray(canvas).save(sink, format="PNG", optimize=True)
    return sink.getvalue()
