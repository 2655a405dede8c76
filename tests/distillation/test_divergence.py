"""Detection of a diverged distillation, and the learning rate that the message names."""

import pytest
import torch
from test_loop import SETTINGS, ran

from fair_distill.config import Distill
from fair_distill.distillation.divergence import Diverged, check_divergence
from fair_distill.distillation.networks import Network, build

NAN, INF = float("nan"), float("inf")
PIXELS = torch.tensor([0.5, -3.0])
OPTIMISER = r"lower params\.yaml: distill\.optimiser\.learning_rate \(it is 1\)$"
NETWORKS = r"lower params\.yaml: distill\.networks\.learning_rate \(it is 0\.01\)$"


@pytest.fixture
def network() -> Network:
    return build("mlp", {"width": 4, "depth": 1}, (1, 2, 2), 2, torch.Generator().manual_seed(0))


def check(loss: float, images: torch.Tensor, network: Network) -> None:
    check_divergence(loss, float(images.abs().amax()), network, step=3, settings=Distill.model_validate(SETTINGS))


def test_finite_values_pass(network: Network) -> None:
    check(1e30, PIXELS, network)
    check(0.0, torch.tensor([1e4, -1e4]), network)  # The limit itself is allowed.


@pytest.mark.parametrize(
    ("loss", "images", "says"),
    [
        (NAN, PIXELS, r"^the loss is nan at step 3 of 10; "),
        (INF, PIXELS, r"^the loss is inf at step 3 of 10; "),
        (1.0, torch.tensor([0.0, -1.1e4]), r"^the images are 1\.1e\+04 standard deviations from the mean of the real"),
        (1.0, torch.tensor([0.0, INF]), r"^the images are inf "),
        (1.0, torch.tensor([NAN, 1.0]), r"^the images are nan "),
    ],
)
def test_divergence_is_reported_with_the_rate_to_lower(
    network: Network, loss: float, images: torch.Tensor, says: str
) -> None:
    with pytest.raises(Diverged, match=says + ".*" + OPTIMISER):
        check(loss, images, network)


@pytest.mark.parametrize("weight", [NAN, INF, 1e20])
def test_networks_that_diverged_are_distinguished_from_images_that_diverged(network: Network, weight: float) -> None:
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = weight

    with pytest.raises(Diverged, match=NETWORKS):
        check(NAN, PIXELS, network)


def test_divergence_in_the_last_step_is_reported() -> None:
    with pytest.raises(Diverged, match=r"at step 1 of 1; lower params\.yaml: distill\.optimiser"):
        ran(steps=1, learning_rate=1e9)


def test_a_run_with_diverging_networks_names_their_learning_rate() -> None:
    networks = SETTINGS["networks"] | {"visits": 5, "advance": 1, "learning_rate": 1e30}

    with pytest.raises(Diverged, match=r"distill\.networks\.learning_rate \(it is 1e\+30\)$"):
        ran(networks=networks)
