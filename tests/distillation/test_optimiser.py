"""The step of the optimiser: its unit, its size, and the steps of the presets in the formula of their papers."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from test_loop import BARYCENTRIC, DATA, POOLED, SETTINGS, streams
from torch import Tensor

from fair_distill.config import Candidate, Distill, Optimiser
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.loop import Distilled, optimise
from fair_distill.distillation.networks import build
from fair_distill.distillation.optimiser_state import OptimiserState
from fair_distill.distillation.presets import PRESETS
from fair_distill.distillation.sampling import Normalisation
from fair_distill.errors import DataError

# Every batch contains every row, so that the formula needs no draws.
WHOLE: dict[str, Any] = SETTINGS | {"real_per_class": 10_000, "augment": [], "steps": 1}
STILL = {"name": "sgd", "learning_rate": 1e-30, "momentum": 0.0}


def distilled(
    optimiser: dict[str, Any],
    *,
    std: float = 0.3,
    data: GroupedDataset = DATA,
    candidate: dict[str, Any] = POOLED,
    **settings: Any,
) -> Distilled:
    return optimise(
        data,
        Distill.model_validate(WHOLE | {"optimiser": optimiser} | settings),
        Candidate.model_validate(candidate),
        normalise=Normalisation((0.5,) * 3, (std,) * 3),
        streams=streams(),
        device=torch.device("cpu"),
    )


def moves(optimiser: dict[str, Any], **settings: Any) -> np.ndarray[Any, Any]:
    """Return the change of the pixels in a run."""
    steps = settings.get("steps", 1)
    moved: np.ndarray[Any, Any] = (
        distilled(optimiser, **settings).images - distilled(STILL, **settings | {"steps": steps}).images
    )
    return moved


def pixel_gradient(std: float) -> Tensor:
    """Return the gradient of DM's loss by the pixels at the start: plain code, one class after another."""
    start = torch.from_numpy(distilled(STILL).images).double().requires_grad_()
    network = build("convnet", {"width": 8, "depth": 2}, (3, 8, 8), 3, streams().networks).double()
    loss = torch.zeros((), dtype=torch.float64)
    for label in range(3):
        real = torch.from_numpy(DATA.images[DATA.labels == label]).double() / 255
        means = [network.embed((pixels - 0.5) / std).mean(dim=0) for pixels in (real, start[3 * label : 3 * label + 3])]
        loss = loss + (means[0].detach() - means[1]).square().sum()
    return torch.autograd.grad(loss, start)[0]


@pytest.mark.parametrize("std", [0.5, 0.2])
def test_a_step_in_pixels_is_the_rate_times_the_gradient_by_the_pixels(std: float) -> None:
    step = moves({"name": "sgd", "learning_rate": 0.002, "momentum": 0.5, "unit": "pixel"}, std=std)

    np.testing.assert_allclose(step, -0.002 * pixel_gradient(std).numpy(), rtol=2e-3, atol=2e-6)


@pytest.mark.parametrize(
    ("preset", "rate", "std"),
    [
        *((name, 1.0, 0.5) for name in ("dm", "fairdd", "cobra-code", "cobra-paper")),
        *((name, 0.1, 0.5) for name in ("dc", "idc", "idc-cobra-code", "cafe")),
        ("mtt", 1000.0, 0.2),
    ],
)
def test_a_preset_makes_the_step_of_its_papers_code_in_pixels(preset: str, rate: float, std: float) -> None:
    """The code divides pixels by `std`: x' = (z - rate · dL/dz) · std + mean with z = (x - mean) / std.

    The loss of this test has a gradient by the pixels that does not depend on `std`.
    """
    pixels, target = torch.rand(2, 3, 4, 4, dtype=torch.float64), torch.rand(2, 3, 4, 4, dtype=torch.float64)
    z = ((pixels - 0.5) / std).requires_grad_()
    (by_z,) = torch.autograd.grad((target * (z * std + 0.5)).sum(), z)
    of_the_paper = (z - rate * by_z).detach() * std + 0.5 - pixels
    settings = Optimiser.model_validate(PRESETS[preset]["optimiser"])

    assert (settings.name, settings.unit) == ("sgd", "pixel")
    torch.testing.assert_close(of_the_paper, -settings.learning_rate * target)


