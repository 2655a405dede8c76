"""Barycenters of clouds: closed forms, comparisons with POT, and covariances without full rank."""

from typing import Any

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from fair_distill.data.grouped_dataset import Array
from fair_distill.distillation.alignment import build_barycenter
from fair_distill.distillation.clouds import CLOUD_BARYCENTERS, CloudBarycenter
from fair_distill.errors import ConfigError, DataError, ShapeError
from fair_distill.testing import check_cloud_barycenter

# G groups, n samples of one group, N synthetic images, D dimensions

WHOLE = 1_000  # More than any D here, so nothing is projected.
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("bures", {"dimension": WHOLE, "shrinkage": 0.1, "covariance": "full"}),
    ("bures", {"dimension": WHOLE, "shrinkage": 0.1, "covariance": "diagonal"}),
    ("bures", {"dimension": 2, "shrinkage": 0.1, "covariance": "full"}),
    ("free_support", {"dimension": WHOLE}),
    ("free_support", {"dimension": 2}),
    ("sinkhorn", {"dimension": WHOLE, "epsilon": 0.1}),
    ("sinkhorn", {"dimension": 2, "epsilon": 0.1}),
]
BURES, FREE, SINKHORN = (dict(ROWS)[name] | {"dimension": WHOLE} for name in ("bures", "free_support", "sinkhorn"))
BURES = BURES | {"covariance": "full"}
OPTIONS = {"bures": BURES, "free_support": FREE, "sinkhorn": SINKHORN}
BLENDING = ("bures", "free_support")  # Their target is the Wasserstein barycenter.


def built(name: str, **options: Any) -> CloudBarycenter:
    return build_barycenter(name, OPTIONS[name] | options)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def three_groups(dimensions: int = 4) -> tuple[list[Tensor], Tensor]:
    clouds = [normal(n, dimensions, seed=n) * (1 + 0.5 * i) + i for i, n in enumerate((7, 5, 6))]
    return clouds, torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)


CLOUDS, WEIGHTS = three_groups()
IMAGES = normal(5, 4, seed=9)
HALVES = torch.tensor([0.5, 0.5], dtype=torch.float64)


def slope(barycenter: CloudBarycenter, clouds: list[Tensor], weights: Tensor, images: Tensor) -> Tensor:
    at = images.clone().requires_grad_()
    return torch.autograd.grad(barycenter(clouds, weights, at), at)[0]


def by_name(row: tuple[str, dict[str, Any]]) -> str:
    return "-".join([row[0], *map(str, row[1].values())])


@pytest.fixture(params=ROWS, ids=by_name)
def barycenter(request: pytest.FixtureRequest) -> CloudBarycenter:
    name, options = request.param
    return build_barycenter(name, options)


# --- the contract


def test_every_component_is_tested() -> None:
    assert {name for name, _ in ROWS} == CLOUD_BARYCENTERS.keys() == OPTIONS.keys()


@pytest.mark.parametrize("seed", range(2))
def test_every_barycenter_of_clouds_satisfies_the_contract(barycenter: CloudBarycenter, seed: int) -> None:
    check_cloud_barycenter(barycenter, torch.Generator().manual_seed(seed))


def test_translations_do_not_change_the_distance(barycenter: CloudBarycenter) -> None:
    shift = 10 * torch.arange(4)

    moved = barycenter([cloud + shift for cloud in CLOUDS], WEIGHTS, IMAGES + shift)

    torch.testing.assert_close(moved, barycenter(CLOUDS, WEIGHTS, IMAGES))


@pytest.mark.parametrize("scale", [1e-3, -2.0, 1e3])
def test_scaling_multiplies_the_distance_by_the_square(barycenter: CloudBarycenter, scale: float) -> None:
    scaled = barycenter([scale * cloud for cloud in CLOUDS], WEIGHTS, scale * IMAGES)

    torch.testing.assert_close(scaled / scale**2, barycenter(CLOUDS, WEIGHTS, IMAGES))


