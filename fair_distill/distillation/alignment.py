"""Alignments: which targets a class's synthetic images are drawn to, given the statistics of its groups.

The only thing that changes between the vanilla method, FairDD and COBRA. C classes, G groups; a statistic is a tuple
of tensors, one per matched layer: (C, G, ...) for cells, (C, ...) for targets and for the synthetic set.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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
from fair_distill.plugins import bind_options, count_positional, resolve

Statistic = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Target:
    """Where to go, and how much it counts for each class, (C,)."""

    statistic: Statistic
    weight: Tensor


@dataclass(frozen=True, eq=False)
class Mixture:
    """A target that is a weighted mean of cells: where the statistic is a mean over examples, it is had in one pass.

    Attributes
    ----------
    cells : (C, G), what each cell counts; rows sum to 1, or to 0 where the class has no such target
    weight : (C,), what the target counts
    """

    cells: Tensor
    weight: Tensor


class Alignment(Protocol):
    @property
    def allocation(self) -> Allocation:
        """How real images are best shared out over groups for these targets."""
        ...

    @property
    def emphasis(self) -> Tensor:
        """What each cell of a class counts, (C, G), rows summing to 1."""
        ...

    @property
    def mixtures(self) -> tuple[Mixture, ...] | None:
        """The targets as mixtures of cells, or None where they are not linear in the cells."""
        ...

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        """Return the targets of the classes whose cells these are."""
        ...


def _mixed(mixtures: tuple[Mixture, ...], cells: Statistic, classes: slice) -> list[Target]:
    def mixed(layer: Tensor, weights: Tensor) -> Tensor:
        statistic: Tensor = mean(layer.flatten(2), weights).unflatten(1, layer.shape[2:])
        return statistic

    return [Target(tuple(mixed(layer, m.cells[classes]) for layer in cells), m.weight[classes]) for m in mixtures]


@dataclass(frozen=True, eq=False)
class Pooled:
    """The vanilla method: one target, the mean over all examples of the class.

    Cells are weighted by their shares, so the target stays what its papers say although batches are stratified.
    """

    emphasis: Tensor
    allocation: Allocation = "proportional"

    @property
    def mixtures(self) -> tuple[Mixture, ...]:
        return (Mixture(self.emphasis, torch.ones_like(self.emphasis[:, 0])),)

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        return _mixed(self.mixtures, cells, classes)


@dataclass(frozen=True, eq=False)
class PerGroup:
    """FairDD (Zhou et al., NeurIPS 2025): every group is a target; the distances are summed.

    With group weights that are all 1/G, each target counts 1: the sum over groups of the paper.
    """

    emphasis: Tensor
    allocation: Allocation = "equal"

    @property
    def mixtures(self) -> tuple[Mixture, ...]:
        present = self.emphasis > 0
        counted = self.emphasis * present.sum(dim=1, keepdim=True)
        own = torch.eye(self.emphasis.shape[1], device=self.emphasis.device)
        return tuple(Mixture(present * own[a], counted[:, a]) for a in range(len(own)))

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        return _mixed(self.mixtures, cells, classes)


@dataclass(frozen=True, eq=False)
class Barycentric:
    """COBRA (Moslemi et al., ICML 2026): one target, the barycenter of the groups' statistics, whatever their sizes."""

    barycenter: Barycenter
    emphasis: Tensor
    linear: bool
    allocation: Allocation = "equal"

    @property
    def mixtures(self) -> tuple[Mixture, ...] | None:
        """One mixture where the barycenter is the mean (`linear`), else None."""
        if not self.linear:
            return None
        return (Mixture(self.emphasis, torch.ones_like(self.emphasis[:, 0])),)

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        weights = self.emphasis[classes]
        centre = tuple(self.barycenter(layer.flatten(2), weights).unflatten(1, layer.shape[2:]) for layer in cells)
        return [Target(centre, torch.ones_like(weights[:, 0]))]


@dataclass(frozen=True, eq=False)
class CloudBarycentric:
    """Beyond COBRA: the synthetic images of a class are drawn, as a cloud, to where its groups' clouds meet.

    A mean hides spread, which COBRA's authors name as a limit. Needs a statistic that is a mean of embeddings.
    """

    barycenter: CloudBarycenter
    emphasis: Tensor
    allocation: Allocation = "equal"
    mixtures: None = None

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        raise ConfigError(
            "params.yaml: this barycenter compares clouds of embeddings, which distill.matcher does not have; "
            "use the matcher dm or cafe, or a barycenter of means"
        )

    def loss(self, label: int, clouds: Sequence[Tensor], synthetic: Tensor) -> Tensor:
        """Return the distance of a class's synthetic cloud, (N, D), from the barycenter of its groups' clouds."""
        return self.barycenter(clouds, self.emphasis[label], synthetic)


