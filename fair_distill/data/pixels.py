"""What images are on disk, and what they become: uint8, 1 or 3 channels, 8 to 256 pixels a side.

N images of (channels, height, width). Anything outside the declared range is refused, not clipped.
"""

import io
import warnings
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from fair_distill.config import Positive, Section
from fair_distill.data.grouped_dataset import Array
from fair_distill.errors import DataError, ShapeError

SMALLEST, LARGEST = 8, 256
_MOST_PIXELS = 2**24  # of one PNG or JPEG: 48 MB in colour; a bomb says so in its header, before it is decoded
_KEY = "params.yaml: data.source.pixels"
_BATCH = 4096


class Pixels(Section):
    """How to read pixels. What is left out stays as it is.

    Attributes
    ----------
    shape : channels, height, width of images that come as rows of numbers
    range : the values that become 0 and 255; needed unless pixels are uint8. Of PNG and JPEG it is for 16 bits
    channels : 1 (Rec. 601 luma of colour images) or 3 (grey images, three times)
    size, resize : the side that every image gets. `pad` keeps it whole on black, and enlarges nothing; `crop` fills the
        square and cuts off what sticks out; `stretch` forgets proportions
    """

    shape: Annotated[tuple[Positive, Positive, Positive], Field(strict=False)] | None = None
    range: Annotated[tuple[float, float], Field(strict=False)] | None = None
    channels: Literal[1, 3] | None = None
    size: Annotated[int, Field(ge=SMALLEST, le=LARGEST)] | None = None
    resize: Literal["pad", "crop", "stretch"] | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Pixels":
        if (self.size is None) != (self.resize is None):
            raise ValueError("size and resize go together: how large, and by which rule")
        if self.range is not None and not (np.isfinite(self.range).all() and self.range[0] < self.range[1]):
            raise ValueError(f"a range is two numbers, the smaller first; got {list(self.range)}")
        return self


def to_images(values: Array, pixels: Pixels, *, where: str, first: int = 0) -> Array:
    """Return uint8 images (N, channels, height, width) of an array of pixels.

    Takes (N, height, width), channels first or last, or flat rows if `pixels.shape` says what they are. `first` is the
    number of the first of them, for messages.

    Raises
    ------
    ShapeError, DataError
        If it is no array of images, or a pixel is NaN, infinite or outside the range.
    """
    images = _in_channels(_to_bytes(_as_nchw(values, pixels, where), pixels, where, first), pixels.channels)
    return _checked(_resized(images, pixels), where)