@pytest.mark.parametrize("row", [row for row in ROWS if "diagonal" not in row[1].values()], ids=by_name)
def test_rotations_do_not_change_the_distance(row: tuple[str, dict[str, Any]]) -> None:
    rotation, barycenter = torch.linalg.qr(normal(4, 4, seed=1)).Q, build_barycenter(*row)

    turned = barycenter([cloud @ rotation for cloud in CLOUDS], WEIGHTS, IMAGES @ rotation)

    torch.testing.assert_close(turned, barycenter(CLOUDS, WEIGHTS, IMAGES))


def test_the_gradient_is_that_of_the_loss(barycenter: CloudBarycenter) -> None:
    direction, small = normal(5, 4, seed=3), 1e-5

    ahead, behind = (barycenter(CLOUDS, WEIGHTS, IMAGES + sign * small * direction) for sign in (1, -1))

    along = (slope(barycenter, CLOUDS, WEIGHTS, IMAGES) * direction).sum()
    assert ((ahead - behind) / (2 * small)).item() == pytest.approx(along.item(), rel=1e-4)


def test_fewer_images_than_dimensions_have_a_finite_gradient_in_single_precision(barycenter: CloudBarycenter) -> None:
    clouds, weights = [normal(6, 64, seed=i).float() for i in range(3)], torch.full((3,), 1 / 3)

    for count in (1, 2, 10):
        gradient = slope(barycenter, clouds, weights, normal(count, 64, seed=5).float())

        assert gradient.dtype == torch.float32
        assert gradient.isfinite().all()
        assert (gradient != 0).any()


def test_equal_points_have_distance_and_gradient_0(barycenter: CloudBarycenter) -> None:
    clouds, images = [torch.ones(n, 4) for n in (3, 1)], torch.ones(2, 4)

    assert barycenter(clouds, HALVES.float(), images).item() == pytest.approx(0, abs=1e-12)
    assert slope(barycenter, clouds, HALVES.float(), images).abs().max() < 1e-6


def test_a_copy_of_a_single_group_has_distance_0(barycenter: CloudBarycenter) -> None:
    cloud = CLOUDS[0]

    assert barycenter([cloud], torch.ones(1), cloud.flip(0)).item() == pytest.approx(0, abs=1e-6)


def test_outside_the_principal_components_means_are_compared(barycenter: CloudBarycenter) -> None:
    clouds, images = ([torch.cat([x[:, :2], torch.zeros(len(x), 2)], dim=1) for x in xs] for xs in (CLOUDS, [IMAGES]))
    outward = torch.tensor([0.0, 0.0, 3.0, 4.0], dtype=torch.float64)

    flat, lifted = (barycenter(clouds, WEIGHTS, images[0] + shift) for shift in (0 * outward, outward))

    assert (lifted - flat).item() == pytest.approx(25.0)


@pytest.mark.parametrize("row", [("bures", {"shrinkage": 1e-6}), ("free_support", {}), ("sinkhorn", {})], ids=by_name)
def test_principal_components_that_span_everything_change_nothing(row: tuple[str, dict[str, Any]]) -> None:
    name, options = row
    flat = torch.linalg.qr(normal(10, 10, seed=2)).Q[:2]
    clouds, images = [cloud[:, :2] @ flat for cloud in CLOUDS], IMAGES[:, :2] @ flat

    few, all_there_are = (built(name, **options, dimension=k)(clouds, WEIGHTS, images) for k in (2, WHOLE))

    torch.testing.assert_close(few, all_there_are, rtol=1e-5, atol=1e-6)


def test_nan_is_passed_on_and_no_solver_fails(barycenter: CloudBarycenter) -> None:
    broken = torch.full_like(IMAGES, torch.nan)

    assert barycenter(CLOUDS, WEIGHTS, broken).isnan()
    assert barycenter([*CLOUDS[:2], broken], WEIGHTS, IMAGES).isnan()
    assert slope(barycenter, CLOUDS, WEIGHTS, broken).isnan().all()


