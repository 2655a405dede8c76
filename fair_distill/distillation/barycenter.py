"""Barycenters of the groups' statistics. To add one, write a function and add its line to BARYCENTERS.

Each function takes cells (C, G, D) and weights (C, G) and returns (C, D) in the type of the cells. The weights are
non-negative and sum to 1 over the groups of a class. Absent cells have weight 0, and their values have no effect. The
result is a constant without gradient. For barycenters of whole clouds of samples, see `clouds`.

C classes, G groups, D dimensions.
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

# Two points coincide if their distance is below this share of the groups' spread: the rest is rounding error.
_COINCIDES = 1e-7


@torch.no_grad()
def mean(cells_CGD: Tensor, weights_CG: Tensor) -> Tensor:
    """Return the weighted mean over groups: argmin_m Σ_a w_a ||Φ_a − m||².

    If each group is summarised by its mean, this is the 2-Wasserstein barycenter of the groups: the barycenter of point
    masses is the weighted average of the points (Agueh & Carlier, SIAM J. Math. Anal. 43(2), 2011). It is the
    barycenter of COBRA's default discrepancy (Moslemi et al., ICML 2026).

    Parameters
    ----------
    cells_CGD : (C, G, D)
        One statistic per class and group. The values of absent cells have no effect.
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
    _check_shapes(cells_CGD, weights_CG)
    weights = weights_CG.unsqueeze(-1)
    # Without the mask, NaN in an absent cell would remain NaN when it is multiplied by 0.
    return (weights * cells_CGD.masked_fill(weights == 0, 0)).sum(dim=1).to(cells_CGD.dtype)


@torch.no_grad()
def l1(cells_CGD: Tensor, weights_CG: Tensor) -> Tensor:
    """Return the weighted median of every coordinate: argmin_m Σ_a w_a ||Φ_a − m||_1.

    If the weight splits evenly between two values, every point between them is a minimiser; this returns the midpoint.
    """
    _check_shapes(cells_CGD, weights_CG)
    values, order = cells_CGD.masked_fill(weights_CG[..., None] == 0, torch.inf).sort(dim=1)
    below = weights_CG.double()[..., None].expand_as(cells_CGD).gather(1, order).cumsum(dim=1)
    half = below[:, -1:] / 2
    # Ten times .1 is not exactly 1. Weights that split evenly up to rounding count as evenly split.
    slack = 4 * below.shape[1] * torch.finfo(weights_CG.dtype).eps * half
    lower = values.gather(1, (below < half - slack).sum(dim=1, keepdim=True))
    upper = values.gather(1, (below <= half + slack).sum(dim=1, keepdim=True))
    return (lower + (upper - lower) / 2).squeeze(1)


