"""Where raw images come from. A source is a function and a line in SOURCES.

A source returns grey or colour images with a class each; groups, splits and colours are added in `skew`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fair_distill.data.grouped import Array
from fair_distill.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images with a class each: uint8 (N, height, width) in grey, and indices into `classes`."""

    images: Array
    labels: Array
    classes: tuple[str, ...]


def digits(*, size: int) -> Labelled:
    """Return scikit-learn's handwritten digits: 1,797 images of 8×8, enlarged to `size` (bicubic).

    The test part of Optical Recognition of Handwritten Digits (Alpaydin & Kaynak, UCI, 1998).
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    if not isinstance(size, int) or not 8 <= size <= 256:
        raise ConfigError(f"params.yaml: data.source.size is {size!r}; digits need a whole number from 8 to 256")
    raw = load_digits()
    grey = np.round(raw.images * (255 / 16)).astype(np.uint8)
    large = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in grey]
    return Labelled(np.stack([np.asarray(image) for image in large]), raw.target, tuple("0123456789"))


SOURCES = {
    "digits": digits,
}


def read_source(name: str, options: dict[str, Any]) -> Labelled:
    """Call the source that params.yaml names, with its options."""
    if name not in SOURCES:
        raise ConfigError(f"params.yaml: data.source.name is {name!r}; choose one of {', '.join(SOURCES)}")
    try:
        return SOURCES[name](**options)
    except TypeError as error:
        raise ConfigError(f"params.yaml: data.source: {error}") from None
