"""What a candidate is made from, and what making it returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fair_distill.card import TrainingRecipe
from fair_distill.config import Config
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.experts import Trajectories
from fair_distill.distillation.loop import Checkpoints, Progress


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a candidate is made from.

    Attributes
    ----------
    root : the workspace, which the paths of imported sets are relative to
    train : the training split after distill.unknown was applied
    recipe : how networks will be trained on the set
    trajectories, checkpoints, progress : see `distillation.loop.optimise`
    """

    root: Path
    config: Config
    train: GroupedDataset
    recipe: TrainingRecipe
    device: torch.device
    trajectories: Trajectories | None
    checkpoints: Checkpoints
    progress: Progress


@dataclass(frozen=True, eq=False)
class Made:
    """A small set, before anything is measured on it.

    Attributes
    ----------
    images : float32 (N, channels, height, width), pixels divided by 255, or rows encoded by the schema of the data
    labels : int64 (N,)
    kind : of the card: {"distilled", "subset", "imported", "custom"}
    formation : each stored image is a mosaic of formation² smaller ones
    losses : the loss of every step; empty if nothing was optimised
    diagnostics : numbers for the card
    origin : who made an imported set, for the card
    """

    images: Array
    labels: Array
    kind: str
    formation: int
    losses: tuple[float, ...] = ()
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)


Maker = Callable[[Any, Inputs], Made]
