"""Barycenters of clouds: the distance of a class's synthetic images from the barycenter of its groups' clouds.

A mean ignores spread. These functions compare whole clouds of embeddings, one class at a time. Each returns a squared
2-Wasserstein distance from the synthetic cloud to a target, so that one learning rate suits all: between Gaussians
(`bures`), to atoms (`free_support`), or smoothed (`sinkhorn`). The targets of the first two are Wasserstein
barycenters, which blend the groups. The target of the third is the mixture of the groups, which keeps them separate.
The mean of every target is the mean of the groups' means. This is the only module that imports POT.

G groups, n samples of one group, N synthetic images, D dimensions, K principal components. Targets are constants; only
the synthetic images have a gradient. Computations are in double precision; the result has the type of the synthetic
cloud.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fair_distill.errors import ConfigError, DataError, ShapeError

CloudBarycenter = Callable[[Sequence[Tensor], Tensor, Tensor], Tensor]


def bures(
    clouds_nD: Sequence[Tensor],
    weights_G: Tensor,
    synthetic_ND: Tensor,
    *,
    dimension: int,
    shrinkage: float,
    covariance: Literal["full", "diagonal"],
    tolerance: float = 1e-8,
    iterations: int = 100,
) -> Tensor:
    """Return the squared 2-Wasserstein distance of the synthetic Gaussian from the barycenter of the groups' Gaussians.

    The distance is ||mean − mean*||² + tr Σ + tr Σ* − 2 tr (Σ*^½ Σ Σ*^½)^½. Means are compared in all D dimensions,
    covariances in the space of principal components. The barycenter's Σ* is the fixed point of Álvarez-Esteban et al.
    (J. Math. Anal. Appl. 441(2), 2016). If covariances are diagonal, its standard deviations are the weighted means of
    the groups' standard deviations.

    Parameters
    ----------
    clouds_nD : one cloud of embedded samples per group; n may differ, and is 0 for an absent group
    weights_G : non-negative, summing to 1; 0 for absent groups
    synthetic_ND : the synthetic cloud, with gradient
    dimension : the number of principal components, of the weighted mixture of the groups, for covariances
    shrinkage : the share in (0, 1] by which every covariance is moved towards τI; τ is the groups' mean variance. It is
        needed because a cloud of N images has rank N − 1, at which the distance has no finite gradient
    covariance : "diagonal" compares only the standard deviations along the principal components
    tolerance : the iteration for Σ* stops at this relative change
    iterations : the maximum number of iterations for Σ*

    Returns
    -------
    scalar, ()

    Raises
    ------
    ShapeError
        If there is not one weight per cloud, or dimensions differ.
    DataError
        If a group with a weight above 0 has no samples.
    ConfigError
        If the shrinkage is above 1.
    """
    if shrinkage > 1:
        raise ConfigError(f"params.yaml: barycenter 'bures': shrinkage is {shrinkage:g}; give at most 1")
    groups = _Groups.from_clouds(clouds_nD, weights_G, synthetic_ND, dimension)
    if not groups.finite:
        return _nan_loss(synthetic_ND)
    means = torch.stack([cloud.mean(dim=0) for cloud in groups.clouds_nD])
    between_means = (synthetic_ND.double().mean(dim=0) - groups.weights_G @ means).square().sum()

    sample = torch.stack([_covariance(groups.project(cloud)) for cloud in groups.clouds_nD])
    synthetic = _covariance(groups.project(synthetic_ND.double()))
    variance = (groups.weights_G @ sample.diagonal(dim1=1, dim2=2).mean(dim=1)).clamp(min=1e-30)
    ridge = variance * torch.eye(synthetic.shape[0], dtype=synthetic.dtype, device=synthetic.device)
    sample, synthetic = (((1 - shrinkage) * matrix + shrinkage * ridge) for matrix in (sample, synthetic))
    if covariance == "diagonal":
        deviations = groups.weights_G @ sample.diagonal(dim1=1, dim2=2).sqrt()
        between_spreads = (synthetic.diagonal().sqrt() - deviations).square().sum()
    else:
        target = _bures_barycenter(sample, groups.weights_G, tolerance=tolerance, iterations=iterations)
        root = _root(target)
        # Only eigenvalues are differentiated. Their gradient is finite if some are equal; that of a root is not.
        # eigvalsh uses another algorithm if no gradient is needed, and would give other bits.
        eigenvalues = torch.linalg.eigh(root @ synthetic @ root).eigenvalues
        overlap = eigenvalues.clamp(min=1e-15 * float(eigenvalues.detach().max())).sqrt().sum()
        between_spreads = synthetic.trace() + target.trace() - 2 * overlap
    return (between_means + between_spreads).to(synthetic_ND.dtype)


def free_support(
    clouds_nD: Sequence[Tensor],
    weights_G: Tensor,
    synthetic_ND: Tensor,
    *,
    dimension: int,
    tolerance: float = 1e-9,
    iterations: int = 100,
) -> Tensor:
    """Return the squared 2-Wasserstein distance of the synthetic cloud from a barycenter with one atom per image.

    The barycenter is POT's (Cuturi & Doucet, ICML 2014, Algorithm 2, with fixed weights of the atoms), started from the
    synthetic cloud. Its transport plans are computed in the space of principal components. Each atom is then the mean,
    in all D dimensions, of the samples that the plans assign to it. Images are matched to atoms one to one, so each
    image has a target.

    Parameters
    ----------
    clouds_nD, weights_G, synthetic_ND, dimension : as for `bures`
    tolerance : the iteration stops at this squared step of the atoms, relative to the squared spread of the groups
    iterations : the maximum number; plans are vertices of a polytope, so a few are enough

    Returns
    -------
    scalar, (): the mean over images of the squared distance to their atoms
    """
    import ot
    from scipy.optimize import linear_sum_assignment

    groups = _Groups.from_clouds(clouds_nD, weights_G, synthetic_ND, dimension)
    if not groups.finite:
        return _nan_loss(synthetic_ND)
    images = synthetic_ND.detach().double()
    with torch.no_grad():
        points_of_groups = [groups.project(cloud).cpu().numpy() for cloud in groups.clouds_nD]
        masses, atom_masses = [ot.unif(len(points)) for points in points_of_groups], ot.unif(len(images))
        atoms = ot.lp.free_support_barycenter(
            points_of_groups,
            masses,
            groups.project(images).cpu().numpy(),
            weights=groups.weights_G.cpu().numpy(),
            numItermax=iterations,
            stopThr=tolerance * groups.scale,
        )
        targets = torch.zeros_like(images)
        for points, mass, cloud, weight in zip(
            points_of_groups, masses, groups.clouds_nD, groups.weights_G, strict=True
        ):
            plan = torch.from_numpy(ot.emd(atom_masses, mass, ot.dist(atoms, points))).to(images.device)
            targets += weight * len(images) * (plan @ cloud)
        _, atom_of = linear_sum_assignment(_squared_distances(images, targets).cpu().numpy())
        targets = targets[torch.from_numpy(atom_of).to(images.device)]
    return (synthetic_ND.double() - targets).square().sum(dim=1).mean().to(synthetic_ND.dtype)


def sinkhorn(
    clouds_nD: Sequence[Tensor],
    weights_G: Tensor,
    synthetic_ND: Tensor,
    *,
    dimension: int,
    epsilon: float,
    tolerance: float = 1e-7,
    iterations: int = 5000,
) -> Tensor:
    """Return the debiased Sinkhorn divergence of the synthetic cloud from the weighted mixture of the groups.

    It is OT_ε(x, y) − OT_ε(x, x)/2 − OT_ε(y, y)/2 with squared distances and entropy relative to the product of the
    marginals (Feydy et al., AISTATS 2019). It is 0 only if the clouds are equal. It is computed in the space of
    principal components; outside it, means are compared. The iteration is in the log domain. The gradient is that of
    the cost at the final plan (envelope theorem), not through the iterations.

    Parameters
    ----------
    clouds_nD, weights_G, synthetic_ND, dimension : as for `bures`
    epsilon : ε as a multiple of the mean squared distance of two samples of the mixture, in principal components
    tolerance : the iteration stops at this l1 error of a plan's marginal
    iterations : the maximum number

    Returns
    -------
    scalar, ()
    """
    groups = _Groups.from_clouds(clouds_nD, weights_G, synthetic_ND, dimension)
    if not groups.finite:
        return _nan_loss(synthetic_ND)
    mixture = torch.cat(groups.clouds_nD)
    share = torch.cat(
        [w.expand(len(cloud)) / len(cloud) for w, cloud in zip(groups.weights_G, groups.clouds_nD, strict=True)]
    )
    images = synthetic_ND.double()
    uniform = torch.full_like(images[:, 0], 1 / len(images)).detach()

    x, y = groups.project(images), groups.project(mixture)
    across, within = _squared_distances(x, y), _squared_distances(x, x)
    blur = epsilon * groups.scale
    cost_across, plan_across = _entropic(
        across.detach(), uniform, share, blur, tolerance=tolerance, iterations=iterations
    )
    cost_within, plan_within = _entropic_self(
        within.detach(), uniform, blur, tolerance=tolerance, iterations=iterations
    )
    cost_mixture, _ = _entropic_self(_squared_distances(y, y), share, blur, tolerance=tolerance, iterations=iterations)

    value = cost_across - (cost_within + cost_mixture) / 2
    at_the_plans = (plan_across * across).sum() - (plan_within * within).sum() / 2
    outside = groups.outside(images.mean(dim=0) - share @ mixture).square().sum()
    return (value + at_the_plans - at_the_plans.detach() + outside).to(synthetic_ND.dtype)


# To add a barycenter of clouds, write the function and add its line here. Options are keyword-only.
CLOUD_BARYCENTERS: dict[str, Callable[..., Tensor]] = {
    "bures": bures,
    "free_support": free_support,
    "sinkhorn": sinkhorn,
}


@dataclass(frozen=True, eq=False)
class _Groups:
    """The present groups, in double precision, and the principal components of their weighted mixture.

    Attributes
    ----------
    clouds_nD : the clouds of the groups with a weight above 0
    weights_G : their weights, summing to 1
    centre_D : the mean of the mixture
    axes_DK : the principal components, orthonormal; None if all D dimensions are used
    scale : the mean squared distance of two samples of the mixture in the components; 1 if all samples are equal
    finite : whether all numbers are finite, including those of the synthetic cloud
    """

    clouds_nD: list[Tensor]
    weights_G: Tensor
    centre_D: Tensor
    axes_DK: Tensor | None
    scale: float
    finite: bool

    @classmethod
    @torch.no_grad()
    def from_clouds(
        cls, clouds_nD: Sequence[Tensor], weights_G: Tensor, synthetic_ND: Tensor, dimension: int
    ) -> "_Groups":
        """Check the shapes and return the groups."""
        if len(clouds_nD) != len(weights_G):
            raise ShapeError(f"there are {len(weights_G)} weights for {len(clouds_nD)} groups; give one per group")
        dimensions = synthetic_ND.shape[1]
        shares = weights_G.double().tolist()
        for group, (cloud, share) in enumerate(zip(clouds_nD, shares, strict=True)):
            if share > 0 and len(cloud) == 0:
                raise DataError(f"group {group} has weight {share:g} but no samples; give an absent group weight 0")
            if share > 0 and cloud.shape[1] != dimensions:
                raise ShapeError(f"group {group} has {cloud.shape[1]} dimensions; the synthetic cloud has {dimensions}")
        clouds = [cloud.detach().double() for cloud, share in zip(clouds_nD, shares, strict=True) if share > 0]
        weights = weights_G.detach().double()[weights_G > 0]
        weights = weights / weights.sum()
        centre = weights @ torch.stack([cloud.mean(dim=0) for cloud in clouds])
        # Rows are scaled by the roots of their weights in the mixture, so their outer products sum to its covariance.
        rows = torch.cat([(cloud - centre) * (w / len(cloud)).sqrt() for w, cloud in zip(weights, clouds, strict=True)])
        finite = all(bool(points.isfinite().all()) for points in (rows, synthetic_ND))
        axes = _principal_axes(rows, dimension) if finite and dimension < dimensions else None
        scale = 2 * float((rows if axes is None else rows @ axes).square().sum())
        return cls(clouds, weights, centre, axes, scale if scale > 0 else 1.0, finite)

    def project(self, points_D: Tensor) -> Tensor:
        """Return the coordinates along the principal components, relative to the mean of the mixture."""
        centred = points_D - self.centre_D
        return centred if self.axes_DK is None else centred @ self.axes_DK

    def outside(self, direction_D: Tensor) -> Tensor:
        """Return the part of a direction that is orthogonal to the principal components."""
        if self.axes_DK is None:
            return torch.zeros_like(direction_D)
        return direction_D - self.axes_DK @ (direction_D @ self.axes_DK)


def _nan_loss(synthetic_ND: Tensor) -> Tensor:
    """Return NaN, for a diverged network. The loop then reports the divergence; a solver would only fail."""
    return synthetic_ND.sum() * torch.nan


def _principal_axes(rows_nD: Tensor, dimension: int) -> Tensor:
    """Return the right singular vectors of the largest singular values, (D, K), from the smaller Gram matrix."""
    few = rows_nD.shape[0] < rows_nD.shape[1]
    squares, vectors = torch.linalg.eigh(rows_nD @ rows_nD.mT if few else rows_nD.mT @ rows_nD)
    if squares[-1] <= 0:  # All samples are equal, so any directions serve.
        return torch.eye(rows_nD.shape[1], dtype=rows_nD.dtype, device=rows_nD.device)[:, :dimension]
    significant = squares > 1e-12 * squares[-1]
    significant[:-dimension] = False
    axes: Tensor = vectors[:, significant]
    return rows_nD.mT @ (axes / squares[significant].sqrt()) if few else axes


def _covariance(points_nK: Tensor) -> Tensor:
    """Return the covariance of the cloud, (K, K), with divisor n instead of n − 1."""
    centred = points_nK - points_nK.mean(dim=0)
    covariance: Tensor = centred.mT @ centred / len(points_nK)
    return covariance


def _squared_distances(x_ND: Tensor, y_ND: Tensor) -> Tensor:
    squares = x_ND.square().sum(dim=1)[:, None] + y_ND.square().sum(dim=1)
    return (squares - 2 * x_ND @ y_ND.mT).clamp(min=0)


def _root(matrices: Tensor, *, inverse: bool = False) -> Tensor:
    """Return the (inverse) square root of positive definite matrices."""
    values, vectors = torch.linalg.eigh(matrices)
    roots = values.clamp(min=1e-15 * float(values.max())).sqrt()
    result: Tensor = (vectors * (1 / roots if inverse else roots).unsqueeze(-2)) @ vectors.mT
    return result


@torch.no_grad()
def _bures_barycenter(covariances_GKK: Tensor, weights_G: Tensor, *, tolerance: float, iterations: int) -> Tensor:
    """Return argmin_S Σ_a w_a B²(S, Σ_a) by S ← S^−½ (Σ_a w_a (S^½ Σ_a S^½)^½)² S^−½, from the mean covariance."""
    weights = weights_G[:, None, None]
    barycenter = (weights * covariances_GKK).sum(dim=0)
    for _ in range(iterations):
        root, inverse = _root(barycenter), _root(barycenter, inverse=True)
        mixed = (weights * _root(root @ covariances_GKK @ root)).sum(dim=0)
        updated = inverse @ mixed @ mixed @ inverse
        step = (updated - barycenter).norm() / updated.norm()
        barycenter = (updated + updated.mT) / 2
        if step <= tolerance:
            break
    return barycenter


@torch.no_grad()
def _entropic(
    cost_NM: Tensor, from_N: Tensor, to_M: Tensor, blur: float, *, tolerance: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Return min_P <P, C> + ε KL(P | a⊗b) over plans P with marginals a and b, and P: Sinkhorn in the log domain."""
    g = torch.zeros_like(to_M)
    for _ in range(iterations):
        f = _softmin(cost_NM, to_M, g, blur)  # Now the row marginals are exact; the test is on the column marginals.
        updated = _softmin(cost_NM.mT, from_N, f, blur)
        if (to_M * (((g - updated) / blur).exp() - 1)).abs().sum() <= tolerance:
            break
        g = updated
    plan = from_N[:, None] * to_M * ((f[:, None] + g - cost_NM) / blur).exp()
    return from_N @ f + to_M @ g - blur * (plan.sum() - 1), plan


@torch.no_grad()
def _entropic_self(
    cost_NN: Tensor, mass_N: Tensor, blur: float, *, tolerance: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Return `_entropic` of a cloud and itself. Its potentials are equal; averaging their steps is much faster."""
    f = torch.zeros_like(mass_N)
    for _ in range(iterations):
        updated = _softmin(cost_NN, mass_N, f, blur)
        if (mass_N * (((f - updated) / blur).exp() - 1)).abs().sum() <= tolerance:
            break
        f = (f + updated) / 2
    plan = mass_N[:, None] * mass_N * ((f[:, None] + f - cost_NN) / blur).exp()
    return 2 * mass_N @ f - blur * (plan.sum() - 1), plan


def _softmin(cost_NM: Tensor, to_M: Tensor, g_M: Tensor, blur: float) -> Tensor:
    return -blur * (to_M.log() + (g_M - cost_NM) / blur).logsumexp(dim=1)