@dataclass(frozen=True, eq=False)
class Shrunken:
    """An alignment whose cells are mapped first: thin ones towards their parents; see `distillation.shrinkage`.

    The map is linear, so where targets are mixtures of cells it is folded into what the cells count, and costs nothing.

    Attributes
    ----------
    aligned : what is done with the mapped cells; it counts every group of every class as present
    mapped : (C, G, G); row a of a class is what stands for its cell a. Columns of absent cells are 0
    """

    aligned: Alignment
    mapped: Tensor

    @property
    def allocation(self) -> Allocation:
        return self.aligned.allocation

    @property
    def emphasis(self) -> Tensor:
        return self._folded(self.aligned.emphasis)

    @property
    def mixtures(self) -> tuple[Mixture, ...] | None:
        mixtures = self.aligned.mixtures
        if mixtures is None:
            return None
        return tuple(Mixture(self._folded(mixture.cells), mixture.weight) for mixture in mixtures)

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        mapped = self.mapped[classes]
        return self.aligned.targets(
            tuple((mapped.to(layer.dtype) @ layer.flatten(2)).unflatten(2, layer.shape[2:]) for layer in cells), classes
        )

    def _folded(self, cells: Tensor) -> Tensor:
        return torch.einsum("ca,cab->cb", cells, self.mapped)


def group_weights(counts_CG: Array, groups: tuple[str, ...], declared: Mapping[str, float] | None) -> Tensor:
    """Return weights per class and group that sum to 1 over the groups a class has: uniform, or as declared."""
    if declared is not None and declared.keys() != set(groups):
        raise ConfigError(
            f"params.yaml: group_weights names {', '.join(sorted(declared))}; the groups are {', '.join(groups)}"
        )
    weights = torch.tensor([1.0 if declared is None else declared[group] for group in groups])
    present = torch.from_numpy(counts_CG > 0) * weights
    return present / present.sum(dim=1, keepdim=True)


def pooled(counts_CG: Tensor, weights_CG: Tensor) -> Alignment:
    """Return the vanilla method's alignment; group weights play no part."""
    return Pooled(counts_CG / counts_CG.sum(dim=1, keepdim=True))


def per_group(counts_CG: Tensor, weights_CG: Tensor) -> Alignment:
    """Return FairDD's alignment."""
    return PerGroup(weights_CG)


def barycentric(counts_CG: Tensor, weights_CG: Tensor, *, barycenter: Named) -> Alignment:
    """Return COBRA's alignment, to a barycenter of the groups' statistics or of their clouds."""
    bound = build_barycenter(barycenter.name, barycenter.options)
    if count_positional(bound) == 3:
        return CloudBarycentric(bound, weights_CG)
    return Barycentric(bound, weights_CG, linear=barycenter.name == "mean")


def build_barycenter(name: str, options: Mapping[str, Any]) -> Callable[..., Tensor]:
    """Return a barycenter by name, with its options, which are keyword-only.

    One's own (`package.module:callable`) is of statistics if it takes cells and weights, of clouds if it takes clouds,
    weights and the synthetic cloud. Raises ConfigError for an unknown name or option.
    """
    function = resolve(name, BARYCENTERS | CLOUD_BARYCENTERS, where="barycenter", custom=True)
    return bind_options(function, options, where=f"barycenter {name!r}", arguments=count_positional(function))


# The one place an alignment is added: write a function of counts and group weights, (C, G) each, and add its line.
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
    mapped: Array | None = None,
    device: torch.device | None = None,
) -> Alignment:
    """Return the alignment that a candidate names, for data with these counts.

    Parameters
    ----------
    mapped : (C, G, G), as `shrinkage` gives it: what stands for each cell in the targets; empty cells then count as the
        others do. The pooled target is that of all examples however their cells are estimated, and stays what it is

    Raises
    ------
    ConfigError
        If the alignment or barycenter is unknown, an option is not what it should be, the weights do not name the
        groups, or there is nothing to shrink.
    """
    name, options = candidate.alignment.name, candidate.alignment.options
    if candidate.barycenter is not None:
        options = options | {"barycenter": candidate.barycenter}
    kind = resolve(name, ALIGNMENTS, where="alignment", custom=True)
    make = bind_options(kind, options, where=f"alignment {name!r}", arguments=2)
    counts = torch.from_numpy(counts_CG).float()
    present = counts_CG if mapped is None else np.ones_like(counts_CG)
    alignment = make(counts.to(device), group_weights(present, groups, candidate.group_weights).to(device))
    if mapped is None or isinstance(alignment, Pooled):
        return alignment
    if isinstance(alignment, CloudBarycentric):
        raise ConfigError(
            "params.yaml: distill.shrinkage maps means of cells, and this barycenter compares whole clouds; "
            "say `shrinkage: null`, or take a barycenter of means"
        )
    return Shrunken(alignment, torch.from_numpy(mapped).float().to(device))


def alignment_for(
    dataset: GroupedDataset, settings: Distill, candidate: Candidate, *, device: torch.device | None = None
) -> Alignment:
    """Return the alignment that a candidate names, for this dataset, with thin cells shrunken if settings say so."""
    shrunk = None
    if settings.shrinkage is not None:
        shrunk = shrinkage(dataset.counts, dataset.attributes, settings.shrinkage.prior)
    return build_alignment(candidate, dataset.counts, dataset.groups, mapped=shrunk, device=device)
