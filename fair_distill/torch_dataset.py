"""The examples of a distilled set as a `torch.utils.data.Dataset`; see `DistilledSet.to_torch`.

This module imports torch. `distilled_set` imports it only when `to_torch` is called.
"""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fair_distill.card import TrainingRecipe
from fair_distill.distillation.sampling import Normalisation
from fair_distill.distillation.synthetic import training_examples


class TorchDataset(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of an image and its class, and the recipe for training on them.

    Each stored mosaic becomes `recipe.formation`² examples.

    Attributes
    ----------
    images : float32 (N, channels, height, width), normalised by the recipe if `normalised` is true
    labels : int64 (N,), indices into `classes`
    recipe : the training recipe from the set's card
    classes : the names of the classes
    """

    def __init__(
        self,
        images: NDArray[Any],
        labels: NDArray[Any],
        *,
        recipe: TrainingRecipe,
        classes: Sequence[str],
        normalised: bool,
    ) -> None:
        self.recipe = recipe
        self.classes = classes
        examples, self.labels = training_examples(torch.tensor(images), torch.tensor(labels), recipe.formation)
        self.images = Normalisation(recipe.mean, recipe.std).apply(examples) if normalised else examples

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.images[i], self.labels[i]