# --- the targets


@pytest.mark.parametrize("name", BLENDING)
def test_the_target_of_translated_clouds_is_the_translated_cloud(name: str) -> None:
    cloud, here, there = CLOUDS[0], torch.tensor([0.0, 8, 0, 0]), torch.tensor([4.0, 0, 0, 0])

    blend = cloud + WEIGHTS[0] * here + (1 - WEIGHTS[0]) * there
    loss = built(name)([cloud + here, cloud + there], torch.tensor([0.2, 0.8], dtype=torch.float64), blend)

    assert loss.item() == pytest.approx(0, abs=1e-8)


def test_the_mixture_separates_groups_that_the_barycenter_blends() -> None:
    cloud = normal(6, 4)
    clouds = [cloud, cloud + 20]
    mixture, blend = torch.cat(clouds), cloud + 10

    assert built("sinkhorn")(clouds, HALVES, mixture).item() == pytest.approx(0, abs=1e-6)
    assert built("sinkhorn")(clouds, HALVES, blend) > 100
    for name in BLENDING:
        assert built(name)(clouds, HALVES, blend).item() == pytest.approx(0, abs=1e-8)
        assert built(name)(clouds, HALVES, mixture) > 100


@pytest.mark.parametrize("name", OPTIONS)
def test_a_single_image_moves_to_the_mean_of_the_groups_means(name: str) -> None:
    image = normal(1, 4, seed=8)
    middle = WEIGHTS @ torch.stack([cloud.mean(dim=0) for cloud in CLOUDS])

    torch.testing.assert_close(slope(built(name), CLOUDS, WEIGHTS, image), 2 * (image - middle), rtol=1e-5, atol=1e-5)


# --- bures


def covariance(cloud: Tensor) -> Array:
    return np.cov(cloud.numpy().T, bias=True).reshape(cloud.shape[1], -1)


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_on_a_line_deviations_are_averaged(kind: str) -> None:
    clouds, images, shrinkage = [cloud[:, :1] for cloud in CLOUDS], IMAGES[:, :1], 0.1
    w, variances = WEIGHTS.numpy(), np.array([cloud.numpy().var() for cloud in clouds])
    ridge = shrinkage * (w @ variances)
    deviation = w @ np.sqrt((1 - shrinkage) * variances + ridge)
    mean = w @ [float(cloud.mean()) for cloud in clouds]
    wanted = (float(images.mean()) - mean) ** 2
    wanted += (np.sqrt((1 - shrinkage) * images.numpy().var() + ridge) - deviation) ** 2

    assert built("bures", covariance=kind)(clouds, WEIGHTS, images).item() == pytest.approx(wanted)


def test_bures_equals_pots_result() -> None:
    w, ridge = WEIGHTS.numpy(), 0.1 * (WEIGHTS.numpy() @ [np.trace(covariance(c)) / 4 for c in CLOUDS]) * np.eye(4)
    means = np.stack([cloud.mean(dim=0).numpy() for cloud in CLOUDS])
    shrunk = np.stack([0.9 * covariance(cloud) + ridge for cloud in CLOUDS])
    mean, target = ot.gaussian.bures_wasserstein_barycenter(means, shrunk, w, eps=1e-12)
    distance = ot.gaussian.bures_wasserstein_distance(
        IMAGES.mean(dim=0).numpy(), mean, 0.9 * covariance(IMAGES) + ridge, target
    )

    assert built("bures")(CLOUDS, WEIGHTS, IMAGES).item() == pytest.approx(distance**2, rel=1e-6)


def test_for_diagonal_covariances_both_kinds_are_equal() -> None:
    cross = torch.cat([torch.eye(4), -torch.eye(4)]).double()
    clouds = [cross * torch.tensor(sides, dtype=torch.float64) for sides in ([1, 2, 3, 4], [4, 1, 1, 2])]
    images = cross * torch.tensor([2.0, 2, 2, 2])

    full, diagonal = (built("bures", covariance=kind)(clouds, HALVES, images) for kind in ("full", "diagonal"))

    torch.testing.assert_close(full, diagonal, rtol=1e-6, atol=1e-9)


