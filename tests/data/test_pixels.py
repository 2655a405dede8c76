"""Numbers become bytes, and sizes become one size, by rules with known answers."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from raw_png import raw_png
from small_files import png

from fair_distill.data.grouped_dataset import Array
from fair_distill.data.pixels import Pixels, decode, luma, to_images
from fair_distill.errors import DataError


def converted(values: Array, **pixels: Any) -> Array:
    return to_images(values, Pixels(**pixels), where="here")


def noise(*shape: int) -> Array:
    return np.random.default_rng(5).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(
    ("dtype", "bounds"), [(np.float32, (0.0, 1.0)), (np.float64, (-1.0, 1.0)), (np.uint16, (0.0, 65535.0))]
)
def test_a_declared_range_becomes_0_to_255(dtype: type, bounds: tuple[float, float]) -> None:
    images = noise(4, 1, 8, 8)
    low, high = bounds

    assert np.array_equal(converted((low + images / 255 * (high - low)).astype(dtype), range=bounds), images)


def test_16_bits_lose_their_lower_half_and_no_more() -> None:
    fine = np.arange(2**16, dtype=np.uint16).reshape(4, 1, 128, 128)

    assert np.array_equal(converted(fine, range=(0, 65535)), np.round(fine / 257))


@given(st.sampled_from([np.nan, np.inf, -np.inf, -0.01, 1.01]), st.integers(0, 4), st.integers(0, 63))
def test_a_pixel_out_of_range_is_named_wherever_it_is(value: float, example: int, place: int) -> None:
    images = np.full((5, 64), 0.5)
    images[example, place] = value

    with pytest.raises(DataError, match=rf"example {example} has a pixel of {value:g}, outside 0 to 1"):
        converted(images, shape=(1, 8, 8), range=(0, 1))


def test_the_ends_of_the_range_are_within() -> None:
    assert converted(np.array([0.0, 1.0]).repeat(32).reshape(1, 8, 8), range=(0, 1)).reshape(2, -1)[:, 0].tolist() == [
        0,
        255,
    ]


def test_channels_may_stand_first_or_last() -> None:
    first = noise(4, 3, 9, 10)

    assert np.array_equal(converted(first), converted(np.moveaxis(first, 1, 3)))
    assert np.array_equal(converted(first), converted(first.reshape(4, -1), shape=(3, 9, 10)))
    assert converted(noise(4, 9, 10)).shape == (4, 1, 9, 10)


def test_grey_in_three_channels_and_back_is_the_same() -> None:
    grey = noise(4, 1, 8, 8)

    three = converted(grey, channels=3)

    assert np.array_equal(three, grey.repeat(3, axis=1))
    assert np.array_equal(converted(three, channels=1), grey)


def test_luma_is_pillows_to_a_level() -> None:
    images = noise(20, 3, 8, 8)
    pillows = [np.asarray(Image.fromarray(np.moveaxis(image, 0, 2)).convert("L")) for image in images]

    assert np.abs(luma(images)[:, 0].astype(int) - np.array(pillows)).max() <= 1


def test_padding_centres_on_black_and_keeps_every_pixel() -> None:
    images = noise(3, 1, 28, 20)

    padded = converted(images, size=32, resize="pad")

    assert np.array_equal(padded[:, :, 2:30, 6:26], images)
    assert padded.sum(dtype=np.int64) == images.sum(dtype=np.int64)


@pytest.mark.parametrize(("resize", "filled"), [("pad", 0.5), ("crop", 1.0), ("stretch", 1.0)])
def test_a_wide_image_fills_as_much_as_its_rule_says(resize: str, filled: float) -> None:
    white = np.full((1, 3, 40, 80), 255, np.uint8)

    square = converted(white, size=16, resize=resize)

    assert square.shape == (1, 3, 16, 16)
    assert (square == 255).mean() == filled


def test_cropping_takes_the_middle() -> None:
    images = np.zeros((1, 1, 16, 48), np.uint8)
    images[..., 16:32] = noise(16, 16)

    assert np.array_equal(converted(images, size=16, resize="crop"), images[..., 16:32])


@pytest.mark.parametrize("resize", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("shape", [(1, 4000), (4000, 1), (3, 5), (257, 256)])
def test_any_shape_becomes_the_square(shape: tuple[int, int], resize: str) -> None:
    assert converted(noise(1, 1, *shape), size=8, resize=resize).shape == (1, 1, 8, 8)


def test_a_png_comes_out_as_it_went_in() -> None:
    for channels in (1, 3):
        image = noise(channels, 9, 11)
        assert np.array_equal(decode(png(image), Pixels(), where="here"), image)


def test_a_jpeg_comes_out_nearly_as_it_went_in() -> None:
    flat = np.full((3, 16, 16), 90, np.uint8)

    assert np.abs(decode(png(flat, "JPEG"), Pixels(), where="here").astype(int) - 90).max() <= 2


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("I;16", 1), ("P", 3), ("RGB", 3), ("RGBA", 3)]
)
def test_every_mode_of_png_is_grey_or_colour(mode: str, channels: int) -> None:
    sink = io.BytesIO()
    white = Image.new("L", (8, 8), 255)
    (Image.fromarray(np.full((8, 8), 65535, np.uint16)) if mode == "I;16" else white.convert(mode)).save(sink, "PNG")

    image = decode(sink.getvalue(), Pixels(), where="here")

    assert image.shape == (channels, 8, 8)
    assert (image == 255).all()


def test_an_image_that_lies_on_its_side_is_set_upright() -> None:
    sink = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    Image.fromarray(noise(8, 12)).save(sink, "PNG", exif=exif)

    assert np.array_equal(decode(sink.getvalue(), Pixels(), where="here")[0], np.rot90(noise(8, 12), -1))


DEEP = np.random.default_rng(0).integers(0, 2**16, (9, 11, 4)).astype(np.uint16)
UPRIGHT: dict[int, Callable[[Array], Array]] = {
    1: lambda it: it,
    3: lambda it: np.rot90(it, 2),
    6: lambda it: np.rot90(it, -1),
    8: np.rot90,
}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("turn", UPRIGHT)
def test_a_png_of_16_bits_keeps_all_bits_in_every_colour_type(channels: int, interlaced: bool, turn: int) -> None:
    samples = DEEP[:, :, :channels]
    tags = Image.Exif()
    tags[0x0112] = turn
    content = raw_png(samples, interlaced=interlaced, exif=tags.tobytes().removeprefix(b"Exif\0\0"))
    colours = np.moveaxis(UPRIGHT[turn](samples[:, :, : 3 if channels > 2 else 1]), 2, 0).astype(np.float64)

    assert np.array_equal(decode(content, Pixels(), where="here"), np.round(colours / 257))
    low, high = 0.0, 131070.0  # half the scale
    ranged = decode(content, Pixels(range=(low, high)), where="here")
    assert np.array_equal(ranged, np.round(colours * (255 / high)))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_sample_of_16_bits_outside_the_range_is_refused_in_every_colour_type(channels: int) -> None:
    samples = np.full((8, 8, channels), 4095, np.uint16)
    if channels in {2, 4}:
        samples[..., -1] = 65535  # the transparency is not a colour
    pixels = Pixels(range=(0, 4095))

    assert (decode(raw_png(samples), pixels, where="here") == 255).all()
    samples[3, 4, 0] = 5000
    with pytest.raises(DataError, match="a pixel of 5000, outside 0 to 4095"):
        decode(raw_png(samples), pixels, where="here")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_of_8_bits_is_read_unchanged(channels: int) -> None:
    samples = (DEEP[:, :, :channels] // 256).astype(np.uint8)
    colours = np.moveaxis(samples[:, :, : 3 if channels > 2 else 1], 2, 0)

    assert np.array_equal(decode(raw_png(samples), Pixels(), where="here"), colours)


def test_a_lossless_webp_is_read_unchanged() -> None:
    image = noise(3, 9, 11)
    sink = io.BytesIO()
    Image.fromarray(np.moveaxis(image, 0, 2)).save(sink, "WEBP", lossless=True)

    assert np.array_equal(decode(sink.getvalue(), Pixels(), where="here"), image)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_an_animation_is_refused(form: str) -> None:
    frames = [Image.fromarray(np.moveaxis(noise(3, 9, 11) // (i + 1), 0, 2)) for i in range(3)]
    sink = io.BytesIO()
    frames[0].save(sink, form, save_all=True, append_images=frames[1:])

    with pytest.raises(DataError, match="the image is an animation with 3 pictures"):
        decode(sink.getvalue(), Pixels(), where="here")


def test_a_photo_of_24_megapixels_is_read() -> None:
    sink = io.BytesIO()
    Image.new("RGB", (6000, 4000), (90, 90, 90)).save(sink, "JPEG")

    image = decode(sink.getvalue(), Pixels(size=32, resize="crop"), where="here")

    assert image.shape == (3, 32, 32)
    assert (image == 90).all()
