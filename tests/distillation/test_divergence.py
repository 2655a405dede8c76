"""When a distillation stops because its numbers mean nothing, and what it says to lower."""

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


def test_what_is_finite_goes_on(network: Network) -> None:
    check(1e30, PIXELS, network)
    check(0.0, torch.tensor([1e4, -1e4]), network)  # the boundary itself is still allowed


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
def test_what_is_not_is_said_with_what_to_lower(network: Network, loss: float, images: torch.Tensor, says: str) -> None:
    with pytest.raises(Diverged, match=says + ".*" + OPTIMISER):
        check(loss, images, network)


@pytest.mark.parametrize("weight", [NAN, INF, 1e20])
def test_networks_that_were_trained_too_fast_are_told_from_images_that_moved_too_far(
    network: Network, weight: float
) -> None:
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = weight

    with pytest.raises(Diverged, match=NETWORKS):
        check(NAN, PIXELS, network)


def test_a_last_step_that_goes_too_far_gives_no_images() -> None:
    with pytest.raises(Diverged, match=r"at step 1 of 1; lower params\.yaml: distill\.optimiser"):
        ran(steps=1, learning_rate=1e9)


def test_a_run_whose_networks_learn_too_fast_says_so() -> None:
    networks = SETTINGS["networks"] | {"visits": 5, "advance": 1, "learning_rate": 1e30}

    with pytest.raises(Diverged, match=r"distill\.networks\.learning_rate \(it is 1e\+30\)$"):
        ran(networks=networks)
