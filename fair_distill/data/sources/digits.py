"""Handwritten digits that are installed with scikit-learn."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from fair_distill.data.columns import SourceData


def digits(root: Path, /, *, size: Annotated[int, Field(ge=8, le=256)]) -> SourceData:
    """Return scikit-learn's handwritten digits: 1,797 images of 8×8, enlarged to `size` (bicubic).

    They are the test set of Optical Recognition of Handwritten Digits (Alpaydin & Kaynak, UCI, 1998).
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    raw = load_digits()
    grey = np.round(raw.images * (255 / 16)).astype(np.uint8)
    large = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in grey]
    return SourceData(np.stack([np.asarray(image) for image in large])[:, None], raw.target, tuple("0123456789"))
