"""Candidates that a function of the operator makes, so that a new kind is one file outside of this package."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch

from fair_distill.candidates.maker import Inputs, Made
from fair_distill.config import Custom
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.errors import ConfigError
from fair_distill.plugins import bind_options, resolve
from fair_distill.seeds import torch_generator


class MakeExamples(Protocol):
    """A function that makes a small set. Its keyword arguments are the options in params.yaml."""

    def __call__(self, train: GroupedDataset, ipc: int, generator: torch.Generator) -> tuple[Array, Array]:
        """Return images, float32 (N, channels, height, width) with pixels divided by 255, and their classes (N,).

        Parameters
        ----------
        train : the training split; rows of a table are encoded by its schema, and so are the rows to return
        ipc : distill.ipc, the wanted number of examples of each class
        generator : for all random draws
        """


_BUILT_IN: Mapping[str, Callable[..., tuple[Array, Array]]] = {}


def make_custom(candidate: Custom, inputs: Inputs) -> Made:
    """Call the function that params.yaml names. Raises ConfigError if it cannot be called or returns something else."""
    name = candidate.make.name
    function: MakeExamples = bind_options(
        resolve(name, _BUILT_IN, where="candidates.make", custom=True),
        candidate.make.options,
        where=f"candidates.make {name!r}",
        arguments=3,
    )
    generator = torch_generator(inputs.config.seed, f"candidates.{name}")
    made = function(inputs.train, inputs.config.distill.ipc, generator)
    if not (isinstance(made, tuple) and len(made) == 2 and all(isinstance(part, np.ndarray) for part in made)):
        raise ConfigError(f"params.yaml: candidates.make {name!r} must return two arrays, the images and their classes")
    images, labels = made
    shape, classes = inputs.train.shape, len(inputs.train.classes)
    if images.dtype != np.float32 or images.shape[1:] != shape or labels.shape != images.shape[:1]:
        raise ConfigError(
            f"params.yaml: candidates.make {name!r} returned {images.dtype} {images.shape} and classes "
            f"{labels.shape}; it must return float32 (N, {', '.join(map(str, shape))}) and (N,)"
        )
    if labels.dtype.kind not in "iu" or not len(labels) or not 0 <= labels.min() <= labels.max() < classes:
        raise ConfigError(
            f"params.yaml: candidates.make {name!r} must return classes from 0 to {classes - 1} as integers"
        )
    return Made(images, labels.astype(np.int64), "custom", 1)
