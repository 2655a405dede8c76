"""Two sets next to each other in one picture."""

import io

from fair_distill.distilled_set import DistilledSet
from fair_distill.report.grid import grid_png


def pair_png(a: DistilledSet, b: DistilledSet, *, gap: int = 24) -> bytes:
    """Return a PNG with the grid of `a` on the left and the grid of `b` on the right, `gap` pixels apart."""
    from PIL import Image

    pictures = [Image.open(io.BytesIO(grid_png(distilled))).convert("RGB") for distilled in (a, b)]
    width = sum(picture.width for picture in pictures) + gap
    canvas = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    canvas.paste(pictures[0], (0, 0))
    canvas.paste(pictures[1], (pictures[0].width + gap, 0))
    sink = io.BytesIO()
    canvas.save(sink, format="PNG", optimize=True)
    return sink.getvalue()
