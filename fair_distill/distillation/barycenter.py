"""Barycenters: where the groups' statistics meet. A plain function and a line in BARYCENTERS.

C classes, G groups, D dimensions. Each takes cells (C, G, D) and weights (C, G), which are non-negative and sum to 1
over the groups of a class, and returns (C, D) in the type of the cells. Absent cells weigh 0; what stands in them does
not matter. Targets are constants: no gradient is recorded. Not for whole clouds of samples: see `clouds`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fair_distill.data.grouped_dataset import Array
from fair_distill.errors import ShapeError

Barycenter = Callable[[Tensor, Tensor], Tensor]

# Below this share of the groups' spread two points are one: what is left of a distance after rounding.
_MEETS = 1e-7


@torch.no_grad()
def mean(cells_CGD: Tensor, weights_CG: Tensor) -> Tensor:
    """Return the weighted mean over groups: argmin_m Σ_a w_a ||Φ_a − m||².

    When each group is summarised by its mean, this is the 2-Wasserstein barycenter of the groups: that of point
    masses is the weighted average of the points (Agueh & Carlier, SIAM J. Math. Anal. 43(2), 2011).
    COBRA's default discrepancy (Moslemi et al., ICML 2026).

    Parameters
    ----------
    cells_CGD : (C, G, D)
        One statistic per class and group; what stands in absent cells does not matter.
    weights_CG : (C, G)
        Non-negative, summing to 1 over the groups of each class; 0 for absent cells.

    Returns
    -------
    (C, D)

    Raises
    ------
    ShapeError
        If there is not exactly one weight per class and group.
    """
    _fit(cells_CGD, weights_CG)
    return (weights_CG.unsqueeze(-1) * cells_CGD).sum(dim=1).to(cells_CGD.dtype)


@torch.no_grad()
def l1(cells_CGD: Tensor, weights_CG: Tensor) -> Tensor:
    """Return the weighted median of every coordinate: argmin_m Σ_a w_a ||Φ_a − m||_1.

    Where the weight splits evenly every point between two values is a minimiser; theirs is the midpoint.
    """
    _fit(cells_CGD, weights_CG)
    values, order = cells_CGD.masked_fill(weights_CG[..., None] == 0, torch.inf).sort(dim=1)
    below = weights_CG.double()[..., None].expand_as(cells_CGD).gather(1, order).cumsum(dim=1)
    half = below[:, -1:] / 2
    # Ten times .1 is not 1: weights that split evenly but for their rounding do split evenly.
    slack = 4 * below.shape[1] * torch.finfo(weights_CG.dtype).eps * half
    lower = values.gather(1, (below < half - slack).sum(dim=1, keepdim=True))
    upper = values.gather(1, (below <= half + slack).sum(dim=1, keepdim=True))
    return (lower + (upper - lower) / 2).squeeze(1)


@torch.no_grad()
def l2(cells_CGD: Tensor, weights_CG: Tensor, *, tolerance: float = 1e-10, iterations: int = 1000) -> Tensor:
    """Return the geometric median: argmin_m Σ_a w_a ||Φ_a − m||.

    A group that is a minimiser is told exactly, by its subgradient; where several are (the groups lie on a line and
    their weight splits evenly) the answer is the midpoint of the minimisers, as for `l1`. Otherwise Weiszfeld's
    iteration from the mean, with the step of Vardi & Zhang (PNAS 97(4), 2000) where it meets a group, or Newton's
    step where that falls further: Weiszfeld alone crawls where the answer is near a group.

    Parameters
    ----------
    tolerance : largest change of a group's share in the answer at which the iteration rests
    iterations : the most there are; the objective falls at each, so a rarely reached end costs little
    """
    span = _Span.of(cells_CGD, weights_CG)
    weights = span.weights_CG

    def objective(shares_CG: Tensor) -> Tensor:
        return (weights * span.distances(shares_CG)).sum(dim=1, keepdim=True)

    def step(shares_CG: Tensor) -> Tensor:
        distances = span.distances(shares_CG)
        met = distances < _MEETS
        pull = (weights / distances).masked_fill(met, 0)
        total = pull.sum(dim=1, keepdim=True)
        onward = pull / total
        # Vardi & Zhang: a group that is met holds on with its weight against the pull of the others.
        force = total * span.norms(onward - shares_CG)[:, None]
        hold = (weights * met).sum(dim=1, keepdim=True)
        stay = torch.where(hold > 0, (hold / force).clamp(max=1), torch.zeros_like(hold))
        weiszfeld = onward + stay * (shares_CG - onward)
        # The Hessian is total·I − Σ_a c_a (Φ_a − m)(Φ_a − m)ᵀ, so a step is a mixture of Φ_a − m: G equations.
        curving = (pull / distances.square()).masked_fill(met, 0)
        ones = torch.eye(pull.shape[1], dtype=pull.dtype)
        mixture = torch.linalg.solve_ex(
            total[..., None] * ones - curving[..., None] * span.gram_about(shares_CG), pull
        )[0]
        newton = shares_CG + mixture - mixture.sum(dim=1, keepdim=True) * shares_CG
        further = objective(newton) <= objective(weiszfeld) * (1 + 1e-15)  # never where it is not a number
        return torch.where(further & ~met.any(dim=1, keepdim=True), newton, weiszfeld)

    minimisers = _minimising_groups(span)
    found = minimisers.sum(dim=1, keepdim=True)
    start = torch.where(found > 0, minimisers / found, weights)
    resting = found.squeeze(1) > 0
    return span.at(_until_at_rest(step, start, resting, tolerance=tolerance, iterations=iterations))


@torch.no_grad()
def huber(
    cells_CGD: Tensor, weights_CG: Tensor, *, delta: float, tolerance: float = 1e-10, iterations: int = 1000
) -> Tensor:
    """Return argmin_m Σ_a w_a ρ(||Φ_a − m||) with ρ(d) = d²/2 up to δ and δ(d − δ/2) beyond.

    The mean for large δ, the geometric median for small. Iteratively reweighted least squares from the mean: a group
    farther than δ counts with δ/d. Of the distance and not of each coordinate, so that a rotation of the embedding
    changes nothing.

    Parameters
    ----------
    delta : δ as a multiple of the groups' weighted mean distance from their mean, so that one number serves every
        layer, backbone and network
    tolerance, iterations : as for `l2`
    """
    span = _Span.of(cells_CGD, weights_CG)

    def step(shares_CG: Tensor) -> Tensor:
        pull = span.weights_CG * (delta / span.distances(shares_CG)).clamp(max=1)
        return pull / pull.sum(dim=1, keepdim=True)

    resting = torch.zeros(len(cells_CGD), dtype=torch.bool)
    return span.at(_until_at_rest(step, span.weights_CG, resting, tolerance=tolerance, iterations=iterations))


@torch.no_grad()
def minimax(cells_CGD: Tensor, weights_CG: Tensor) -> Tensor:
    """Return the centre of the smallest ball that holds all groups: argmin_m max_a ||Φ_a − m||.

    The centre that minimises COBRA's worst residual itself; not in its paper. Weights count only as present or absent.
    Exact: an active set of the dual, which for G groups is a quadratic programme in G numbers.
    """
    span = _Span.of(cells_CGD, weights_CG)
    present = (span.weights_CG > 0).numpy()
    shares = np.stack([_enclosing(gram, here) for gram, here in zip(span.gram_CGG.numpy(), present, strict=True)])
    return span.at(torch.from_numpy(shares))


@torch.no_grad()
def cosine(cells_CGD: Tensor, weights_CG: Tensor) -> Tensor:
    """Return the direction of Σ_a w_a Φ_a/||Φ_a|| with the weighted mean norm: argmax_m Σ_a w_a cos(Φ_a, m).

    A zero statistic has no direction and adds none; it counts in the mean norm. Where the directions cancel no
    direction is better than another, and the answer is 0.
    """
    _fit(cells_CGD, weights_CG)
    cells = cells_CGD.double().masked_fill(weights_CG[..., None] == 0, 0)
    weights = weights_CG.double()
    norms = cells.norm(dim=2)
    resultant = ((weights / norms).masked_fill(norms == 0, 0)[..., None] * cells).sum(dim=1)
    length = resultant.norm(dim=1, keepdim=True)
    direction = torch.where(length > 1e-12, resultant / length, torch.zeros_like(resultant))
    centre: Tensor = (weights * norms).sum(dim=1, keepdim=True) * direction
    return centre.to(cells_CGD.dtype)


@torch.no_grad()
def l_inf(
    cells_CGD: Tensor, weights_CG: Tensor, *, temperature: float, tolerance: float = 1e-8, iterations: int = 200
) -> Tensor:
    """Return argmin_m Σ_a w_a s(Φ_a − m), where s is the largest absolute coordinate, smoothed.

    s(x) = t log Σ_j (e^{x_j/t} + e^{−x_j/t}) lies between ||x||_∞ and ||x||_∞ + t log 2D. Smoothing makes the answer
    unique: without it a coordinate that is nobody's largest may be anything. Newton's method from the mean; the Hessian
    is a diagonal less a matrix of rank G, so a step costs G² D. COBRA uses L-BFGS on a smoothed norm likewise.

    Parameters
    ----------
    temperature : t as a multiple of the groups' weighted mean l_inf distance from their mean
    tolerance : l1 norm of the gradient at which the iteration rests (it is 1 where a single group pulls)
    iterations : the most there are; the objective falls at each
    """
    centre, centred, weights = _centred(cells_CGD, weights_CG)
    unit = _or_one((weights * centred.abs().amax(dim=2)).sum(dim=1))
    scaled = centred / unit[:, None, None]
    m = torch.zeros_like(centre)
    value, slope, curvature, rank_g = _smooth_largest(scaled, weights, m, temperature)
    for _ in range(iterations):
        steep = slope.abs().sum(dim=1)
        moving = steep > tolerance
        if not moving.any():
            break
        # Near one large coordinate the curvature vanishes and Newton's step knows no bounds: damp it, and cap it.
        step = _newton(slope, curvature * (1 + 0.01 * steep[:, None]) + 1e-12, rank_g)
        step = step / step.abs().amax(dim=1, keepdim=True).clamp(min=1)
        along = (slope * step).sum(dim=1)
        length = moving.to(m.dtype)
        for _ in range(40):
            tried = _smooth_largest(scaled, weights, m + length[:, None] * step, temperature)
            falls = tried[0] <= value + 1e-4 * length * along + 1e-14 * value  # but for rounding
            if falls.all():
                break
            length = torch.where(falls, length, length / 2)
        m = m + length[:, None] * step
        value, slope, curvature, rank_g = tried
    return (centre + unit[:, None] * m).to(cells_CGD.dtype)


# The one place a barycenter is added: write the function, add its line. Options are keyword-only.
BARYCENTERS: dict[str, Callable[..., Tensor]] = {
    "mean": mean,
    "l1": l1,
    "l2": l2,
    "l_inf": l_inf,
    "cosine": cosine,
    "huber": huber,
    "minimax": minimax,
}


def _fit(cells_CGD: Tensor, weights_CG: Tensor) -> None:
    if cells_CGD.shape[:2] != weights_CG.shape:
        raise ShapeError(
            f"one weight per class and group is needed: got {tuple(weights_CG.shape)} for {tuple(cells_CGD.shape[:2])}"
        )


def _or_one(lengths: Tensor) -> Tensor:
    """Lengths to divide by: groups that agree have no spread, and 0 over 1 is 0."""
    return torch.where(lengths > 0, lengths, torch.ones_like(lengths))


def _centred(cells_CGD: Tensor, weights_CG: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return in double precision the mean (C, D), cells about it with absent ones at 0, and weights that sum to 1."""
    _fit(cells_CGD, weights_CG)
    weights = weights_CG.double()
    weights = weights / weights.sum(dim=1, keepdim=True)
    absent = (weights == 0)[..., None]
    cells = cells_CGD.double().masked_fill(absent, 0)
    centre = (weights[..., None] * cells).sum(dim=1)
    return centre, (cells - centre[:, None]).masked_fill(absent, 0), weights


