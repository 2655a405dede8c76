"""Residuals of a target or of a finished set from the groups, the imbalance shift, and the causes of the shift.

All quantities are computed from mean embeddings under untrained networks, over full cells and the set as published.
This also holds for matchers of another statistic (gradients, changes of weights). So the numbers compare sets of
different methods, and are not the loss that such a method minimised.

C classes, G groups, D dimensions. Φ_a is the mean embedding of group a of a class, π_a its share of the class, w_a its
weight in the barycenter m*; m_van = Σ_a π_a Φ_a is the vanilla target, D(a) = Φ_a − m*, and s = m_van − m* the
imbalance shift (COBRA, Moslemi et al., ICML 2026, section 4).

**When the barycenter is at least as good (Theorem 4.1).** Let a† be a group with the largest ||D(a)||. Then

    max_a ||Φ_a − m_van||² ≥ ||D(a†) − s||² = ||D(a†)||² − 2⟨D(a†), s⟩ + ||s||²,

because Φ_a − m_van = D(a) − s. So ⟨D(a†), s⟩ ≤ ||s||²/2 is sufficient for max_a ||Φ_a − m*|| ≤ max_a ||Φ_a − m_van||,
and the theorem's ⟨D(a†), s⟩ ≤ 0 is too. Any group with the largest norm can be a†. So if several are tied, it is
sufficient that *one* of them meets the condition: this module checks all of them and uses the smallest inner product.
The paper's argmax picks one. For two groups of equal weight, D(1) = −D(2), so that choice is arbitrary; the smallest
inner product is −|⟨D(1), s⟩| ≤ 0, and both conditions always hold. They also always hold for any number of groups under
`minimax`, because its centre is in the convex hull of the farthest groups. With two groups and unequal weights, neither
condition need hold.

**Imbalance × separation.** Let δ_a = π_a − w_a, which sums to 0, and τ = ½ Σ_a |δ_a|, the total variation distance of
shares from weights. Groups with δ_a > 0 are too large; c⁺ = Σ_{δ>0} (δ_a/τ) Φ_a is their mean in proportion to their
excess, and c⁻ is the same mean for the groups that are too small. For any m*, with m_w = Σ_a w_a Φ_a,

    s = Σ_a δ_a Φ_a + (m_w − m*) = τ (c⁺ − c⁻) + (m_w − m*).

The last term is 0 for the mean barycenter, and Σ_a δ_a D(a) equals the first term for every m*. So for the mean

    ||s|| = τ · ||c⁺ − c⁻|| ≤ τ · max_{a,b} ||Φ_a − Φ_b||,

imbalance × separation. The separation is at most the groups' spread, because c⁺ and c⁻ are in their convex hull. With
two groups, c⁺ and c⁻ are the groups' means: ||s|| = |π_1 − w_1| · ||Φ_1 − Φ_2||. For another barycenter the two sides
differ by at most the offset ||m_w − m*||.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fair_distill.card import Residuals
from fair_distill.data.grouped_dataset import Array, Cell, GroupedDataset
from fair_distill.distillation.alignment import Alignment
from fair_distill.distillation.barycenter import mean
from fair_distill.distillation.networks import Network
from fair_distill.distillation.sampling import Normalisation, evenly_spaced, float_images
from fair_distill.distillation.synthetic import decode

# Larger batches are slower on a CPU, because their activations need newly allocated memory.
_BATCH = 128
# Norms are tied with the largest if they differ by this share. The theorem's conclusion then holds to the same share.
_TIES = 1e-6


@dataclass(frozen=True, eq=False)
class TargetGeometry:
    """The two targets of one class under one network, relative to the groups' means; the module explains the numbers.

    Attributes
    ----------
    vanilla_residual : max_a ||Φ_a − m_van||
    barycenter_residual : max_a ||Φ_a − m*||
    shift : ||s||
    imbalance : τ
    separation : ||c⁺ − c⁻||; None if shares and weights are equal
    spread : max_{a,b} ||Φ_a − Φ_b||
    offset : ||m_w − m*||
    condition : whether ⟨D(a†), s⟩ ≤ 0
    weak_condition : whether ⟨D(a†), s⟩ ≤ ||s||²/2
    """

    vanilla_residual: float
    barycenter_residual: float
    shift: float
    imbalance: float
    separation: float | None
    spread: float
    offset: float
    condition: bool
    weak_condition: bool


def measure_geometry(means_GD: Tensor, shares_G: Tensor, weights_G: Tensor, barycenter_D: Tensor) -> TargetGeometry:
    """Measure the two targets of a class relative to its groups, all of which have examples.

    Parameters
    ----------
    means_GD : float64 (G, D), G ≥ 2
    shares_G, weights_G : (G,), each summing to 1
    barycenter_D : m*, any barycenter
    """
    vanilla = shares_G @ means_GD
    differences = means_GD - barycenter_D
    shift = vanilla - barycenter_D
    norms = differences.norm(dim=1)
    inner = float((differences[norms >= (1 - _TIES) * norms.max()] @ shift).min())
    excess = shares_G - weights_G
    imbalance = float(excess.abs().sum() / 2)
    spread = float((means_GD[:, None] - means_GD[None]).norm(dim=2).max())
    offset = float((weights_G @ means_GD - barycenter_D).norm())
    # Rounding errors of a number that is 0 are below these thresholds.
    slack = 1e-12 * float(norms.max() * shift.norm())
    balanced, is_mean = imbalance < 1e-9, offset < 1e-9 * spread
    return TargetGeometry(
        vanilla_residual=_farthest(means_GD, vanilla),
        barycenter_residual=float(norms.max()),
        shift=float(shift.norm()),
        imbalance=0.0 if balanced else imbalance,
        separation=None if balanced else float((excess @ means_GD).norm()) / imbalance,
        spread=spread,
        offset=0.0 if is_mean else offset,
        condition=inner <= slack,
        weak_condition=inner <= float(shift.square().sum()) / 2 + slack,
    )


def _farthest(means_GD: Tensor, point_D: Tensor) -> float:
    return float((means_GD - point_D).norm(dim=1).max())


@torch.no_grad()
def measure_residuals(
    dataset: GroupedDataset,
    images: Array,
    labels: Array,
    *,
    alignment: Alignment,
    formation: int,
    normalise: Normalisation,
    networks: Sequence[Network],
    rows_per_cell: int,
    device: torch.device,
) -> Residuals:
    """Return the residuals of a published set and of its two targets, per class, averaged over networks.

    The barycenter is the alignment's target if it is one non-linear function of the cells. For all other alignments
    (pooled, per group, clouds) it is the mean over groups with the group weights, which are equal for `pooled`.

    Each real image is embedded once under each network, without augmentation. A batch limits the memory use.

    Parameters
    ----------
    images, labels : the set as published: float32 (N, channels, height, width), pixels divided by 255, and (N,)
    formation : tiles along each side of a published image
    rows_per_cell : the largest number of real images of a cell to embed, evenly spaced over it
    """
    runs = [
        _measure_under(
            network.to(device), dataset, images, labels, alignment, formation, normalise, rows_per_cell, device
        )
        for network in networks
    ]
    classes = range(len(dataset.classes))
    geometries = [[run[y][1] for run in runs] for y in classes]
    averages: dict[str, Any] = {
        field.name: tuple(
            _average([None if geometry is None else getattr(geometry, field.name) for geometry in of_class])
            for of_class in geometries
        )
        for field in fields(TargetGeometry)
    }
    return Residuals(
        networks=len(networks),
        residual=tuple(_average([run[y][0] for run in runs]) for y in classes),
        undefined=_undefined_reasons(dataset, labels),
        **averages,
    )


def _measure_under(
    network: Network,
    dataset: GroupedDataset,
    images: Array,
    labels: Array,
    alignment: Alignment,
    formation: int,
    normalise: Normalisation,
    rows_per_cell: int,
    device: torch.device,
) -> list[tuple[float | None, TargetGeometry | None]]:
    """Return for each class the set's residual, and the geometry of its targets if it has at least two groups."""
    counts = torch.from_numpy(dataset.counts).double()
    weights = _barycenter_weights(alignment, counts)

    def embed_real(rows: Array) -> Tensor:
        return network.embed(normalise.apply(float_images(dataset.images[rows]).to(device)))

    def embed_published(rows: Array) -> Tensor:
        return network.embed(decode(normalise.apply(torch.tensor(images[rows], device=device)), formation))

    cells = [
        _mean_embedding(embed_real, evenly_spaced(dataset.rows(Cell(label, group)), rows_per_cell))
        for label, group in np.ndindex(*dataset.counts.shape)
    ]
    dimensions = max(len(cell) for cell in cells)
    cells_CGD = torch.stack([cell if len(cell) else cell.new_zeros(dimensions) for cell in cells])
    cells_CGD = torch.unflatten(cells_CGD, 0, counts.shape)
    centres_CD = _barycenters(alignment, cells_CGD, weights)
    measurements = []
    for label, (present, cells_GD) in enumerate(zip(counts > 0, cells_CGD, strict=True)):
        set_mean = _mean_embedding(embed_published, np.flatnonzero(labels == label))
        residual = _farthest(cells_GD[present], set_mean) if len(set_mean) and present.any() else None
        shares = counts[label, present] / counts[label].sum()
        geometry = None
        if int(present.sum()) > 1:
            geometry = measure_geometry(cells_GD[present], shares, weights[label, present], centres_CD[label])
        measurements.append((residual, geometry))
    return measurements