@torch.no_grad()
def l2(cells_CGD: Tensor, weights_CG: Tensor, *, tolerance: float = 1e-10, iterations: int = 1000) -> Tensor:
    """Return the geometric median: argmin_m Σ_a w_a ||Φ_a − m||.

    If a group is a minimiser, its subgradient shows this exactly. If several groups are (they are on a line and their
    weight splits evenly), the result is the midpoint of the minimisers, as for `l1`. Otherwise the function runs
    Weiszfeld's iteration from the mean, with the step of Vardi & Zhang (PNAS 97(4), 2000) at a group, or Newton's step
    if that lowers the objective further: Weiszfeld's iteration alone is slow near a group.

    Parameters
    ----------
    tolerance : the iteration stops when no group's share of the result changes by more than this
    iterations : the maximum number; each lowers the objective, so stopping early costs little accuracy
    """
    span = _Span.from_cells(cells_CGD, weights_CG)
    weights = span.weights_CG

    def objective(shares_CG: Tensor) -> Tensor:
        return (weights * span.distances(shares_CG)).sum(dim=1, keepdim=True)

    def step(shares_CG: Tensor) -> Tensor:
        distances = span.distances(shares_CG)
        coincides = distances < _COINCIDES
        pull = (weights / distances).masked_fill(coincides, 0)
        total = pull.sum(dim=1, keepdim=True)
        updated = pull / total
        # Vardi & Zhang: at a group, its weight works against the force of the other groups.
        force = total * span.norms(updated - shares_CG)[:, None]
        hold = (weights * coincides).sum(dim=1, keepdim=True)
        stay = torch.where(hold > 0, (hold / force).clamp(max=1), torch.zeros_like(hold))
        weiszfeld = updated + stay * (shares_CG - updated)
        # The Hessian is total·I − Σ_a c_a (Φ_a − m)(Φ_a − m)ᵀ, so Newton's step is a mixture of Φ_a − m: G equations.
        coefficients = (pull / distances.square()).masked_fill(coincides, 0)
        identity = torch.eye(pull.shape[1], dtype=pull.dtype)
        mixture = torch.linalg.solve_ex(
            total[..., None] * identity - coefficients[..., None] * span.gram_about(shares_CG), pull
        )[0]
        newton = shares_CG + mixture - mixture.sum(dim=1, keepdim=True) * shares_CG
        lower = objective(newton) <= objective(weiszfeld) * (1 + 1e-15)  # False if Newton's step is NaN.
        return torch.where(lower & ~coincides.any(dim=1, keepdim=True), newton, weiszfeld)

    minimisers = _minimising_groups(span)
    count = minimisers.sum(dim=1, keepdim=True)
    start = torch.where(count > 0, minimisers / count, weights)
    converged = count.squeeze(1) > 0
    return span.points(_iterate(step, start, converged, tolerance=tolerance, iterations=iterations))


@torch.no_grad()
def huber(
    cells_CGD: Tensor, weights_CG: Tensor, *, delta: float, tolerance: float = 1e-10, iterations: int = 1000
) -> Tensor:
    """Return argmin_m Σ_a w_a ρ(||Φ_a − m||) with ρ(d) = d²/2 up to δ and δ(d − δ/2) beyond.

    The result approaches the mean for large δ and the geometric median for small δ. The algorithm is iteratively
    reweighted least squares from the mean: the weight of a group farther than δ is multiplied by δ/d. The loss applies
    to the distance instead of to each coordinate, so a rotation of the embedding rotates the result.

    Parameters
    ----------
    delta : δ as a multiple of the groups' weighted mean distance from their mean, so that one number suits every layer,
        matcher and network
    tolerance, iterations : as for `l2`
    """
    span = _Span.from_cells(cells_CGD, weights_CG)

    def step(shares_CG: Tensor) -> Tensor:
        pull = span.weights_CG * (delta / span.distances(shares_CG)).clamp(max=1)
        return pull / pull.sum(dim=1, keepdim=True)

    converged = torch.zeros(len(cells_CGD), dtype=torch.bool)
    return span.points(_iterate(step, span.weights_CG, converged, tolerance=tolerance, iterations=iterations))


@torch.no_grad()
def minimax(cells_CGD: Tensor, weights_CG: Tensor) -> Tensor:
    """Return the centre of the smallest ball that contains all groups: argmin_m max_a ||Φ_a − m||.

    This minimises COBRA's worst residual directly, and is not in its paper. Weights only determine which groups are
    present. The result is exact: an active-set method solves the dual, a quadratic programme in G variables.
    """
    span = _Span.from_cells(cells_CGD, weights_CG)
    present = (span.weights_CG > 0).numpy()
    shares = np.stack(
        [_enclosing_ball(gram, groups) for gram, groups in zip(span.gram_CGG.numpy(), present, strict=True)]
    )
    return span.points(torch.from_numpy(shares))


