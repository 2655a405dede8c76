"""Real images by row, for what looks at them once and draws nothing: which rows, and as floats."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fair_distill.data.grouped_dataset import Array
from fair_distill.distillation.sampling import as_pixels


def in_unit(images: Array) -> Tensor:
    """Return a copy of stored images as float32 in the unit of published sets."""
    return as_pixels(torch.from_numpy(np.array(images)))


def spread_evenly(rows: Sequence[int], most: int) -> Array:
    """Return `most` of the rows, spread evenly over them, or all where there are no more."""
    chosen = np.linspace(0, len(rows) - 1, num=min(len(rows), most)).round().astype(int)
    return np.asarray(np.asarray(rows, dtype=np.int64)[chosen])
