"""Conversion of pixels to uint8 images with 1 or 3 channels and 8 to 256 pixels per side.

Images have the shape (N, channels, height, width). Pixels outside the declared range are refused and never clipped.
"""

import io
import warnings
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from fair_distill.config import Positive, Section
from fair_distill.data.files.deep_png import read_deep_samples
from fair_distill.data.grouped_dataset import Array
from fair_distill.errors import DataError, ShapeError

SMALLEST, LARGEST = 8, 256
_FORMATS = ("PNG", "JPEG", "WEBP")
# Of an encoded image; 300 MB in colour. The header has the size, so a decompression bomb is refused before it is
# decoded.
_MAX_PIXELS = 10**8
_KEY = "params.yaml: data.source.pixels"
_BATCH = 4096


class Pixels(Section):
    """How to convert pixels. Keys that are not set change nothing.

    Attributes
    ----------
    shape : channels, height, width of images that are stored as rows of numbers
    range : the values that become 0 and 255; required unless pixels are uint8. Of encoded images, only PNG with 16 bits
        use it
    channels : 1 (Rec. 601 luma of colour images) or 3 (grey images repeated)
    size, resize : the side length of every image. `pad` shrinks the image if necessary, and centres it on black; `crop`
        fills the square and cuts off the rest; `stretch` changes the proportions
    """

    shape: Annotated[tuple[Positive, Positive, Positive], Field(strict=False)] | None = None
    range: Annotated[tuple[float, float], Field(strict=False)] | None = None
    channels: Literal[1, 3] | None = None
    size: Annotated[int, Field(ge=SMALLEST, le=LARGEST)] | None = None
    resize: Literal["pad", "crop", "stretch"] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Pixels":
        if (self.size is None) != (self.resize is None):
            raise ValueError("size and resize must be set together")
        if self.range is not None and not (np.isfinite(self.range).all() and self.range[0] < self.range[1]):
            raise ValueError(f"range must be two finite numbers, the smaller first; got {list(self.range)}")
        return self


def to_images(values: Array, pixels: Pixels, *, where: str, first: int = 0) -> Array:
    """Return an array of pixels as uint8 images (N, channels, height, width).

    Parameters
    ----------
    values : (N, height, width), (N, channels, height, width), (N, height, width, channels), or flat rows if
        `pixels.shape` is set
    where : the file and the array, for messages
    first : the position of the first image in the file, for messages

    Raises
    ------
    ShapeError, DataError
        If the array has no images, or a pixel is NaN, infinite or outside the range.
    """
    images = _convert_channels(_to_bytes(_as_nchw(values, pixels, where), pixels, where, first), pixels.channels)
    return _check_size(_resize(images, pixels), where)


