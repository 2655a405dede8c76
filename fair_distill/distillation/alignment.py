"""Alignments: the targets of a class's synthetic images, given the statistics of the class's groups.

The alignment is the only difference between the vanilla method, FairDD and COBRA. C classes, G groups, N synthetic
images of a class, D dimensions. A statistic is a tuple of tensors, one per matched layer: (C, G, ...) for cells (a cell
is one group of one class), (C, ...) for targets and for the synthetic set.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fair_distill.config import Candidate, Distill, Named
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.barycenter import BARYCENTERS, Barycenter, mean
from fair_distill.distillation.clouds import CLOUD_BARYCENTERS, CloudBarycenter
from fair_distill.distillation.sampling import Allocation
from fair_distill.distillation.shrinkage import shrinkage
from fair_distill.errors import ConfigError
from fair_distill.plugins import bind_options, count_positional, require_type, resolve

Statistic = tuple[Tensor, ...]

# The targets that an alignment provides for each class. A matcher declares which of them it supports:
#   one_mean       one target, a weighted mean of the cells
#   one_per_group  several targets, each a weighted mean of the cells
#   one_target     one target, a non-linear function of the cells
#   clouds         a loss between whole clouds of embeddings
Provision = Literal["one_mean", "one_per_group", "one_target", "clouds"]

# A function of a class, its groups' clouds (n, D) each, and the synthetic cloud (N, D); returns a scalar loss.
CloudLoss = Callable[[int, Sequence[Tensor], Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Target:
    """A statistic to match, and its weight in the loss of each class.

    Attributes
    ----------
    statistic : one tensor (C, ...) per matched layer
    weight : (C,)
    """

    statistic: Statistic
    weight: Tensor


@dataclass(frozen=True, eq=False)
class Mixture:
    """A target that is a weighted mean of cells. A matcher can compute it in one pass with weighted examples.

    Attributes
    ----------
    cells : (C, G), the weights of the cells; a row sums to 1, or to 0 if the class has no such target
    weight : (C,), the weight of the target in the loss
    """

    cells: Tensor
    weight: Tensor


class Alignment(ABC):
    """The targets of each class. Custom alignments inherit from this class.

    Attributes
    ----------
    emphasis : (C, G), the weights of the cells of each class; rows sum to 1
    allocation : how batches of real images are shared among groups; "equal" or "proportional"
    uses_group_weights : whether the targets depend on the group weights; false for the pooled alignment
    """

    emphasis: Tensor
    allocation: Allocation
    uses_group_weights: bool = True

    @property
    def mixtures(self) -> tuple[Mixture, ...] | None:
        """The targets as weighted means of cells, or None if they are not linear in the cells."""
        return None

    @property
    def cloud_loss(self) -> CloudLoss | None:
        """The loss between clouds of embeddings, or None if the alignment compares statistics."""
        return None

    @property
    def provides(self) -> Provision:
        """The provision of the alignment. A matcher that does not support it is refused; see `method.build_method`."""
        if self.cloud_loss is not None:
            return "clouds"
        if self.mixtures is None:
            return "one_target"
        return "one_mean" if len(self.mixtures) == 1 else "one_per_group"

    @abstractmethod
    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        """Return the targets of some classes.

        Parameters
        ----------
        cells : the statistics of these classes' cells, (classes, G, ...) per layer
        classes : the classes that `cells` belongs to
        """


def _mix(mixtures: tuple[Mixture, ...], cells: Statistic, classes: slice) -> list[Target]:
    def weighted_mean(layer: Tensor, weights: Tensor) -> Tensor:
        return torch.unflatten(mean(layer.flatten(2), weights), 1, layer.shape[2:])

    return [
        Target(tuple(weighted_mean(layer, m.cells[classes]) for layer in cells), m.weight[classes]) for m in mixtures
    ]


@dataclass(frozen=True, eq=False)
class Pooled(Alignment):
    """The vanilla method: one target, the mean over all examples of the class.

    Cells are weighted by their shares of the class. So the target is that of the papers although batches are
    stratified.
    """

    emphasis: Tensor
    allocation: Allocation = "proportional"
    uses_group_weights = False

    @property
    def mixtures(self) -> tuple[Mixture, ...]:
        return (Mixture(self.emphasis, torch.ones_like(self.emphasis[:, 0])),)

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        return _mix(self.mixtures, cells, classes)


@dataclass(frozen=True, eq=False)
class PerGroup(Alignment):
    """FairDD (Zhou et al., NeurIPS 2025): every group is a target, and the distances are summed.

    If all group weights are 1/G, each target has weight 1, as in the sum over groups of the paper.
    """

    emphasis: Tensor
    allocation: Allocation = "equal"

    @property
    def mixtures(self) -> tuple[Mixture, ...]:
        present = self.emphasis > 0
        weights = self.emphasis * present.sum(dim=1, keepdim=True)
        single_group = torch.eye(self.emphasis.shape[1], device=self.emphasis.device)
        return tuple(Mixture(present * single_group[a], weights[:, a]) for a in range(len(single_group)))

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        return _mix(self.mixtures, cells, classes)


@dataclass(frozen=True, eq=False)
class Barycentric(Alignment):
    """COBRA (Moslemi et al., ICML 2026): one target, the barycenter of the groups' statistics.

    The sizes of the groups have no influence on it.

    Attributes
    ----------
    barycenter : a function of cells (C, G, D) and weights (C, G)
    linear : whether the barycenter is the weighted mean, so that its target is a mixture
    """

    barycenter: Barycenter
    emphasis: Tensor
    linear: bool
    allocation: Allocation = "equal"

    @property
    def mixtures(self) -> tuple[Mixture, ...] | None:
        if not self.linear:
            return None
        return (Mixture(self.emphasis, torch.ones_like(self.emphasis[:, 0])),)

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        weights = self.emphasis[classes]
        centre = tuple(
            torch.unflatten(self.barycenter(layer.flatten(2), weights), 1, layer.shape[2:]) for layer in cells
        )
        return [Target(centre, torch.ones_like(weights[:, 0]))]


@dataclass(frozen=True, eq=False)
class CloudBarycentric(Alignment):
    """Beyond COBRA: the synthetic images of a class match, as a cloud, the barycenter of its groups' clouds.

    A mean ignores spread, which COBRA's authors name as a limitation. Only matchers of embeddings support this
    alignment. Its `targets` are the weighted means of the cells, which are the means of all cloud barycenters.
    """

    barycenter: CloudBarycenter
    emphasis: Tensor
    allocation: Allocation = "equal"

    @property
    def cloud_loss(self) -> CloudLoss:
        return lambda label, clouds, synthetic: self.barycenter(clouds, self.emphasis[label], synthetic)

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        return _mix((Mixture(self.emphasis, torch.ones_like(self.emphasis[:, 0])),), cells, classes)


@dataclass(frozen=True, eq=False)
class Shrunken(Alignment):
    """An alignment whose cells are first mapped: thin cells towards their parents; see `distillation.shrinkage`.

    The map is linear. For targets that are mixtures of cells, it changes only the weights of the mixtures and costs
    nothing.

    Attributes
    ----------
    aligned : the alignment of the mapped cells; it treats every group of every class as present
    cell_map : (C, G, G); row a of a class contains the weights of the sample cells in mapped cell a. The columns of
        absent cells are 0
    """

    aligned: Alignment
    cell_map: Tensor
    emphasis: Tensor
    allocation: Allocation

    @classmethod
    def map_cells(cls, aligned: Alignment, cell_map: Tensor) -> "Shrunken":
        """Return the alignment of the mapped cells."""
        return cls(aligned, cell_map, _map_weights(aligned.emphasis, cell_map), aligned.allocation)

    @property
    def mixtures(self) -> tuple[Mixture, ...] | None:
        mixtures = self.aligned.mixtures
        if mixtures is None:
            return None
        return tuple(Mixture(_map_weights(mixture.cells, self.cell_map), mixture.weight) for mixture in mixtures)

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        cell_map = self.cell_map[classes]
        return self.aligned.targets(
            tuple(torch.unflatten(cell_map.to(layer.dtype) @ layer.flatten(2), 2, layer.shape[2:]) for layer in cells),
            classes,
        )


def _map_weights(weights_CG: Tensor, cell_map_CGG: Tensor) -> Tensor:
    return torch.einsum("ca,cab->cb", weights_CG, cell_map_CGG)


def group_weights(counts_CG: Array, groups: tuple[str, ...], declared: Mapping[str, float] | None) -> Tensor:
    """Return weights per class and group, (C, G), that sum to 1 over the groups of a class.

    Parameters
    ----------
    declared : a weight for each group; None for equal weights

    Raises
    ------
    ConfigError
        If `declared` does not name exactly the groups.
    """
    if declared is not None and declared.keys() != set(groups):
        raise ConfigError(
            f"params.yaml: group_weights names {', '.join(sorted(declared))}; the groups are {', '.join(groups)}"
        )
    weights = torch.tensor([1.0 if declared is None else declared[group] for group in groups])
    present = torch.from_numpy(counts_CG > 0) * weights
    return present / present.sum(dim=1, keepdim=True)


def pooled(counts_CG: Tensor, weights_CG: Tensor) -> Alignment:
    """Return the alignment of the vanilla method, which ignores group weights."""
    return Pooled(counts_CG / counts_CG.sum(dim=1, keepdim=True))


def per_group(counts_CG: Tensor, weights_CG: Tensor) -> Alignment:
    """Return FairDD's alignment."""
    return PerGroup(weights_CG)


