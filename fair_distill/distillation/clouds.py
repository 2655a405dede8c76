"""Barycenters of clouds: how far a class's synthetic images are from where its groups' clouds meet. Knows POT.

A mean hides spread; these compare whole clouds of embeddings, one class at a time. Each returns a squared 2-Wasserstein
distance from the synthetic cloud to a target, so that one learning rate serves all: between Gaussians (`bures`), to
atoms (`free_support`), smoothed (`sinkhorn`). The first two meet at the Wasserstein barycenter, which blends the
groups; the third at their mixture, which keeps them apart. All have the mean of the groups' means.

G groups, n samples of one group, N synthetic images, D dimensions, K principal components. Targets are constants;
the gradient is the synthetic images'. Inside, double precision; outside, the type of the synthetic cloud.
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

    ||mean − mean*||² + tr Σ + tr Σ* − 2 tr (Σ*^½ Σ Σ*^½)^½. Means are compared in all D dimensions, covariances among
    principal components. The barycenter's Σ* is the fixed point of Álvarez-Esteban et al. (J. Math. Anal. Appl. 441(2),
    2016); where covariances are diagonal its deviations are the weighted means of the groups'.

    Parameters
    ----------
    clouds_nD : one cloud of embedded samples per group; n may differ, and is 0 for an absent group
    weights_G : non-negative, summing to 1; 0 for absent groups
    synthetic_ND : with gradient
    dimension : principal components of the weighted mixture of the groups in which covariances are compared
    shrinkage : share in (0, 1] by which every covariance is moved to τI, τ the groups' mean variance. A cloud of N
        images has rank N − 1, where the distance has no finite slope without it
    covariance : "diagonal" compares the deviations along the principal components and nothing between them
    tolerance : change of Σ* relative to it at which the fixed point is reached, in at most `iterations`

    Returns
    -------
    scalar

    Raises
    ------
    ShapeError, DataError
        If there is not one weight per cloud, dimensions differ, or a group that weighs has no samples.
    ConfigError
        If the shrinkage is above 1.
    """
    if shrinkage > 1:
        raise ConfigError(f"params.yaml: barycenter 'bures': shrinkage is {shrinkage:g}; at most 1 is needed")
    groups = _Groups.of(clouds_nD, weights_G, synthetic_ND, dimension)
    if not groups.finite:
        return _not_a_number(synthetic_ND)
    means = torch.stack([cloud.mean(dim=0) for cloud in groups.clouds_nD])
    between_means = (synthetic_ND.double().mean(dim=0) - groups.weights_G @ means).square().sum()

    sample = torch.stack([_covariance(groups.project(cloud)) for cloud in groups.clouds_nD])
    ours = _covariance(groups.project(synthetic_ND.double()))
    variance = (groups.weights_G @ sample.diagonal(dim1=1, dim2=2).mean(dim=1)).clamp(min=1e-30)
    ridge = variance * torch.eye(ours.shape[0], dtype=ours.dtype, device=ours.device)
    sample, ours = (((1 - shrinkage) * each + shrinkage * ridge) for each in (sample, ours))
    if covariance == "diagonal":
        deviations = groups.weights_G @ sample.diagonal(dim1=1, dim2=2).sqrt()
        between_spreads = (ours.diagonal().sqrt() - deviations).square().sum()
    else:
        target = _bures_barycenter(sample, groups.weights_G, tolerance=tolerance, iterations=iterations)
        root = _root(target)
        # Eigenvalues alone are differentiated: their slope is finite where some are equal, that of a root is not.
        # Not eigvalsh, which takes another path, and gives other bits, where no gradient is wanted.
        eigenvalues = torch.linalg.eigh(root @ ours @ root).eigenvalues
        overlap = eigenvalues.clamp(min=1e-15 * float(eigenvalues.detach().max())).sqrt().sum()
        between_spreads = ours.trace() + target.trace() - 2 * overlap
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
    """Return the squared 2-Wasserstein distance of the synthetic cloud from a barycenter of as many atoms.

    The barycenter is POT's (Cuturi & Doucet, ICML 2014, Algorithm 2, with the atoms' weights fixed), started from
    the synthetic cloud. Its transport plans are found among principal components; each atom is then the mean of what
    is sent to it in all D dimensions, and images are matched to atoms one to one: a target per image.

    Parameters
    ----------
    clouds_nD, weights_G, synthetic_ND, dimension : as for `bures`
    tolerance : squared step of the atoms, relative to the squared spread of the groups, at which they rest
    iterations : the most there are; plans are vertices, so a few are enough

    Returns
    -------
    scalar: the mean over images of the squared distance to their atoms
    """
    import ot
    from scipy.optimize import linear_sum_assignment

    groups = _Groups.of(clouds_nD, weights_G, synthetic_ND, dimension)
    if not groups.finite:
        return _not_a_number(synthetic_ND)
    images = synthetic_ND.detach().double()
    with torch.no_grad():
        located = [groups.project(cloud).cpu().numpy() for cloud in groups.clouds_nD]
        masses, atom_masses = [ot.unif(len(points)) for points in located], ot.unif(len(images))
        atoms = ot.lp.free_support_barycenter(
            located,
            masses,
            groups.project(images).cpu().numpy(),
            weights=groups.weights_G.cpu().numpy(),
            numItermax=iterations,
            stopThr=tolerance * groups.scale,
        )
        targets = torch.zeros_like(images)
        for points, mass, cloud, weight in zip(located, masses, groups.clouds_nD, groups.weights_G, strict=True):
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

    OT_ε(x, y) − OT_ε(x, x)/2 − OT_ε(y, y)/2 with squared distances and entropy relative to the product of the marginals
    (Feydy et al., AISTATS 2019): 0 only where the clouds agree. Found among principal components; outside them means
    are compared. Log domain; the gradient is that at the fixed plan (envelope theorem), not through the iterations.

    Parameters
    ----------
    clouds_nD, weights_G, synthetic_ND, dimension : as for `bures`
    epsilon : ε as a multiple of the mean squared distance of two samples of the mixture, among principal components
    tolerance : l1 error of a plan's marginal at which the iteration rests
    iterations : the most there are

    Returns
    -------
    scalar
    """
    groups = _Groups.of(clouds_nD, weights_G, synthetic_ND, dimension)
    if not groups.finite:
        return _not_a_number(synthetic_ND)
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


# The one place a barycenter of clouds is added: write the function, add its line. Options are keyword-only.
CLOUD_BARYCENTERS: dict[str, Callable[..., Tensor]] = {
    "bures": bures,
    "free_support": free_support,
    "sinkhorn": sinkhorn,
}


@dataclass(frozen=True, eq=False)
class _Groups:
    """The groups that are there, in double precision, and the principal components of their weighted mixture.

    Attributes
    ----------
    centre_D : mean of the mixture
    axes_DK : orthonormal; None where all D dimensions are kept
    scale : mean squared distance of two samples of the mixture among the components; 1 where all samples are one
    finite : whether all numbers are, the synthetic cloud's too
    """

    clouds_nD: list[Tensor]
    weights_G: Tensor
    centre_D: Tensor
    axes_DK: Tensor | None
    scale: float
    finite: bool

    @classmethod
    @torch.no_grad()
    def of(cls, clouds_nD: Sequence[Tensor], weights_G: Tensor, synthetic_ND: Tensor, dimension: int) -> "_Groups":
        if len(clouds_nD) != len(weights_G):
            raise ShapeError(f"one weight per group is needed: got {len(weights_G)} for {len(clouds_nD)} groups")
        wide = synthetic_ND.shape[1]
        shares = weights_G.double().tolist()
        for group, (cloud, share) in enumerate(zip(clouds_nD, shares, strict=True)):
            if share > 0 and len(cloud) == 0:
                raise DataError(f"group {group} weighs {share:g} and has no samples; an absent group weighs 0")
            if share > 0 and cloud.shape[1] != wide:
                raise ShapeError(f"group {group} has {cloud.shape[1]} dimensions; the synthetic cloud has {wide}")
        clouds = [cloud.detach().double() for cloud, share in zip(clouds_nD, shares, strict=True) if share > 0]
        weights = weights_G.detach().double()[weights_G > 0]
        weights = weights / weights.sum()
        centre = weights @ torch.stack([cloud.mean(dim=0) for cloud in clouds])
        # Rows weighted as the mixture weighs its samples: their outer products add up to its covariance.
        rows = torch.cat([(cloud - centre) * (w / len(cloud)).sqrt() for w, cloud in zip(weights, clouds, strict=True)])
        finite = all(bool(points.isfinite().all()) for points in (rows, synthetic_ND))
        axes = _principal_axes(rows, dimension) if finite and dimension < wide else None
        scale = 2 * float((rows if axes is None else rows @ axes).square().sum())
        return cls(clouds, weights, centre, axes, scale if scale > 0 else 1.0, finite)

    def project(self, points_D: Tensor) -> Tensor:
        """Coordinates along the principal components, about the mean of the mixture."""
        centred = points_D - self.centre_D
        return centred if self.axes_DK is None else centred @ self.axes_DK

    def outside(self, direction_D: Tensor) -> Tensor:
        """What of a direction the components do not reach."""
        if self.axes_DK is None:
            return torch.zeros_like(direction_D)
        return direction_D - self.axes_DK @ (direction_D @ self.axes_DK)


def _not_a_number(synthetic_ND: Tensor) -> Tensor:
    """The loss where a network diverged: the loop says so, and what to lower; a solver would only fail."""
    return synthetic_ND.sum() * torch.nan


def _principal_axes(rows_nD: Tensor, dimension: int) -> Tensor:
    """Return the right singular vectors of the largest singular values, (D, K), from the smaller Gram matrix."""
    few = rows_nD.shape[0] < rows_nD.shape[1]
    squares, vectors = torch.linalg.eigh(rows_nD @ rows_nD.mT if few else rows_nD.mT @ rows_nD)
    if squares[-1] <= 0:  # all samples are one: any direction says so
        return torch.eye(rows_nD.shape[1], dtype=rows_nD.dtype, device=rows_nD.device)[:, :dimension]
    kept = squares > 1e-12 * squares[-1]
    kept[:-dimension] = False
    basis: Tensor = rows_nD.mT @ (vectors[:, kept] / squares[kept].sqrt()) if few else vectors[:, kept]
    return basis


def _covariance(points_nK: Tensor) -> Tensor:
    """Return the covariance of the cloud itself, (K, K): divided by n, not n − 1."""
    centred = points_nK - points_nK.mean(dim=0)
    return centred.mT @ centred / len(points_nK)


def _squared_distances(x_ND: Tensor, y_ND: Tensor) -> Tensor:
    squares = x_ND.square().sum(dim=1)[:, None] + y_ND.square().sum(dim=1)
    return (squares - 2 * x_ND @ y_ND.mT).clamp(min=0)


def _root(matrices: Tensor, *, inverse: bool = False) -> Tensor:
    """Return the (inverse) square root of positive definite matrices."""
    values, vectors = torch.linalg.eigh(matrices)
    roots = values.clamp(min=1e-15 * float(values.max())).sqrt()
    root: Tensor = (vectors * (1 / roots if inverse else roots).unsqueeze(-2)) @ vectors.mT
    return root


@torch.no_grad()
def _bures_barycenter(covariances_GKK: Tensor, weights_G: Tensor, *, tolerance: float, iterations: int) -> Tensor:
    """Return argmin_S Σ_a w_a B²(S, Σ_a) by S ← S^−½ (Σ_a w_a (S^½ Σ_a S^½)^½)² S^−½, from the mean covariance."""
    weights = weights_G[:, None, None]
    barycenter = (weights * covariances_GKK).sum(dim=0)
    for _ in range(iterations):
        root, inverse = _root(barycenter), _root(barycenter, inverse=True)
        mixed = (weights * _root(root @ covariances_GKK @ root)).sum(dim=0)
        onward = inverse @ mixed @ mixed @ inverse
        step = (onward - barycenter).norm() / onward.norm()
        barycenter = (onward + onward.mT) / 2
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
        f = _softmin(cost_NM, to_M, g, blur)  # the rows are exact now; how far are the columns?
        onward = _softmin(cost_NM.mT, from_N, f, blur)
        if (to_M * (((g - onward) / blur).exp() - 1)).abs().sum() <= tolerance:
            break
        g = onward
    plan = from_N[:, None] * to_M * ((f[:, None] + g - cost_NM) / blur).exp()
    return from_N @ f + to_M @ g - blur * (plan.sum() - 1), plan


@torch.no_grad()
def _entropic_self(
    cost_NN: Tensor, mass_N: Tensor, blur: float, *, tolerance: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Return the same of a cloud and itself: both potentials are one, and averaging its steps is many times faster."""
    f = torch.zeros_like(mass_N)
    for _ in range(iterations):
        onward = _softmin(cost_NN, mass_N, f, blur)
        if (mass_N * (((f - onward) / blur).exp() - 1)).abs().sum() <= tolerance:
            break
        f = (f + onward) / 2
    plan = mass_N[:, None] * mass_N * ((f[:, None] + f - cost_NN) / blur).exp()
    return 2 * mass_N @ f - blur * (plan.sum() - 1), plan


def _softmin(cost_NM: Tensor, to_M: Tensor, g_M: Tensor, blur: float) -> Tensor:
    return -blur * (to_M.log() + (g_M - cost_NM) / blur).logsumexp(dim=1)
