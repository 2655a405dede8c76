"""What a target, or a finished set, does to the groups: residuals, the imbalance shift and where it comes from.

Everything is of mean embeddings under untrained networks, on full cells and with the set as it is published. So it is
where the matcher's statistic is something else too (gradients, displacements of weights): these numbers compare sets
made by different methods, and are not what such a method minimised.

C classes, G groups, D dimensions. Φ_a is the mean embedding of group a of a class, π_a its share of the class, w_a its
weight in the barycenter m*; m_van = Σ_a π_a Φ_a is the vanilla target, D(a) = Φ_a − m*, and s = m_van − m* the
imbalance shift (COBRA, Moslemi et al., ICML 2026, section 4).

**When the barycenter is no worse (Theorem 4.1).** Let a† be a group with the largest ||D(a)||. Then

    max_a ||Φ_a − m_van||² ≥ ||D(a†) − s||² = ||D(a†)||² − 2⟨D(a†), s⟩ + ||s||²,

because Φ_a − m_van = D(a) − s. So ⟨D(a†), s⟩ ≤ ||s||²/2 is enough for max_a ||Φ_a − m*|| ≤ max_a ||Φ_a − m_van||, and
the theorem's ⟨D(a†), s⟩ ≤ 0 all the more. Any one group with the largest norm serves, so where several tie it is enough
that *some* maximiser meets the condition: we look at them all and take the smallest inner product. The paper's argmax
takes one, which for two groups of equal weight, where D(1) = −D(2), is a toss: there the smallest is
−|⟨D(1), s⟩| ≤ 0, so both conditions always hold, and so they do for any number of groups under `minimax`, whose centre
lies in the convex hull of the farthest groups. With two groups and unequal weights neither need hold.

**Imbalance × separation.** Put δ_a = π_a − w_a, which sums to 0, and τ = ½ Σ_a |δ_a|, the total variation distance of
shares from weights. Groups with δ_a > 0 are too large; c⁺ = Σ_{δ>0} (δ_a/τ) Φ_a is their mean in proportion to their
excess, and c⁻ likewise that of the groups that are too small. For any m*, with m_w = Σ_a w_a Φ_a,

    s = Σ_a δ_a Φ_a + (m_w − m*) = τ (c⁺ − c⁻) + (m_w − m*).

The last term is 0 for the mean barycenter, and Σ_a δ_a D(a) is the first for every m*. So for the mean

    ||s|| = τ · ||c⁺ − c⁻|| ≤ τ · max_{a,b} ||Φ_a − Φ_b||,

imbalance × separation, where the separation is at most the groups' spread, as c⁺ and c⁻ lie in their convex hull. With
two groups they are the groups themselves: ||s|| = |π_1 − w_1| · ||Φ_1 − Φ_2||. For another barycenter the two sides
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
from fair_distill.distillation.alignment import Alignment, CloudBarycentric, Pooled
from fair_distill.distillation.barycenter import mean
from fair_distill.distillation.networks import Network
from fair_distill.distillation.real import in_unit, spread_evenly
from fair_distill.distillation.sampling import Normalisation
from fair_distill.distillation.synthetic import decode

_BATCH = 128  # larger ones are slower on a CPU: activations that are taken from the system anew
# Norms within this share of the largest are the largest; the theorem's conclusion then holds to the same share.
_TIES = 1e-6


@dataclass(frozen=True, eq=False)
class Geometry:
    """One class under one network, from its groups' means; see above for what each number is."""

    vanilla_residual: float
    barycenter_residual: float
    shift: float
    imbalance: float
    separation: float | None
    spread: float
    offset: float
    condition: bool
    weak_condition: bool


def geometry(means_GD: Tensor, shares_G: Tensor, weights_G: Tensor, barycenter_D: Tensor) -> Geometry:
    """Measure the two targets of a class against its groups, all of which are there.

    Parameters
    ----------
    means_GD : float64 (G, D), G ≥ 2
    shares_G, weights_G : (G,), each summing to 1
    barycenter_D : m*, whichever barycenter it is
    """
    vanilla = shares_G @ means_GD
    away = means_GD - barycenter_D
    shift = vanilla - barycenter_D
    norms = away.norm(dim=1)
    inner = float((away[norms >= (1 - _TIES) * norms.max()] @ shift).min())
    excess = shares_G - weights_G
    imbalance = float(excess.abs().sum() / 2)
    spread = float((means_GD[:, None] - means_GD[None]).norm(dim=2).max())
    offset = float((weights_G @ means_GD - barycenter_D).norm())
    # What rounding leaves of a number that is 0.
    slack = 1e-12 * float(norms.max() * shift.norm())
    even, met = imbalance < 1e-9, offset < 1e-9 * spread
    return Geometry(
        vanilla_residual=_farthest(means_GD, vanilla),
        barycenter_residual=float(norms.max()),
        shift=float(shift.norm()),
        imbalance=0.0 if even else imbalance,
        separation=None if even else float((excess @ means_GD).norm()) / imbalance,
        spread=spread,
        offset=0.0 if met else offset,
        condition=inner <= slack,
        weak_condition=inner <= float(shift.square().sum()) / 2 + slack,
    )


def _farthest(means_GD: Tensor, point_D: Tensor) -> float:
    return float((means_GD - point_D).norm(dim=1).max())