@torch.no_grad()
def cosine(cells_CGD: Tensor, weights_CG: Tensor) -> Tensor:
    """Return the direction of Σ_a w_a Φ_a/||Φ_a|| with the weighted mean norm: argmax_m Σ_a w_a cos(Φ_a, m).

    A statistic of zeros has no direction, but counts in the mean norm. If the directions cancel, no direction is better
    than another, and the result is 0.
    """
    _check_shapes(cells_CGD, weights_CG)
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

    s(x) = t log Σ_j (e^{x_j/t} + e^{−x_j/t}) is between ||x||_∞ and ||x||_∞ + t log 2D. Smoothing makes the result
    unique: without it, a coordinate that is not the largest for any group is undetermined. The algorithm is Newton's
    method from the mean. The Hessian is a diagonal minus a matrix of rank G, so a step costs G² D. COBRA uses L-BFGS on
    a smoothed norm.

    Parameters
    ----------
    temperature : t as a multiple of the groups' weighted mean l_inf distance from their mean
    tolerance : the iteration stops at this l1 norm of the gradient (a single group alone gives norm 1)
    iterations : the maximum number; each lowers the objective
    """
    centre, centred, weights = _centred(cells_CGD, weights_CG)
    unit = _or_one((weights * centred.abs().amax(dim=2)).sum(dim=1))
    scaled = centred / unit[:, None, None]
    m = torch.zeros_like(centre)
    value, slope, curvature, rank_g = _smooth_largest(scaled, weights, m, temperature)
    for _ in range(iterations):
        steep = slope.abs().sum(dim=1)
        active = steep > tolerance
        if not active.any():
            break
        # Near a single large coordinate the curvature vanishes and Newton's step is unbounded, so damp it and cap it.
        step = _newton(slope, curvature * (1 + 0.01 * steep[:, None]) + 1e-12, rank_g)
        step = step / step.abs().amax(dim=1, keepdim=True).clamp(min=1)
        along = (slope * step).sum(dim=1)
        length = active.to(m.dtype)
        for _ in range(40):
            trial = _smooth_largest(scaled, weights, m + length[:, None] * step, temperature)
            decreases = trial[0] <= value + 1e-4 * length * along + 1e-14 * value  # The last term allows for rounding.
            if decreases.all():
                break
            length = torch.where(decreases, length, length / 2)
        m = m + length[:, None] * step
        value, slope, curvature, rank_g = trial
    return (centre + unit[:, None] * m).to(cells_CGD.dtype)


# To add a barycenter, write the function and add its line here. Options are keyword-only.
BARYCENTERS: dict[str, Callable[..., Tensor]] = {
    "mean": mean,
    "l1": l1,
    "l2": l2,
    "l_inf": l_inf,
    "cosine": cosine,
    "huber": huber,
    "minimax": minimax,
}


def _check_shapes(cells_CGD: Tensor, weights_CG: Tensor) -> None:
    if cells_CGD.shape[:2] != weights_CG.shape:
        raise ShapeError(
            f"weights have shape {tuple(weights_CG.shape)}; give one weight per class and group, "
            f"{tuple(cells_CGD.shape[:2])}"
        )


def _or_one(lengths: Tensor) -> Tensor:
    """Return the lengths with 0 replaced by 1, for use as divisors: groups that are all equal have no spread."""
    return torch.where(lengths > 0, lengths, torch.ones_like(lengths))


def _centred(cells_CGD: Tensor, weights_CG: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return in double precision the mean (C, D), the centred cells with absent ones at 0, and normalised weights."""
    _check_shapes(cells_CGD, weights_CG)
    weights = weights_CG.double()
    weights = weights / weights.sum(dim=1, keepdim=True)
    absent = (weights == 0)[..., None]
    cells = cells_CGD.double().masked_fill(absent, 0)
    centre = (weights[..., None] * cells).sum(dim=1)
    return centre, (cells - centre[:, None]).masked_fill(absent, 0), weights