def decode(content: bytes, pixels: Pixels, *, where: str) -> Array:
    """Return a PNG, JPEG or WebP as uint8 (channels, height, width), turned upright and without transparency."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about sizes that are refused below
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
            if image.width * image.height > _MAX_PIXELS:
                raise DataError(
                    f"{where}: the image has {image.width}×{image.height} pixels; "
                    f"at most {_MAX_PIXELS:,} are decoded. Shrink the image, or remove it"
                )
            # A JPEG may contain a preview or a depth map as a second picture.
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format in {"PNG", "WEBP"}:
                raise DataError(
                    f"{where}: the image is an animation with {frames} pictures. Store one picture in each file"
                )
            values = _samples(image, pixels, where)
    except DataError:
        raise
    except Exception as error:  # a decoder may raise any exception for bytes that were made to break it
        message = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(
            f"{where} is not a readable PNG, JPEG or WebP image ({message}). Replace it, or remove it"
        ) from None
    batch = values.reshape(1, *values.shape[:2], -1).transpose(0, 3, 1, 2)
    image_cHW: Array = _check_size(_resize(_convert_channels(batch, pixels.channels), pixels), where)[0]
    return image_cHW


def _samples(image: Any, pixels: Pixels, where: str) -> Array:
    """Return the pixels of an opened file as uint8 (height, width) or (height, width, 3)."""
    from PIL import Image, ImageOps

    deep = read_deep_samples(image)
    if deep is None:
        upright = ImageOps.exif_transpose(image)
        grey = upright.mode in {"1", "L", "LA"}
        return np.asarray(upright.convert("L" if grey else "RGB")).astype(np.uint8)
    # A turn by a multiple of 90 degrees moves pixels and does not change them, so it can follow the conversion.
    turned = Image.fromarray(_from_16_bits(deep, pixels, where))
    turned.info["exif"] = image.getexif().tobytes()
    return np.asarray(ImageOps.exif_transpose(turned))


def _from_16_bits(values: Array, pixels: Pixels, where: str) -> Array:
    """Return 16-bit values as 8 bits, from their full range or from the declared one, such as that of 12 bits."""
    if pixels.range is None:
        eight_bits: Array = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return eight_bits
    image: Array = _to_bytes(values.reshape(1, 1, len(values), -1), pixels, where, 0)
    return image.reshape(values.shape)


def luma(images: Array) -> Array:
    """Return the luma of each image by Rec. 601, (N, 1, height, width)."""
    if images.shape[1] == 1:
        return images
    weighted = np.tensordot(images.astype(np.uint32), np.array([299, 587, 114], np.uint32), axes=(1, 0))
    return ((weighted + 500) // 1000).astype(np.uint8)[:, None]


def _as_nchw(values: Array, pixels: Pixels, where: str) -> Array:
    if values.ndim == 2 and pixels.shape is not None:
        if values.shape[1] != np.prod(pixels.shape):
            raise ShapeError(
                f"{where} has {values.shape[1]} numbers per image, which do not fill the shape {pixels.shape}. "
                f"Correct {_KEY}.shape"
            )
        return values.reshape(len(values), *pixels.shape)
    if values.ndim == 3:
        return values[:, None]
    if values.ndim == 4 and values.shape[1] in {1, 3}:
        return values
    if values.ndim == 4 and values.shape[3] in {1, 3}:
        return np.moveaxis(values, 3, 1)
    hint = f". Set {_KEY}.shape" if values.ndim == 2 else ""
    raise ShapeError(f"{where} must have images with 1 or 3 channels; got an array of the shape {values.shape}{hint}")


def _to_bytes(images: Array, pixels: Pixels, where: str, first: int) -> Array:
    if images.dtype == np.uint8 and pixels.range is None:
        return images
    if images.dtype.kind not in "uif":
        raise DataError(f"{where}: pixels must be numbers; got {images.dtype}")
    if pixels.range is None:
        raise DataError(f"{where}: pixels are {images.dtype}. Set {_KEY}.range to the values that become 0 and 255")
    low, high = pixels.range
    result = np.empty(images.shape, dtype=np.uint8)
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH].astype(np.float64)
        # These comparisons are false for NaN, so NaN counts as outside.
        inside = ((batch >= low) & (batch <= high)).all(axis=(1, 2, 3))
        if not inside.all():
            row = int(np.flatnonzero(~inside)[0])
            wrong = batch[row][~((batch[row] >= low) & (batch[row] <= high))][0]
            raise DataError(
                f"{where}: example {first + start + row} has a pixel of {wrong:g}, outside {low:g} to {high:g}. "
                f"Correct the data, or {_KEY}.range"
            )
        result[start : start + _BATCH] = np.round((batch - low) * (255 / (high - low)))
    return result


def _convert_channels(images: Array, channels: int | None) -> Array:
    if channels == 1:
        return luma(images)
    return np.repeat(images, 3, axis=1) if channels == 3 and images.shape[1] == 1 else images


def _resize(images: Array, pixels: Pixels) -> Array:
    size = pixels.size
    if size is None or images.shape[2:] == (size, size):
        return images
    if pixels.resize == "pad":
        longer = max(images.shape[2:])
        if longer > size:
            height, width = (max(1, round(side * size / longer)) for side in images.shape[2:])
            images = _scale(images, height, width)
        return _pad(images, size)
    if pixels.resize == "crop":
        height, width = images.shape[2:]
        shorter = min(height, width)
        top, left = (height - shorter) / 2, (width - shorter) / 2
        return _scale(images, size, size, box=(left, top, left + shorter, top + shorter))
    return _scale(images, size, size)


def _pad(images: Array, size: int) -> Array:
    height, width = images.shape[2:]
    top, left = (size - height) // 2, (size - width) // 2
    canvas = np.zeros((*images.shape[:2], size, size), dtype=np.uint8)
    canvas[:, :, top : top + height, left : left + width] = images
    return canvas


def _scale(images: Array, height: int, width: int, *, box: tuple[float, float, float, float] | None = None) -> Array:
    from PIL import Image

    result = np.empty((*images.shape[:2], height, width), dtype=np.uint8)
    for image, scaled in zip(images.reshape(-1, *images.shape[2:]), result.reshape(-1, height, width), strict=True):
        scaled[:] = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, box=box))
    return result


def _check_size(images: Array, where: str) -> Array:
    height, width = images.shape[2:]
    if min(height, width) < SMALLEST or max(height, width) > LARGEST:
        raise ShapeError(
            f"{where}: images must have {SMALLEST} to {LARGEST} pixels per side; got {height}×{width}. "
            f"Set {_KEY}.size and resize"
        )
    return images
