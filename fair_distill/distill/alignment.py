"""Alignments: which targets a class's synthetic images are drawn to, given the statistics of its groups.

The only thing that changes between the vanilla method, FairDD and COBRA. C classes, G groups, D dimensions; a
statistic is a tuple of tensors, one per matched layer, (C, G, D) for cells and (C, D) for targets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fair_distill.data.grouped import Array
from fair_distill.distill.barycenter import BARYCENTERS, Barycenter, mean
from fair_distill.distill.sampling import Allocation
from fair_distill.errors import ConfigError

Statistic = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Target:
    """Where to go, and how much it counts for each class, (C,)."""

    statistic: Statistic
    weight: Tensor


class Alignment(Protocol):
    @property
    def allocation(self) -> Allocation:
        """How real images are best shared out over groups for these targets."""
        ...

    def targets(self, cells: Statistic) -> list[Target]:
        """Return the targets of every class."""
        ...


@dataclass(frozen=True, eq=False)
class Pooled:
    """The vanilla method: one target, the mean over all examples of the class.

    Cells are weighted by their shares, so the target stays what its papers say although batches are stratified.
    """

    shares_CG: Tensor
    allocation: Allocation = "proportional"

    def targets(self, cells: Statistic) -> list[Target]:
        pooled = tuple(mean(layer, self.shares_CG) for layer in cells)
        return [Target(pooled, torch.ones_like(self.shares_CG[:, 0]))]


@dataclass(frozen=True, eq=False)
class PerGroup:
    """FairDD (Zhou et al., NeurIPS 2025): every group is a target; the distances are summed.

    With group weights that are all 1/G, weights here are 1 each: the sum over groups of the paper.
    """

    weights_CG: Tensor
    allocation: Allocation = "equal"

    def targets(self, cells: Statistic) -> list[Target]:
        present = (self.weights_CG > 0).sum(dim=1)
        return [
            Target(tuple(layer[:, a] for layer in cells), self.weights_CG[:, a] * present)
            for a in range(self.weights_CG.shape[1])
        ]


@dataclass(frozen=True, eq=False)
class Barycentric:
    """COBRA (Moslemi et al., ICML 2026): one target, the barycenter of the groups' statistics, whatever their sizes."""

    barycenter: Barycenter
    weights_CG: Tensor
    allocation: Allocation = "equal"

    def targets(self, cells: Statistic) -> list[Target]:
        centre = tuple(self.barycenter(layer, self.weights_CG) for layer in cells)
        return [Target(centre, torch.ones_like(self.weights_CG[:, 0]))]


def group_weights(counts_CG: Array, groups: tuple[str, ...], declared: Mapping[str, float] | None) -> Tensor:
    """Return weights per class and group that sum to 1 over the groups a class has: uniform, or as declared."""
    if declared is not None and declared.keys() != set(groups):
        raise ConfigError(
            f"params.yaml: group_weights names {', '.join(sorted(declared))}; the groups are {', '.join(groups)}"
        )
    weights = torch.tensor([1.0 if declared is None else declared[group] for group in groups])
    present = torch.from_numpy(counts_CG > 0) * weights
    return present / present.sum(dim=1, keepdim=True)


def build_alignment(
    name: str,
    counts_CG: Array,
    groups: tuple[str, ...],
    *,
    barycenter: str | None = None,
    weights: Mapping[str, float] | None = None,
    device: torch.device | None = None,
) -> Alignment:
    """Return the alignment of that name for data with these counts.

    Raises
    ------
    ConfigError
        If the alignment or barycenter is unknown, or the weights do not name the groups.
    """
    counts = torch.from_numpy(counts_CG).float()
    if name == "pooled":
        return Pooled((counts / counts.sum(dim=1, keepdim=True)).to(device))
    uniform = group_weights(counts_CG, groups, weights).to(device)
    if name == "per_group":
        return PerGroup(uniform)
    if name == "barycentric":
        if barycenter not in BARYCENTERS:
            raise ConfigError(f"params.yaml: barycenter is {barycenter!r}; choose one of {', '.join(BARYCENTERS)}")
        return Barycentric(BARYCENTERS[barycenter], uniform)
    raise ConfigError(f"params.yaml: alignment is {name!r}; choose one of pooled, per_group, barycentric")