@dataclass(frozen=True, eq=False)
class _Span:
    """The span of each class's groups. It contains every barycenter that is equivariant under rotations.

    A point in the span is represented by the groups' shares, (C, G), which sum to 1. Distances follow from inner
    products, so an iteration costs G² regardless of D. This small problem is solved on the CPU, in double precision.

    Attributes
    ----------
    centre_CD : the weighted mean of the groups
    centred_CGD : the groups minus their mean
    weights_CG : the weights, on the CPU
    gram_CGG : inner products of the centred groups, divided by the square of their weighted mean norm; on the CPU
    dtype : the type of the cells
    """

    centre_CD: Tensor
    centred_CGD: Tensor
    weights_CG: Tensor
    gram_CGG: Tensor
    dtype: torch.dtype

    @classmethod
    def from_cells(cls, cells_CGD: Tensor, weights_CG: Tensor) -> "_Span":
        """Return the span of these cells."""
        centre, centred, weights = _centred(cells_CGD, weights_CG)
        unit = _or_one((weights * centred.norm(dim=2)).sum(dim=1))
        scaled = centred / unit[:, None, None]
        return cls(centre, centred, weights.cpu(), (scaled @ scaled.mT).cpu(), cells_CGD.dtype)

    def norms(self, directions: Tensor) -> Tensor:
        """Return the norms of differences of points, from differences of shares (C, ..., G)."""
        flat = directions.flatten(1, -2) if directions.dim() > 2 else directions[:, None]
        return ((flat @ self.gram_CGG) * flat).sum(dim=-1).clamp(min=0).sqrt().view(directions.shape[:-1])

    def distances(self, shares_CG: Tensor) -> Tensor:
        """Return the distance of every group from a point, (C, G).

        It is computed from differences of shares. Expanding the square would lose half of the digits near a group.
        """
        return self.norms(torch.eye(shares_CG.shape[1], dtype=shares_CG.dtype) - shares_CG[:, None])

    def gram_about(self, shares_CG: Tensor) -> Tensor:
        """Return the inner products of the groups relative to a point, (C, G, G)."""
        to_groups = torch.eye(shares_CG.shape[1], dtype=shares_CG.dtype) - shares_CG[:, None]
        return to_groups @ self.gram_CGG @ to_groups.mT

    def points(self, shares_CG: Tensor) -> Tensor:
        """Return the points with these shares, (C, D), in the type of the cells."""
        shares = shares_CG.to(self.centre_CD.device)
        return (self.centre_CD + (shares[:, None] @ self.centred_CGD).squeeze(1)).to(self.dtype)


def _iterate(
    step: Callable[[Tensor], Tensor], shares_CG: Tensor, converged: Tensor, *, tolerance: float, iterations: int
) -> Tensor:
    """Repeat a step until no share changes by more than `tolerance`. Converged classes do not change any more."""
    for _ in range(iterations):
        if converged.all():
            break
        updated = torch.where(converged[:, None], shares_CG, step(shares_CG))
        converged = (updated - shares_CG).abs().amax(dim=1) <= tolerance
        shares_CG = updated
    return shares_CG


def _minimising_groups(span: _Span) -> Tensor:
    """Return the groups that minimise the sum of distances, (C, G): 1 / (number of groups at that point), else 0.

    A group is a minimiser if the weighted unit vectors to the other groups sum to at most the weight at its point.
    """
    weights, size = span.weights_CG, span.weights_CG.shape[1]
    identity = torch.eye(size, dtype=weights.dtype)
    between = identity[:, None] - identity  # The shares of group a minus those of group b.
    distances = span.norms(between.expand(len(weights), -1, -1, -1))
    same = (distances < _COINCIDES) & (weights > 0)[:, None]
    pull = (weights[:, None] / distances).masked_fill(same | (weights == 0)[:, None], 0)
    force = span.norms(pull - identity * pull.sum(dim=2, keepdim=True))
    hold = (weights[:, None] * same).sum(dim=2)
    minimises = (force <= hold * (1 + 1e-9)) & (weights > 0)
    return minimises / same.sum(dim=2).clamp(min=1)