@dataclass(frozen=True, eq=False)
class _Span:
    """The span of each class's groups, where every barycenter lies that a rotation does not move.

    A point of it is the groups' shares in it, (C, G), which sum to 1, and distances follow from inner products: an
    iteration costs G², however large D is. So the small problem is solved on the CPU, and double precision is cheap.

    Attributes
    ----------
    gram_CGG : inner products of the groups about their mean, in units of their weighted mean distance from it, squared
    """

    centre_CD: Tensor
    centred_CGD: Tensor
    weights_CG: Tensor
    gram_CGG: Tensor
    dtype: torch.dtype

    @classmethod
    def of(cls, cells_CGD: Tensor, weights_CG: Tensor) -> "_Span":
        centre, centred, weights = _centred(cells_CGD, weights_CG)
        unit = _or_one((weights * centred.norm(dim=2)).sum(dim=1))
        scaled = centred / unit[:, None, None]
        return cls(centre, centred, weights.cpu(), (scaled @ scaled.mT).cpu(), cells_CGD.dtype)

    def norms(self, directions: Tensor) -> Tensor:
        """Norms of differences of points, from differences of shares (C, ..., G)."""
        flat = directions.flatten(1, -2) if directions.dim() > 2 else directions[:, None]
        return ((flat @ self.gram_CGG) * flat).sum(dim=-1).clamp(min=0).sqrt().view(directions.shape[:-1])

    def distances(self, shares_CG: Tensor) -> Tensor:
        """Distances of every group from a point, (C, G).

        From the differences of shares and not by expanding the square, which loses half of the digits near a group.
        """
        return self.norms(torch.eye(shares_CG.shape[1], dtype=shares_CG.dtype) - shares_CG[:, None])

    def gram_about(self, shares_CG: Tensor) -> Tensor:
        """Inner products of the groups about a point, (C, G, G)."""
        to_groups = torch.eye(shares_CG.shape[1], dtype=shares_CG.dtype) - shares_CG[:, None]
        return to_groups @ self.gram_CGG @ to_groups.mT

    def at(self, shares_CG: Tensor) -> Tensor:
        """The points with these shares, (C, D), in the type of the cells."""
        shares = shares_CG.to(self.centre_CD.device)
        return (self.centre_CD + (shares[:, None] @ self.centred_CGD).squeeze(1)).to(self.dtype)