def barycentric(counts_CG: Tensor, weights_CG: Tensor, *, barycenter: Named) -> Alignment:
    """Return COBRA's alignment, with a barycenter of the groups' statistics or of their clouds."""
    bound = build_barycenter(barycenter.name, barycenter.options)
    if count_positional(bound) == 3:
        return CloudBarycentric(bound, weights_CG)
    return Barycentric(bound, weights_CG, linear=barycenter.name == "mean")


def build_barycenter(name: str, options: Mapping[str, Any]) -> Callable[..., Tensor]:
    """Return a barycenter by name, with its keyword-only options bound.

    The number of positional parameters of a custom barycenter (`package.module:callable`) determines its kind. A
    function of cells and weights is a barycenter of statistics. A function of clouds, weights and the synthetic cloud
    is a barycenter of clouds.

    Raises
    ------
    ConfigError
        If the name or an option is unknown.
    """
    function = resolve(name, BARYCENTERS | CLOUD_BARYCENTERS, where="barycenter", custom=True)
    return bind_options(function, options, where=f"barycenter {name!r}", arguments=count_positional(function))


# To add an alignment, write a function of counts and group weights, (C, G) each, and add its line here.
ALIGNMENTS: dict[str, Callable[..., Alignment]] = {
    "pooled": pooled,
    "per_group": per_group,
    "barycentric": barycentric,
}


