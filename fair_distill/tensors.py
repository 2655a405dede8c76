"""A distilled set as torch takes it. Not for: loading one, which is light."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from fair_distill.distillation.sampling import Normalisation
from fair_distill.distilled_set import DistilledSet
from fair_distill.evaluation.train import unpacked


class Examples(Dataset[tuple[Tensor, Tensor]]):
    """The examples a network is shown of a set, each with its class, and the recipe to train by.

    Mosaics are cut up: one stored image is `recipe.formation`² examples.

    Attributes
    ----------
    images : float32 (N, channels, height, width), normalised by the recipe unless that was declined
    labels : int64 (N,), indices into `classes`
    """

    def __init__(self, distilled: DistilledSet, *, normalised: bool) -> None:
        self.recipe = distilled.card.recipe
        self.classes = distilled.card.classes
        images, self.labels = unpacked(
            torch.tensor(distilled.images), torch.tensor(distilled.labels), self.recipe.formation
        )
        self.images = Normalisation(self.recipe.mean, self.recipe.std).apply(images) if normalised else images

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.images[i], self.labels[i]