def decode(content: bytes, pixels: Pixels, *, where: str) -> Array:
    """Return one PNG or JPEG as uint8 (channels, height, width), upright; transparency is dropped."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what is refused below, in our words
            image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
            if image.width * image.height > _MOST_PIXELS:
                raise DataError(
                    f"{where}: the image says it is {image.width}×{image.height}; "
                    f"at most {_MOST_PIXELS:,} pixels are decoded. Make it smaller, or leave it out"
                )
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                values = _sixteen(np.asarray(upright), pixels, where)
            else:
                grey = upright.mode in {"1", "L", "LA"}
                values = np.asarray(upright.convert("L" if grey else "RGB"))
    except DataError:
        raise
    except Exception as error:  # a decoder may raise anything on bytes that were made to break it
        fault = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{where}: a PNG or JPEG image was wanted; {fault}") from None
    one = values.astype(np.uint8).reshape(1, upright.height, upright.width, -1).transpose(0, 3, 1, 2)
    image_cHW: Array = _checked(_resized(_in_channels(one, pixels.channels), pixels), where)[0]
    return image_cHW


def _sixteen(values: Array, pixels: Pixels, where: str) -> Array:
    """Return 16 bits as 8: all of their range, or the declared one, as of a camera with 12 bits."""
    image: Array = (
        (values.astype(np.uint32) + 128) // 257
        if pixels.range is None
        else _to_bytes(values[None, None], pixels, where, 0)[0, 0]
    )
    return image


def luma(images: Array) -> Array:
    """Return the grey of each image, (N, 1, height, width), by Rec. 601."""
    if images.shape[1] == 1:
        return images
    weighted = np.tensordot(images.astype(np.uint32), np.array([299, 587, 114], np.uint32), axes=(1, 0))
    return ((weighted + 500) // 1000).astype(np.uint8)[:, None]


def _as_nchw(values: Array, pixels: Pixels, where: str) -> Array:
    if values.ndim == 2 and pixels.shape is not None:
        if values.shape[1] != np.prod(pixels.shape):
            raise ShapeError(f"{where}: {values.shape[1]} numbers an image are no {pixels.shape}; mend {_KEY}.shape")
        return values.reshape(len(values), *pixels.shape)
    if values.ndim == 3:
        return values[:, None]
    if values.ndim == 4 and values.shape[1] in {1, 3}:
        return values
    if values.ndim == 4 and values.shape[3] in {1, 3}:
        return np.moveaxis(values, 3, 1)
    hint = f"; say {_KEY}.shape" if values.ndim == 2 else ""
    raise ShapeError(f"{where}: images of 1 or 3 channels are wanted, got an array of {values.shape}{hint}")


def _to_bytes(images: Array, pixels: Pixels, where: str, first: int) -> Array:
    if images.dtype == np.uint8 and pixels.range is None:
        return images
    if images.dtype.kind not in "uif":
        raise DataError(f"{where}: pixels are numbers; got {images.dtype}")
    if pixels.range is None:
        raise DataError(f"{where}: pixels are {images.dtype}; say in {_KEY}.range which values are to become 0 and 255")
    low, high = pixels.range
    result = np.empty(images.shape, dtype=np.uint8)
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH].astype(np.float64)
        # Written so that NaN is outside too.
        inside = ((batch >= low) & (batch <= high)).all(axis=(1, 2, 3))
        if not inside.all():
            row = int(np.flatnonzero(~inside)[0])
            wrong = batch[row][~((batch[row] >= low) & (batch[row] <= high))][0]
            raise DataError(
                f"{where}: example {first + start + row} has a pixel of {wrong:g}, outside {low:g} to {high:g}; "
                f"mend the data, or {_KEY}.range"
            )
        result[start : start + _BATCH] = np.round((batch - low) * (255 / (high - low)))
    return result


def _in_channels(images: Array, channels: int | None) -> Array:
    if channels == 1:
        return luma(images)
    return np.repeat(images, 3, axis=1) if channels == 3 and images.shape[1] == 1 else images


def _resized(images: Array, pixels: Pixels) -> Array:
    size = pixels.size
    if size is None or images.shape[2:] == (size, size):
        return images
    if pixels.resize == "pad":
        longer = max(images.shape[2:])
        if longer > size:
            height, width = (max(1, round(side * size / longer)) for side in images.shape[2:])
            images = _scaled(images, height, width)
        return _on_black(images, size)
    if pixels.resize == "crop":
        height, width = images.shape[2:]
        shorter = min(height, width)
        top, left = (height - shorter) / 2, (width - shorter) / 2
        return _scaled(images, size, size, box=(left, top, left + shorter, top + shorter))
    return _scaled(images, size, size)


def _on_black(images: Array, size: int) -> Array:
    height, width = images.shape[2:]
    top, left = (size - height) // 2, (size - width) // 2
    canvas = np.zeros((*images.shape[:2], size, size), dtype=np.uint8)
    canvas[:, :, top : top + height, left : left + width] = images
    return canvas


def _scaled(images: Array, height: int, width: int, *, box: tuple[float, float, float, float] | None = None) -> Array:
    from PIL import Image

    result = np.empty((*images.shape[:2], height, width), dtype=np.uint8)
    for image, scaled in zip(images.reshape(-1, *images.shape[2:]), result.reshape(-1, height, width), strict=True):
        scaled[:] = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, box=box))
    return result


def _checked(images: Array, where: str) -> Array:
    height, width = images.shape[2:]
    if min(height, width) < SMALLEST or max(height, width) > LARGEST:
        raise ShapeError(
            f"{where}: images of {SMALLEST} to {LARGEST} pixels a side are wanted, got {height}×{width}; "
            f"say {_KEY}.size and resize"
        )
    return images