def _mean_embedding(embed: Callable[[Array], Tensor], rows: Array) -> Tensor:
    """Return the mean embedding of some rows, float64 (D,); (0,) for no rows. Each tile of a mosaic counts as one."""
    if not len(rows):
        return torch.zeros(0, dtype=torch.float64)
    total, count = torch.zeros((), dtype=torch.float64), 0
    for batch in np.array_split(rows, -(-len(rows) // _BATCH)):
        embedded = embed(batch)
        total = total + embedded.double().sum(dim=0).cpu()
        count += len(embedded)
    return total / count


def _barycenter_weights(alignment: Alignment, counts_CG: Tensor) -> Tensor:
    """Return the weight of each group in the barycenter, float64 (C, G). Pooled has no group weights: equal ones."""
    weights = alignment.emphasis.cpu().double() if alignment.uses_group_weights else (counts_CG > 0).double()
    return weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-300)


def _barycenters(alignment: Alignment, cells_CGD: Tensor, weights_CG: Tensor) -> Tensor:
    if alignment.provides != "one_target":
        return mean(cells_CGD, weights_CG)
    targets = alignment.targets((cells_CGD.to(alignment.emphasis.device),))
    return targets[0].statistic[0].cpu() if len(targets) == 1 else mean(cells_CGD, weights_CG)


def _average(values: Sequence[float | None]) -> float | None:
    """Return the mean, rounded to six digits, so that the order of a sum does not change the set's version."""
    numbers = [value for value in values if value is not None]
    return float(f"{sum(numbers) / len(numbers):.6g}") if numbers and len(numbers) == len(values) else None


def _undefined_reasons(dataset: GroupedDataset, labels: Array) -> dict[str, str]:
    """Return for each class what could not be measured, and why.

    The card contains these sentences, so another wording would change the version of every set.
    """
    reasons = {}
    for label, (name, row) in enumerate(zip(dataset.classes, dataset.counts, strict=True)):
        absent = [group for group, count in zip(dataset.groups, row, strict=True) if not count]
        present = len(row) - len(absent)
        if present < 2:
            reasons[name] = (
                "train has no examples" if present == 0 else "train has one group, so there is nothing between groups"
            )
        elif absent:
            reasons[name] = f"train has no examples of {', '.join(absent)}, which no number here looks at"
        if not (labels == label).any():
            reasons[name] = "; ".join(filter(None, (reasons.get(name), "the set has no images, so it has no residual")))
    return reasons
