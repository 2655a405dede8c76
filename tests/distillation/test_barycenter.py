"""Barycenters: the contract, closed forms, comparisons with SciPy, and difficult inputs."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize, nnls
from torch import Tensor

from fair_distill.data.grouped_dataset import Array
from fair_distill.distillation.alignment import build_barycenter
from fair_distill.distillation.barycenter import BARYCENTERS, Barycenter, l1, mean
from fair_distill.errors import ConfigError, ShapeError
from fair_distill.testing import check_barycenter

# C classes, G groups, D dimensions

OPTIONS: dict[str, dict[str, Any]] = {
    "mean": {},
    "l1": {},
    "l2": {},
    "l_inf": {"temperature": 0.1},
    "cosine": {},
    "huber": {"delta": 0.7},
    "minimax": {},
}
ROUND = ("mean", "l2", "cosine", "huber", "minimax")  # Equivariant under rotations.
EVERYWHERE = tuple(name for name in OPTIONS if name != "cosine")  # Equivariant under translations.
SKEWED = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).repeat(3, 1)


def ours(name: str, **options: Any) -> Barycenter:
    return build_barycenter(name, OPTIONS[name] | options)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(groups: int, classes: int = 1) -> Tensor:
    return torch.full((classes, groups), 1 / groups, dtype=torch.float64)


def centre(name: str, points: Any, weights: Any = None, **options: Any) -> Tensor:
    """Return the barycenter of one class."""
    cells = torch.as_tensor(np.asarray(points, dtype=float))[None]
    given = uniform(cells.shape[1]) if weights is None else torch.as_tensor(np.asarray(weights, dtype=float))[None]
    return ours(name, **options)(cells, given)[0]


@pytest.fixture(params=BARYCENTERS)
def barycenter(request: pytest.FixtureRequest) -> Barycenter:
    return ours(request.param)


@pytest.fixture
def cells() -> Tensor:
    return normal(3, 4, 5)


# --- the contract


@pytest.mark.parametrize("seed", range(3))
def test_every_barycenter_satisfies_the_contract(barycenter: Barycenter, seed: int) -> None:
    check_barycenter(barycenter, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", EVERYWHERE)
def test_translated_clouds_have_a_translated_barycenter(name: str, cells: Tensor) -> None:
    shift = 100 * torch.arange(5, dtype=torch.float64)

    torch.testing.assert_close(ours(name)(cells + shift, SKEWED), ours(name)(cells, SKEWED) + shift)


@pytest.mark.parametrize("scale", [1e-6, -3.0, 1e6])
def test_scaled_clouds_have_a_scaled_barycenter(barycenter: Barycenter, cells: Tensor, scale: float) -> None:
    torch.testing.assert_close(barycenter(scale * cells, SKEWED) / scale, barycenter(cells, SKEWED))


@pytest.mark.parametrize("name", ROUND)
def test_rotated_clouds_have_a_rotated_barycenter(name: str, cells: Tensor) -> None:
    rotation = torch.linalg.qr(normal(5, 5, seed=1)).Q

    torch.testing.assert_close(ours(name)(cells @ rotation, SKEWED), ours(name)(cells, SKEWED) @ rotation)


@pytest.mark.parametrize("name", EVERYWHERE)
def test_two_groups_of_equal_weight_meet_in_the_middle(name: str) -> None:
    cells = normal(3, 2, 6)

    torch.testing.assert_close(ours(name)(cells, uniform(2, 3)), cells.mean(dim=1))


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize("groups", [1, 2, 40])
def test_a_barycenter_is_within_the_range_of_its_groups(name: str, groups: int) -> None:
    cells = normal(2, groups, 3)

    result = ours(name)(cells, uniform(groups, 2))

    assert (result >= cells.amin(dim=1) - 1e-9).all()
    assert (result <= cells.amax(dim=1) + 1e-9).all()


@pytest.mark.parametrize("name", EVERYWHERE)
def test_single_precision_agrees_with_double_precision(name: str, cells: Tensor) -> None:
    far = (cells + 1000).float()

    result = ours(name)(far, SKEWED.float())

    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), ours(name)(far.double(), SKEWED), rtol=0, atol=2e-4)


def test_nan_in_an_absent_cell_has_no_effect(barycenter: Barycenter, cells: Tensor) -> None:
    weights = torch.tensor([0.5, 0.0, 0.5, *[0.0] * (cells.shape[1] - 3)], dtype=cells.dtype).expand(cells.shape[:2])
    unknown = cells.clone()
    unknown[weights == 0] = torch.nan

    torch.testing.assert_close(barycenter(unknown, weights), barycenter(cells, weights), rtol=0, atol=0)


def test_nan_is_passed_on_and_no_solver_fails(barycenter: Barycenter, cells: Tensor) -> None:
    cells[1] = torch.nan

    result = barycenter(cells, SKEWED)

    assert result[1].isnan().all()
    torch.testing.assert_close(result[[0, 2]], barycenter(cells[[0, 2]], SKEWED[:2]))


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (3, 4, 1), (12,)])
def test_a_missing_weight_is_refused(barycenter: Barycenter, cells: Tensor, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"weights have shape \(.*\); give one weight per class and group, \(3, 4\)"):
        barycenter(cells, torch.ones(shape))


# --- against SciPy


def norms(points: Array, m: Array, order: float = 2) -> Array:
    return np.linalg.norm(points - m, ord=order, axis=1)


def huber_loss(points: Array, w: Array, m: Array) -> float:
    d, middle = norms(points, m), w @ points
    delta = OPTIONS["huber"]["delta"] * (w @ norms(points, middle))
    return float(w @ np.where(d <= delta, d**2 / 2, delta * (d - delta / 2)))


def smoothed_loss(points: Array, w: Array, m: Array) -> float:
    t = OPTIONS["l_inf"]["temperature"] * (w @ norms(points, w @ points, np.inf))
    x = (points - m) / t
    return float(t * (w @ np.logaddexp.reduce(np.concatenate([x, -x], axis=1), axis=1)))


def no_cosine(points: Array, w: Array, m: Array) -> float:
    return float(-w @ (points @ m) / np.linalg.norm(m) if m.any() else 0.0)


OBJECTIVES: dict[str, Callable[[Array, Array, Array], float]] = {
    "mean": lambda points, w, m: float(w @ norms(points, m) ** 2),
    "l1": lambda points, w, m: float(w @ norms(points, m, 1)),
    "l2": lambda points, w, m: float(w @ norms(points, m)),
    "l_inf": smoothed_loss,
    "huber": huber_loss,
    "minimax": lambda points, w, m: float(norms(points, m).max()),
    "cosine": lambda points, w, m: no_cosine(points / np.linalg.norm(points, axis=1, keepdims=True), w, m),
}
SMOOTH = ("mean", "l_inf", "huber", "cosine")


@pytest.mark.parametrize("name", BARYCENTERS)
@pytest.mark.parametrize(("groups", "dimensions"), [(3, 2), (4, 3), (5, 2), (6, 20)])
def test_scipy_finds_nothing_better(name: str, groups: int, dimensions: int) -> None:
    for seed in range(5):
        points = normal(groups, dimensions, seed=seed).numpy()
        w = normal(groups, seed=100 + seed).exp().numpy()
        w /= w.sum()

        def loss(m: Array) -> float:
            return OBJECTIVES[name](points, w, m)  # noqa: B023 (called within this iteration only)

        result = centre(name, points, w).numpy()
        found = [minimize(loss, start, tol=1e-12).x for start in (w @ points, result)]
        if name not in SMOOTH:  # Kinks stop gradient descent, so use another method too, and try the kinks.
            crawl = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}
            found += [minimize(loss, start, method="Nelder-Mead", options=crawl).x for start in (w @ points, result)]
            found += list(points)

        assert loss(result) <= min(map(loss, found)) + 1e-9
        if name in ("mean", "l_inf", "huber"):
            np.testing.assert_allclose(found[0], result, atol=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_l_inf_is_within_its_smoothing_of_the_linear_programme(temperature: float) -> None:
    points, w = normal(4, 6).numpy(), np.array([0.1, 0.2, 0.3, 0.4])
    groups, dimensions = points.shape
    # The variables are m and a radius per group: minimise the weighted sum of radii, with |Φ_a − m|_j <= r_a.
    radii = -np.repeat(np.eye(groups), dimensions, axis=0)
    moves = np.tile(np.eye(dimensions), (groups, 1))
    exact = linprog(
        np.concatenate([np.zeros(dimensions), w]),
        A_ub=np.block([[moves, radii], [-moves, radii]]),
        b_ub=np.concatenate([points.ravel(), -points.ravel()]),
        bounds=(None, None),
    ).fun

    reached = w @ norms(points, centre("l_inf", points, w, temperature=temperature).numpy(), np.inf)

    unit = w @ norms(points, w @ points, np.inf)
    assert exact - 1e-9 <= reached <= exact + temperature * unit * np.log(2 * dimensions)


# Points of a small grid: many are on one line or circle, or are equal.
grids = st.integers(1, 3).flatmap(
    lambda dimensions: st.lists(
        st.lists(st.integers(-2, 2), min_size=dimensions, max_size=dimensions), min_size=1, max_size=7
    )
)


@given(grids)
def test_the_minimax_centre_is_in_the_hull_of_the_farthest_groups(points: list[list[int]]) -> None:
    at = np.array(points, dtype=float)

    m = centre("minimax", at).numpy()

    # A centre is that of the smallest ball if and only if it is in the hull of the points on the sphere.
    distances = norms(at, m)
    on_sphere = at[distances >= distances.max() - 1e-7]
    _, missed = nnls(np.vstack([on_sphere.T, np.ones(len(on_sphere))]), np.append(m, 1.0))
    assert missed < 1e-6


@given(grids, st.data())
def test_no_direction_descends_from_the_geometric_median(points: list[list[int]], data: st.DataObject) -> None:
    at = np.array(points, dtype=float)
    w = np.array(data.draw(st.lists(st.sampled_from([1.0, 1.0, 2.0, 5.0]), min_size=len(at), max_size=len(at))))
    w /= w.sum()

    m = centre("l2", at, w).numpy()

    d = norms(at, m)
    here = d < 1e-7
    pull = (w[~here] / d[~here]) @ (at[~here] - m)
    assert np.linalg.norm(pull) <= w[here].sum() + 1e-6


@given(grids)
def test_a_coordinates_median_has_half_of_the_weight_on_either_side(points: list[list[int]]) -> None:
    at = np.array(points, dtype=float)

    m = centre("l1", at).numpy()

    np.testing.assert_allclose(m, np.median(at, axis=0), atol=1e-12)


# --- closed forms: mean


def test_a_minority_group_counts_as_much_as_the_majority() -> None:
    majority, minority = torch.zeros(990, 2), torch.full((10, 2), 4.0)
    cells = torch.stack([majority.mean(dim=0), minority.mean(dim=0)])[None]

    target = mean(cells, torch.tensor([[0.5, 0.5]]))

    torch.testing.assert_close(target, torch.tensor([[2.0, 2.0]]))  # A pooled mean would give 0.04.


def test_the_mean_uses_the_weights() -> None:
    cells = torch.tensor([[[0.0, 0.0], [4.0, 8.0]]])

    torch.testing.assert_close(mean(cells, torch.tensor([[0.75, 0.25]])), torch.tensor([[1.0, 2.0]]))


# --- closed forms: l1


def test_a_median_is_the_value_where_the_weight_passes_half() -> None:
    points = [[0.0, 9.0], [1.0, 5.0], [7.0, 0.0]]

    assert centre("l1", points).tolist() == [1.0, 5.0]
    assert centre("l1", points, [0.1, 0.2, 0.7]).tolist() == [7.0, 0.0]
    assert centre("l1", points, [0.5, 0.2, 0.3]).tolist() == [0.5, 7.0]


def test_weights_that_split_evenly_but_for_rounding_give_the_midpoint() -> None:
    cells = torch.arange(10.0)[None, :, None]

    for weights in (torch.full((1, 10), 0.1), torch.softmax(torch.zeros(1, 10), dim=1)):
        assert l1(cells, weights).item() == 4.5
    assert l1(cells[:, :4], torch.tensor([[0.1, 0.4, 0.3, 0.2]])).item() == 1.5


# --- closed forms: l2


@pytest.mark.parametrize(
    ("points", "weights", "wanted"),
    [
        ([[0, 0], [2, 0], [1, 3**0.5]], None, [1, 1 / 3**0.5]),  # equilateral: its centre
        ([[0, 0], [9, 1], [-9, 1]], None, [0, 0]),  # an angle over 120 degrees: its vertex
        ([[0, 0], [1, 0], [-0.5, 0.75**0.5]], None, [0, 0]),  # of just 120 degrees: its vertex still
        ([[0, 0], [4, 4], [0, 2], [2, 0]], None, [1, 1]),  # convex quadrangle: where the diagonals cross
        ([[0, 0], [5, 1], [3, 7]], [0.5, 0.3, 0.2], [0, 0]),  # half of the weight: there
        ([[0, 0], [1, 0], [2, 0], [9, 0]], None, [1.5, 0]),  # on a line, evenly split: the midpoint, as for l1
        ([[0, 0], [0, 0], [1, 0]], [0.25, 0.25, 0.5], [0.5, 0]),  # two of the four ends at one place
        ([[0, 0], [0, 0], [1, 0], [3, 5]], None, [0, 0]),  # two at one place hold as one of their weight
    ],
)
def test_the_geometric_median_is_its_closed_form(points: Any, weights: Any, wanted: list[float]) -> None:
    np.testing.assert_allclose(centre("l2", points, weights), wanted, atol=1e-9)


def test_the_iteration_leaves_a_group_that_is_not_the_median() -> None:
    points, weights = [[0, 0], [4, 0], [-0.5, 0.5], [-0.5, -0.5]], [0.1, 0.1, 0.4, 0.4]
    np.testing.assert_allclose(np.array(weights) @ points, [0, 0], atol=1e-15)  # The mean, where the iteration starts.

    m = centre("l2", points, weights).numpy()

    assert m[0] < -0.1
    assert abs(m[1]) < 1e-9


def test_a_far_group_moves_the_mean_and_not_the_median() -> None:
    near = normal(5, 3).numpy()
    far, farther = (np.vstack([near, [[x, 0, 0]]]) for x in (1e3, 1e6))

    assert np.linalg.norm(centre("l2", farther) - centre("l2", far)) < 1e-2
    assert np.linalg.norm(centre("mean", farther) - centre("mean", far)) > 1e5


# --- closed forms: huber


def test_huber_is_the_mean_for_large_delta_and_the_median_for_small(cells: Tensor) -> None:
    torch.testing.assert_close(ours("huber", delta=1e6)(cells, SKEWED), mean(cells, SKEWED))
    torch.testing.assert_close(
        ours("huber", delta=1e-6, iterations=10_000)(cells, SKEWED), ours("l2")(cells, SKEWED), rtol=0, atol=1e-4
    )


def test_a_distant_group_counts_in_huber_like_one_at_delta() -> None:
    # The weighted mean distance from the mean is .8 · .2 R + .2 · .8 R. The forces .2 δ and .8 m are equal.
    far = 50.0
    delta = 0.5 * 0.32 * far

    m = centre("huber", [[0.0, 0.0], [far, 0.0]], [0.8, 0.2], delta=0.5)

    np.testing.assert_allclose(m, [0.25 * delta, 0.0], atol=1e-8)


# --- closed forms: minimax


@pytest.mark.parametrize(
    ("points", "wanted"),
    [
        ([[0, 0], [1, 0], [5, 0]], [2.5, 0]),  # a line: its ends
        ([[0, 0], [4, 0], [2, 1]], [2, 0]),  # an obtuse triangle: its longest side
        ([[0, 0], [2, 0], [1, 3**0.5]], [1, 1 / 3**0.5]),  # an acute one: its circumcentre
        ([[0, 0], [2, 0], [2, 2], [0, 2]], [1, 1]),  # four on one circle
        ([[3, 3], [3, 3], [5, 3], [5, 3]], [4, 3]),  # pairs at one place
        (np.vstack([np.eye(6), -np.eye(6)]), np.zeros(6)),  # twelve on one sphere
        (np.eye(8), np.full(8, 1 / 8)),  # a simplex: all hold
    ],
)
def test_the_minimax_centre_is_its_closed_form(points: Any, wanted: Any) -> None:
    np.testing.assert_allclose(centre("minimax", points), wanted, atol=1e-9)


def test_the_minimax_centre_has_the_smallest_worst_residual() -> None:
    cells, weights = normal(10, 6, 40), uniform(6, 10)

    worst = {name: (cells - ours(name)(cells, weights)[:, None]).norm(dim=2).amax(dim=1) for name in BARYCENTERS}

    assert all((worst["minimax"] <= other + 1e-9).all() for other in worst.values())
    assert (worst["minimax"] < worst["mean"] - 1e-3).all()


def test_a_groups_weight_does_not_move_the_minimax_centre_unless_it_is_0() -> None:
    points = [[0, 0], [2, 0], [9, 0]]

    assert centre("minimax", points, [0.98, 0.01, 0.01]).tolist() == pytest.approx([4.5, 0])
    assert centre("minimax", points, [0.5, 0.5, 0]).tolist() == pytest.approx([1, 0])


# --- closed forms: cosine


def test_norms_do_not_change_the_direction_of_the_cosine_barycenter() -> None:
    result = centre("cosine", [[100.0, 0.0], [0.0, 2.0]])

    np.testing.assert_allclose(result, np.full(2, 51 / 2**0.5))  # The bisector, with the mean norm.


def test_a_zero_statistic_has_no_direction_and_counts_in_the_norm() -> None:
    np.testing.assert_allclose(centre("cosine", [[0.0, 0.0], [0.0, 4.0]]), [0.0, 2.0])
    assert centre("cosine", [[0.0, 0.0], [0.0, 0.0]]).tolist() == [0.0, 0.0]


def test_directions_that_cancel_give_zero() -> None:
    assert centre("cosine", [[1.0, 2.0], [-3.0, -6.0]]).tolist() == [0.0, 0.0]


# --- from params.yaml


def test_every_row_is_tested_with_options() -> None:
    assert OPTIONS.keys() == BARYCENTERS.keys()


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        (
            "medoid",
            {},
            "barycenter is 'medoid'; choose one of mean, l1, .*, or name a custom component as package.module:callable",
        ),
        ("mean", {"delta": 1.0}, "barycenter 'mean' has no option 'delta'; its options: none"),
        ("huber", {"dleta": 1.0}, "'huber' has no option 'dleta'; its options: delta, tolerance, iterations"),
        ("huber", {}, "barycenter 'huber' needs the option 'delta'; add it"),
        ("l_inf", {}, "needs the option 'temperature'"),
        *(
            ("huber", {"delta": value}, r"'huber': delta is .*; give a number above 0")
            for value in (0, -1.0, "1", None, True, float("nan"), float("inf"))
        ),
        *(
            ("l2", {"iterations": value}, r"'l2': iterations is .*; give a whole number above 0")
            for value in (0, 1.5, "9", True)
        ),
        ("no.such.module:f", {}, "barycenter is 'no.such.module:f', which cannot be imported: No module named 'no'"),
        ("math:nope", {}, "'math:nope', which cannot be imported: .*nope"),
        (":f", {}, "':f', which cannot be imported"),
        ("math:pi", {}, "barycenter is 'math:pi', which is a float; name a callable"),
    ],
)
def test_an_invalid_barycenter_is_refused_in_one_line(name: str | None, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=rf"^params\.yaml: [^\n]*{says}[^\n]*$"):
        build_barycenter(name, options)


def test_a_custom_barycenter_is_named_by_its_module_and_options(monkeypatch: pytest.MonkeyPatch, cells: Tensor) -> None:
    def between(cells_CGD: Tensor, weights_CG: Tensor, *, share: float) -> Tensor:
        return share * mean(cells_CGD, weights_CG) + (1 - share) * l1(cells_CGD, weights_CG)

    module = ModuleType("mine")
    module.between = between  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mine", module)

    mine = build_barycenter("mine:between", {"share": 1.0})

    torch.testing.assert_close(mine(cells, SKEWED), mean(cells, SKEWED))
    check_barycenter(mine, torch.Generator().manual_seed(0))
    with pytest.raises(ConfigError, match="barycenter 'mine:between' needs the option 'share'"):
        build_barycenter("mine:between", {})


# --- violations of the contract


def in_place(cells: Tensor, weights: Tensor) -> Tensor:
    with torch.no_grad():
        cells += 1
    return mean(cells, weights)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda cells, weights: mean(cells, weights)[:, :2], r"has shape \(3, 2\); \(C, D\) is \(3, 5\) here"),
        (lambda cells, weights: mean(cells, weights).double(), "the cells have type torch.float32"),
        (lambda cells, weights: (weights[..., None] * cells).sum(dim=1), "records a gradient"),
        (lambda cells, weights: mean(cells, weights) / 0, "is not finite"),
        (lambda cells, weights: mean(cells, weights) + torch.rand(1), "global generator"),
        (in_place, "two barycenters|changed in place"),
        (lambda cells, weights: cells[:, 0].detach(), "the order of the groups matters"),
        (lambda cells, weights: mean(cells - cells.mean(dim=0), weights), "depends on the other classes"),
        (lambda cells, weights: cells.detach().mean(dim=1), "two copies of a group at half the weight"),
        (lambda cells, weights: cells.detach().amax(dim=1), "the values of an absent cell"),
        (lambda cells, weights: mean(cells, weights) * 2, "of a single group is not that group"),
    ],
)
def test_a_violation_by_a_barycenter_is_named(broken: Barycenter, says: str) -> None:
    with pytest.raises(AssertionError, match=says), torch.random.fork_rng():
        check_barycenter(broken, torch.Generator().manual_seed(0))
