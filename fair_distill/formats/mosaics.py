"""Cuts mosaics into the examples that networks are trained on, without torch.

`distillation.synthetic.decode` does the same on tensors, differentiably; a test compares them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cut_mosaics(images: NDArray[Any], formation: int) -> NDArray[Any]:
    """Cut each image into formation² tiles and enlarge each tile to full size (bilinear).

    Parameters
    ----------
    images : float32 (N, channels, height, width)
    formation : tiles in each direction; 1 leaves the images as they are

    Returns
    -------
    float32 (N · formation², channels, height, width); the tiles of one image stay together, row by row
    """
    if formation == 1:
        return images
    height, width = images.shape[2:]
    enlarged = [
        np.einsum("yi,ncij,xj->ncyx", rows, images[:, :, top, left], columns, dtype=np.float64)
        for top, rows in _tiles(height, formation)
        for left, columns in _tiles(width, formation)
    ]
    return np.stack(enlarged, axis=1).reshape(-1, *images.shape[1:]).astype(np.float32)


def _tiles(side: int, formation: int) -> list[tuple[slice, NDArray[Any]]]:
    """Return for each tile along one axis its pixels, and the matrix (side, tile) that interpolates between them."""
    tile = -(-side // formation)
    centres = np.clip((np.arange(side) + 0.5) * tile / side - 0.5, 0, tile - 1)
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(tile)))
    starts = [round(i * (side - tile) / (formation - 1)) for i in range(formation)]
    return [(slice(start, start + tile), weights) for start in starts]