def _until_at_rest(
    step: Callable[[Tensor], Tensor], shares_CG: Tensor, resting: Tensor, *, tolerance: float, iterations: int
) -> Tensor:
    """Repeat a step until no share changes by more than `tolerance`; a class at rest is left alone by the others."""
    for _ in range(iterations):
        if resting.all():
            break
        moved = torch.where(resting[:, None], shares_CG, step(shares_CG))
        resting = (moved - shares_CG).abs().amax(dim=1) <= tolerance
        shares_CG = moved
    return shares_CG


def _minimising_groups(span: _Span) -> Tensor:
    """Groups that minimise the sum of distances, (C, G): one over how many are at that place, else 0.

    A group does if the others' unit pulls on it add up to no more than the weight at its place.
    """
    weights, size = span.weights_CG, span.weights_CG.shape[1]
    ones = torch.eye(size, dtype=weights.dtype)
    between = ones[:, None] - ones  # shares of group a less those of group b
    apart = span.norms(between.expand(len(weights), -1, -1, -1))
    same = (apart < _MEETS) & (weights > 0)[:, None]
    pull = (weights[:, None] / apart).masked_fill(same | (weights == 0)[:, None], 0)
    force = span.norms(pull - ones * pull.sum(dim=2, keepdim=True))
    hold = (weights[:, None] * same).sum(dim=2)
    minimises = (force <= hold * (1 + 1e-9)) & (weights > 0)
    return minimises / same.sum(dim=2).clamp(min=1)