def test_with_shrinkage_1_only_means_are_compared() -> None:
    middle = WEIGHTS @ torch.stack([cloud.mean(dim=0) for cloud in CLOUDS])

    loss = built("bures", shrinkage=1.0)(CLOUDS, WEIGHTS, IMAGES)

    torch.testing.assert_close(loss, (IMAGES.mean(dim=0) - middle).square().sum())


# --- free support


def test_free_support_equals_pots_result() -> None:
    clouds = [cloud.numpy() for cloud in CLOUDS]
    atoms = ot.lp.free_support_barycenter(
        clouds, [ot.unif(len(c)) for c in clouds], IMAGES.numpy(), weights=WEIGHTS.numpy(), stopThr=1e-14
    )

    loss = built("free_support")(CLOUDS, WEIGHTS, IMAGES)

    assert loss.item() == pytest.approx(ot.emd2(ot.unif(5), ot.unif(5), ot.dist(IMAGES.numpy(), atoms)))


def test_every_image_has_one_atom_of_the_barycenter() -> None:
    gradient = slope(built("free_support"), CLOUDS, WEIGHTS, IMAGES)

    targets = IMAGES - gradient * len(IMAGES) / 2

    assert built("free_support")(CLOUDS, WEIGHTS, targets).item() == pytest.approx(0, abs=1e-12)
    assert torch.cdist(targets, targets).fill_diagonal_(1).min() > 1e-3
    middle = WEIGHTS @ torch.stack([cloud.mean(dim=0) for cloud in CLOUDS])
    torch.testing.assert_close(targets.mean(dim=0), middle)


def test_images_are_matched_to_atoms_at_the_least_cost() -> None:
    atoms = torch.tensor([[0.0], [10.0], [20.0]], dtype=torch.float64)

    loss = built("free_support")([atoms], torch.ones(1), torch.tensor([[21.0], [1.0], [11.0]], dtype=torch.float64))

    assert loss.item() == pytest.approx(1.0)


# --- sinkhorn


def mixture() -> tuple[Array, Array]:
    shares = [np.full(len(c), float(w) / len(c)) for c, w in zip(CLOUDS, WEIGHTS, strict=True)]
    return torch.cat(CLOUDS).numpy(), np.concatenate(shares)


def test_sinkhorn_agrees_with_pot() -> None:
    y, b = mixture()
    x, a = IMAGES.numpy(), ot.unif(5)
    blur = 0.1 * float(b @ ot.dist(y, y) @ b)

    def relative_entropy(x: Array, y: Array, a: Array, b: Array) -> float:
        plan = ot.sinkhorn(a, b, ot.dist(x, y), blur, method="sinkhorn_log", stopThr=1e-13, numItermax=100_000)
        return float((plan * np.log(plan / np.outer(a, b))).sum())

    # POT's divergence uses the costs of the plans; that of Feydy et al. also contains their entropies.
    costs = ot.bregman.empirical_sinkhorn_divergence(x, y, blur, a=a, b=b, stopThr=1e-13, numIterMax=100_000)
    entropies = relative_entropy(x, y, a, b) - (relative_entropy(x, x, a, a) + relative_entropy(y, y, b, b)) / 2

    assert built("sinkhorn")(CLOUDS, WEIGHTS, IMAGES).item() == pytest.approx(costs + blur * entropies, rel=1e-6)


def test_sinkhorn_is_between_the_transport_cost_and_the_distance_of_the_means() -> None:
    y, b = mixture()
    exact = ot.emd2(ot.unif(5), b, ot.dist(IMAGES.numpy(), y))

    sharp = built("sinkhorn", epsilon=1e-4, iterations=20_000)(CLOUDS, WEIGHTS, IMAGES)
    blurred = built("sinkhorn", epsilon=1e6)(CLOUDS, WEIGHTS, IMAGES)

    assert sharp.item() == pytest.approx(exact, rel=1e-2)
    assert blurred.item() == pytest.approx(float(((IMAGES.mean(dim=0).numpy() - b @ y) ** 2).sum()), rel=1e-3)