@torch.no_grad()
def diagnose(
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

    The barycenter is the alignment's own target. Where an alignment has none, or its targets are mixtures (pooled, per
    group, clouds), it is the mean over groups with the alignment's weights, which for `pooled` are equal ones.

    A real image is embedded once under each network, as it is and not augmented; memory is bounded by a batch.

    Parameters
    ----------
    images, labels : the set as published: float32 (N, channels, height, width), real pixels over 255, and (N,)
    formation : tiles along a side of each published image
    rows_per_cell : real images of a cell that are looked at, at most, spread evenly through it
    """
    runs = [
        _under(network.to(device), dataset, images, labels, alignment, formation, normalise, rows_per_cell, device)
        for network in networks
    ]
    classes = range(len(dataset.classes))
    geometries = [[run[y][1] for run in runs] for y in classes]
    averages: dict[str, Any] = {
        field.name: tuple(_average([None if g is None else getattr(g, field.name) for g in of]) for of in geometries)
        for field in fields(Geometry)
    }
    return Residuals(
        networks=len(networks),
        residual=tuple(_average([run[y][0] for run in runs]) for y in classes),
        undefined=_undefined(dataset, labels),
        **averages,
    )


def _under(
    network: Network,
    dataset: GroupedDataset,
    images: Array,
    labels: Array,
    alignment: Alignment,
    formation: int,
    normalise: Normalisation,
    rows_per_cell: int,
    device: torch.device,
) -> list[tuple[float | None, Geometry | None]]:
    """Return for each class the set's residual, and the geometry of its targets where it has two groups or more."""
    counts = torch.from_numpy(dataset.counts).double()
    weights = _weights(alignment, counts)

    def seen(rows: Array) -> Tensor:
        return network.embed(normalise.apply(in_unit(dataset.images[rows]).to(device)))

    def published(rows: Array) -> Tensor:
        return network.embed(decode(normalise.apply(torch.tensor(images[rows], device=device)), formation))

    cells = [
        _mean(seen, spread_evenly(dataset.rows(Cell(label, group)), rows_per_cell))
        for label, group in np.ndindex(*dataset.counts.shape)
    ]
    dimensions = max(len(cell) for cell in cells)
    cells_CGD = torch.stack([cell if len(cell) else cell.new_zeros(dimensions) for cell in cells])
    cells_CGD = cells_CGD.unflatten(0, counts.shape)
    centres_CD = _centres(alignment, cells_CGD, weights)
    found = []
    for label, (here, cells_GD) in enumerate(zip(counts > 0, cells_CGD, strict=True)):
        own = _mean(published, np.flatnonzero(labels == label))
        residual = _farthest(cells_GD[here], own) if len(own) and here.any() else None
        shares = counts[label, here] / counts[label].sum()
        several = int(here.sum()) > 1
        of = geometry(cells_GD[here], shares, weights[label, here], centres_CD[label]) if several else None
        found.append((residual, of))
    return found


def _mean(embed: Callable[[Array], Tensor], rows: Array) -> Tensor:
    """Return the mean embedding of some rows, float64 (D,); (0,) where there are none. A mosaic's tiles count each."""
    if not len(rows):
        return torch.zeros(0, dtype=torch.float64)
    total, count = torch.zeros((), dtype=torch.float64), 0
    for some in np.array_split(rows, -(-len(rows) // _BATCH)):
        embedded = embed(some)
        total = total + embedded.double().sum(dim=0).cpu()
        count += len(embedded)
    return total / count


def _weights(alignment: Alignment, counts_CG: Tensor) -> Tensor:
    """Return what each group counts in the barycenter, float64 (C, G). Pooled has its shares there: it has none."""
    weights = (counts_CG > 0).double() if isinstance(alignment, Pooled) else alignment.emphasis.cpu().double()
    return weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-300)


def _centres(alignment: Alignment, cells_CGD: Tensor, weights_CG: Tensor) -> Tensor:
    if isinstance(alignment, CloudBarycentric) or alignment.mixtures is not None:
        return mean(cells_CGD, weights_CG)
    targets = alignment.targets((cells_CGD.to(alignment.emphasis.device),))
    return targets[0].statistic[0].cpu() if len(targets) == 1 else mean(cells_CGD, weights_CG)


def _average(values: Sequence[float | None]) -> float | None:
    """The mean, to six digits, so that the last bit of a sum in another order does not name another version."""
    known = [value for value in values if value is not None]
    return float(f"{sum(known) / len(known):.6g}") if known and len(known) == len(values) else None


def _undefined(dataset: GroupedDataset, labels: Array) -> dict[str, str]:
    """Say for each class what could not be measured, and why."""
    told = {}
    for label, (name, row) in enumerate(zip(dataset.classes, dataset.counts, strict=True)):
        absent = [group for group, count in zip(dataset.groups, row, strict=True) if not count]
        here = len(row) - len(absent)
        if here < 2:
            told[name] = (
                "train has no examples" if here == 0 else "train has one group, so there is nothing between groups"
            )
        elif absent:
            told[name] = f"train has no examples of {', '.join(absent)}, which no number here looks at"
        if not (labels == label).any():
            told[name] = "; ".join(filter(None, (told.get(name), "the set has no images, so it has no residual")))
    return told