def _enclosing(gram_GG: Array, present: Array) -> Array:
    """Return the shares of the centre of the smallest enclosing ball of points with these inner products.

    Maximises the dual, Σ λ_a K_aa − λᵀKλ over shares λ, whose slope at a is the squared distance of point a from the
    centre, but for a constant. Moves to the best centre on the points that hold the ball; drops one that would push and
    not hold; takes in the farthest that sticks out; ends when none does.
    """
    squares = np.diag(gram_GG)
    if not np.isfinite(gram_GG).all():  # a network that diverged: the loss is to say so, not an eigenvalue solver
        return np.full(len(squares), np.nan)
    shares = np.zeros(len(squares))
    first = int(np.argmax(np.where(present, squares, -np.inf)))
    shares[first] = 1.0
    holding = [first]
    largest = max(float(squares[first]), np.finfo(float).tiny)
    # Each pass makes the ball larger or its support smaller, so it ends; the bound is against rounding.
    for _ in range(100 * len(squares) + 100):
        slope = squares - 2 * gram_GG @ shares
        direction, full = _towards_optimum(gram_GG[np.ix_(holding, holding)] / largest, slope[holding] / largest)
        shrinking = direction < 0
        limits = np.full(len(holding), np.inf)
        limits[shrinking] = shares[holding][shrinking] / -direction[shrinking]
        blocking = int(np.argmin(limits))
        length = min(full, limits[blocking])
        shares[holding] += length * direction
        if length < full:
            shares[holding.pop(blocking)] = 0.0
            continue
        slope = squares - 2 * gram_GG @ shares
        outermost = int(np.argmax(np.where(present, slope, -np.inf)))
        if slope[outermost] <= slope[holding].max() + 1e-12 * largest:
            break
        holding.append(outermost)
    return np.asarray(shares / shares.sum())