def _enclosing_ball(gram_GG: Array, present: Array) -> Array:
    """Return the shares of the centre of the smallest enclosing ball of points with these inner products.

    It maximises the dual, Σ λ_a K_aa − λᵀKλ over shares λ. The derivative of the dual at a is, up to a constant, the
    squared distance of point a from the centre. Each pass moves to the best centre for the active points. It removes a
    point whose share would become negative, or else adds the farthest point outside the ball. It ends if no point is
    outside.
    """
    squares = np.diag(gram_GG)
    if not np.isfinite(gram_GG).all():  # A network has diverged: return NaN, so that the loss reports it.
        return np.full(len(squares), np.nan)
    shares = np.zeros(len(squares))
    first = int(np.argmax(np.where(present, squares, -np.inf)))
    shares[first] = 1.0
    active = [first]
    largest = max(float(squares[first]), np.finfo(float).tiny)
    # Each pass enlarges the ball or shrinks the active set, so the loop ends. The limit guards against rounding errors.
    for _ in range(100 * len(squares) + 100):
        slope = squares - 2 * gram_GG @ shares
        direction, full = _towards_optimum(gram_GG[np.ix_(active, active)] / largest, slope[active] / largest)
        shrinking = direction < 0
        limits = np.full(len(active), np.inf)
        limits[shrinking] = shares[active][shrinking] / -direction[shrinking]
        blocking = int(np.argmin(limits))
        length = min(full, limits[blocking])
        shares[active] += length * direction
        if length < full:
            shares[active.pop(blocking)] = 0.0
            continue
        slope = squares - 2 * gram_GG @ shares
        outermost = int(np.argmax(np.where(present, slope, -np.inf)))
        if slope[outermost] <= slope[active].max() + 1e-12 * largest:
            break
        active.append(outermost)
    normalised: Array = shares / shares.sum()
    return normalised


def _towards_optimum(gram: Array, slope: Array) -> tuple[Array, float]:
    """Return the step p that maximises slope·p − pᵀKp with Σp = 0, and its length: 1, or ∞ if it is unbounded."""
    size = len(slope)
    basis = np.linalg.qr(np.eye(size) - 1 / size)[0][:, : size - 1]  # Orthonormal; columns sum to 0.
    curvature, axes = np.linalg.eigh(basis.T @ gram @ basis)
    rising = axes.T @ (basis.T @ slope)
    flat = curvature <= 1e-13
    # If the points are on one line, plane, …, these directions change the radius of the ball but not its centre.
    if np.abs(rising[flat]).max(initial=0.0) > 1e-10:
        return basis @ (axes[:, flat] @ rising[flat]), math.inf
    return basis @ (axes[:, ~flat] @ (rising[~flat] / (2 * curvature[~flat]))), 1.0


def _smooth_largest(
    scaled_CGD: Tensor, weights_CG: Tensor, m_CD: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return value (C,), gradient (C, D), diag (C, D) and U (C, G, D) of Σ_a w_a s(Φ_a − m), Hessian diag − UᵀU."""
    x = (scaled_CGD - m_CD[:, None]) / temperature
    signed = torch.cat([x, -x], dim=2)
    value = temperature * (weights_CG * signed.logsumexp(dim=2)).sum(dim=1)
    up, down = signed.softmax(dim=2).chunk(2, dim=2)
    weights = weights_CG[..., None]
    slope = (weights * (down - up)).sum(dim=1)
    return value, slope, (weights * (up + down)).sum(dim=1) / temperature, (weights / temperature).sqrt() * (up - down)


def _newton(slope_CD: Tensor, diagonal_CD: Tensor, rank_g_CGD: Tensor) -> Tensor:
    """Return −(diag − UᵀU)⁻¹ slope by the Woodbury identity: a system of G equations for each class."""
    scaled = rank_g_CGD / diagonal_CD[:, None]
    inner = torch.eye(rank_g_CGD.shape[1], dtype=slope_CD.dtype, device=slope_CD.device) - scaled @ rank_g_CGD.mT
    straight = -slope_CD / diagonal_CD
    shares = torch.linalg.solve(inner, (rank_g_CGD @ straight[..., None]).squeeze(-1))
    step: Tensor = straight + (shares[:, None] @ scaled).squeeze(1)
    return step