def test_every_preset_makes_the_same_step_whatever_the_normalisation() -> None:
    of_images = {
        name: settings for name, settings in PRESETS.items() if name != "ridge_probe"
    }  # Features have no pixels.

    assert {settings["optimiser"].get("unit") for settings in of_images.values()} == {"pixel"}


@pytest.mark.parametrize("unit", [{"unit": "pixel"}, {}])
@pytest.mark.parametrize("settings", [{}, {"reduce": "mean"}, {"distance": "l1"}, {"network": "mlp"}])
def test_a_normalised_step_has_the_size_of_the_rate_for_every_network_and_distance(
    unit: dict[str, Any], settings: dict[str, Any]
) -> None:
    if settings.get("network") == "mlp":
        settings = {"network": {"name": "mlp", "width": 16, "depth": 1}}
    step = moves({"name": "normalised_sgd", "learning_rate": 0.01, "momentum": 0.5} | unit, std=0.3, **settings)

    size = np.sqrt(np.square(step, dtype=np.float64).mean())
    assert size == pytest.approx(0.01 if unit else 0.003, rel=1e-4)


def test_a_normalised_step_has_the_direction_of_the_gradient() -> None:
    sgd, normalised = (
        moves({"name": name, "learning_rate": 0.002, "momentum": 0.5, "unit": "pixel"})
        for name in ("sgd", "normalised_sgd")
    )

    assert np.vdot(sgd, normalised) / np.linalg.norm(sgd) / np.linalg.norm(normalised) == pytest.approx(1, abs=1e-4)


def test_a_normalised_step_down_a_gradient_of_zeros_changes_nothing() -> None:
    settings = Optimiser(name="normalised_sgd", learning_rate=0.01, momentum=0.5)
    optimised = OptimiserState.initial(torch.ones(2, 3, 4, 4), {}, settings, torch.device("cpu"))

    optimised.images.grad = torch.zeros(2, 3, 4, 4)
    optimised.update(0, 10)

    assert torch.equal(optimised.images, torch.ones(2, 3, 4, 4))


def test_the_rate_decays_to_zero_as_a_half_cosine() -> None:
    """Without momentum, the sizes of normalised steps are the rates."""
    decaying = {"name": "normalised_sgd", "learning_rate": 0.01, "momentum": 0.0, "unit": "pixel", "decay": "cosine"}
    states: list[Tensor] = []

    class Recorder:
        def latest(self) -> None:
            return None

        def save_if_due(self, step: int, state: Any) -> None:
            states.append(state()["images"].clone())

    optimise(
        DATA,
        Distill.model_validate(WHOLE | {"optimiser": decaying, "steps": 4}),
        Candidate.model_validate(BARYCENTRIC),
        normalise=Normalisation((0.5,) * 3, (0.3,) * 3),
        streams=streams(),
        device=torch.device("cpu"),
        checkpoints=Recorder(),
    )
    sizes = [float((after - before).square().mean().sqrt()) for before, after in pairwise(states)]

    assert sizes == pytest.approx([0.01 * (1 + np.cos(np.pi * step / 4)) / 2 for step in (1, 2, 3)], rel=1e-3)


def test_params_without_the_new_keys_keep_their_digest() -> None:
    assert Optimiser.model_validate(SETTINGS["optimiser"]).model_dump() == SETTINGS["optimiser"]


def test_nan_in_the_data_is_reported_as_such_and_not_as_a_learning_rate_that_is_too_large() -> None:
    images = DATA.images.astype(np.float32) / 255
    images[3, 0, 2, 2] = np.nan
    data = GroupedDataset.from_arrays(images, DATA.labels, DATA.group_indices)

    with pytest.raises(DataError, match="has a pixel or number that is NaN or infinite"):
        distilled(STILL, data=data, start="noise")