def _towards_optimum(gram: Array, slope: Array) -> tuple[Array, float]:
    """Return the step of shares that maximises slope·p − pᵀKp with Σp = 0, and its length: 1, or ∞ where unbounded."""
    size = len(slope)
    basis = np.linalg.qr(np.eye(size) - 1 / size)[0][:, : size - 1]  # orthonormal, sums to 0
    curvature, axes = np.linalg.eigh(basis.T @ gram @ basis)
    rising = axes.T @ (basis.T @ slope)
    flat = curvature <= 1e-13
    # Points on one line, plane and so on: along these shares the centre stays and the ball only grows.
    if np.abs(rising[flat]).max(initial=0.0) > 1e-10:
        return basis @ (axes[:, flat] @ rising[flat]), math.inf
    return basis @ (axes[:, ~flat] @ (rising[~flat] / (2 * curvature[~flat]))), 1.0


def _smooth_largest(
    scaled_CGD: Tensor, weights_CG: Tensor, m_CD: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return value (C,) and slope (C, D) of Σ_a w_a s(Φ_a − m); of its Hessian, diag − UᵀU, diag and U (C, G, D)."""
    x = (scaled_CGD - m_CD[:, None]) / temperature
    signed = torch.cat([x, -x], dim=2)
    value = temperature * (weights_CG * signed.logsumexp(dim=2)).sum(dim=1)
    up, down = signed.softmax(dim=2).chunk(2, dim=2)
    weights = weights_CG[..., None]
    slope = (weights * (down - up)).sum(dim=1)
    return value, slope, (weights * (up + down)).sum(dim=1) / temperature, (weights / temperature).sqrt() * (up - down)


def _newton(slope_CD: Tensor, diagonal_CD: Tensor, rank_g_CGD: Tensor) -> Tensor:
    """Return −(diag − UᵀU)⁻¹ slope by the Woodbury identity: a system of G equations a class."""
    scaled = rank_g_CGD / diagonal_CD[:, None]
    inner = torch.eye(rank_g_CGD.shape[1], dtype=slope_CD.dtype, device=slope_CD.device) - scaled @ rank_g_CGD.mT
    straight = -slope_CD / diagonal_CD
    shares = torch.linalg.solve(inner, (rank_g_CGD @ straight[..., None]).squeeze(-1))
    solution: Tensor = straight + (shares[:, None] @ scaled).squeeze(1)
    return solution