def test_sinkhorn_is_never_below_0() -> None:
    for seed in range(10):
        near = torch.cat(CLOUDS)[seed : seed + 6] + 0.01 * normal(6, 4, seed=seed)

        assert built("sinkhorn")([near, CLOUDS[0]], HALVES, near) > 0


# --- names and options from params.yaml, and invalid shapes


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        (
            "wasserstein",
            {},
            "barycenter is 'wasserstein'; choose one of .*bures, free_support, sinkhorn, or name a custom",
        ),
        ("sinkhorn", {"dimension": 8}, "barycenter 'sinkhorn' needs the option 'epsilon'; add it"),
        ("sinkhorn", {"dimension": 8, "epsilon": 0}, "'sinkhorn': epsilon is 0; give a number above 0"),
        ("free_support", {"dimension": 0}, "'free_support': dimension is 0; give a whole number above 0"),
        ("free_support", {}, "needs the option 'dimension'"),
        ("bures", BURES | {"covariance": "low"}, "'bures': covariance is 'low'; choose one of full, diagonal"),
        ("bures", BURES | {"rank": 3}, "'bures' has no option 'rank'; its options: dimension, shrinkage, covariance"),
    ],
)
def test_an_invalid_barycenter_is_refused_in_one_line(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=rf"^params\.yaml: [^\n]*{says}[^\n]*$"):
        build_barycenter(name, options)


def test_a_shrinkage_above_1_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^params\.yaml: barycenter 'bures': shrinkage is 1\.5; give at most 1$"):
        built("bures", shrinkage=1.5)(CLOUDS, WEIGHTS, IMAGES)


def test_invalid_shapes_of_clouds_are_refused(barycenter: CloudBarycenter) -> None:
    with pytest.raises(ShapeError, match="there are 2 weights for 3 groups; give one per group"):
        barycenter(CLOUDS, HALVES, IMAGES)
    with pytest.raises(ShapeError, match="group 1 has 3 dimensions; the synthetic cloud has 4"):
        barycenter([CLOUDS[0], CLOUDS[1][:, :3]], HALVES, IMAGES)
    with pytest.raises(DataError, match=r"group 1 has weight 0\.5 but no samples; give an absent group weight 0"):
        barycenter([CLOUDS[0], CLOUDS[1][:0]], HALVES, IMAGES)


# --- violations of the contract


def squared(clouds: list[Tensor], weights: Tensor, images: Tensor) -> Tensor:
    middle = sum(w * cloud.mean(dim=0) for w, cloud in zip(weights, clouds, strict=True) if w > 0)
    return (images.mean(dim=0) - middle).square().sum()


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (squared, "a gradient flows to the real clouds"),
        (lambda clouds, weights, images: images.square().sum(dim=1), "return a scalar of torch.float32"),
        (lambda clouds, weights, images: squared(clouds, weights, images).detach(), "records no gradient"),
        (lambda clouds, weights, images: (images - images).square().sum().sqrt(), "gradient is not finite"),
        (lambda clouds, weights, images: images.sum() + torch.rand(()), "global generator"),
        (lambda clouds, weights, images: (images[0] - clouds[0][0].detach()).square().sum(), "the order of"),
        (lambda clouds, weights, images: images.square().sum() + len(clouds), "a group with weight 0 matters"),
        (lambda clouds, weights, images: 1e6 * images.square().sum(), "raises the loss"),
    ],
)
def test_a_violation_by_a_barycenter_of_clouds_is_named(broken: CloudBarycenter, says: str) -> None:
    with pytest.raises((AssertionError, RuntimeError), match=says), torch.random.fork_rng():
        check_cloud_barycenter(broken, torch.Generator().manual_seed(0))
