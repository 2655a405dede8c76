"""The 16-bit samples of a PNG file. Pillow reads colours with 16 bits as 8 bits, and drops the lower halves.

Pillow unpacks the same bytes in several ways. Big-endian unpacking keeps the first byte of each sample, and
little-endian unpacking the second one, so two readings have all bits.
"""

import io
from typing import Any

import numpy as np

from fair_distill.data.grouped_dataset import Array

# For the way in which Pillow unpacks the upper halves, the way that returns the lower halves.
_LOWER_HALVES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}
# Grey with transparency has four bytes per pixel, like the four channels of 8 bits as which it is unpacked here.
_GREY_AND_ALPHA = "LA;16B"


def read_deep_samples(image: Any) -> Array | None:
    """Return the samples of an image that was opened with Pillow and not loaded yet, without transparency.

    Returns
    -------
    uint16 array (height, width) for grey or (height, width, 3) for colour; None unless the file is a PNG of 16 bits
    """
    unpacking = str(image.tile[0][3]) if image.format == "PNG" and image.tile else ""
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16)
    if unpacking == _GREY_AND_ALPHA:
        halves = np.asarray(_unpacked(image, "RGBA"))
        return _joined(halves[..., 0], halves[..., 1])
    if unpacking in _LOWER_HALVES:
        lower = np.asarray(_unpacked(image, _LOWER_HALVES[unpacking]))
        return _joined(np.asarray(image), lower)[..., :3]
    return None


def _unpacked(image: Any, unpacking: str) -> Any:
    """Open the file of an image again, with another way of unpacking."""
    from PIL import Image

    again = Image.open(io.BytesIO(image.fp.getvalue()), formats=("PNG",))
    again.tile = [tile._replace(args=unpacking) for tile in again.tile]
    return again


def _joined(upper: Array, lower: Array) -> Array:
    joined: Array = upper.astype(np.uint16) * 256 + lower
    return joined