def build_alignment(
    candidate: Candidate,
    counts_CG: Array,
    groups: tuple[str, ...],
    *,
    cell_map: Array | None = None,
    device: torch.device | None = None,
) -> Alignment:
    """Return the alignment that a candidate names, for data with these counts.

    Parameters
    ----------
    cell_map : (C, G, G), the result of `shrinkage`. If it is given, empty cells have weights like all others. An
        alignment without group weights ignores it: the pooled target is the mean of all examples in any case

    Raises
    ------
    ConfigError
        If the alignment or barycenter is unknown, an option is invalid, the weights do not name the groups, or the
        alignment compares clouds, which have no means to shrink.
    """
    name, options = candidate.alignment.name, candidate.alignment.options
    if candidate.barycenter is not None:
        options = options | {"barycenter": candidate.barycenter}
    factory = bind_options(
        resolve(name, ALIGNMENTS, where="alignment", custom=True), options, where=f"alignment {name!r}", arguments=2
    )
    counts = torch.from_numpy(counts_CG).float()
    present = counts_CG if cell_map is None else np.ones_like(counts_CG)
    weights = group_weights(present, groups, candidate.group_weights)
    alignment = require_type(
        factory(counts.to(device), weights.to(device)),
        Alignment,  # type: ignore[type-abstract]
        where=f"alignment {name!r}",
    )
    if cell_map is None or not alignment.uses_group_weights:
        return alignment
    if alignment.provides == "clouds":
        raise ConfigError(
            "params.yaml: distill.shrinkage shrinks the means of cells, but this barycenter compares whole clouds. "
            "Set `shrinkage: null`, or use a barycenter of statistics such as 'mean'"
        )
    return Shrunken.map_cells(alignment, torch.from_numpy(cell_map).float().to(device))


def alignment_for(
    dataset: GroupedDataset, settings: Distill, candidate: Candidate, *, device: torch.device | None = None
) -> Alignment:
    """Return the alignment that a candidate names for a dataset, with thin cells shrunken if the settings say so."""
    cell_map = None
    if settings.shrinkage is not None:
        cell_map = shrinkage(dataset.counts, dataset.attributes, settings.shrinkage.prior)
    return build_alignment(candidate, dataset.counts, dataset.groups, cell_map=cell_map, device=device)
