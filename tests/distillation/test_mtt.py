"""MTT: closed forms of the loss, finite differences for its gradient, and MTT in the loop."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_workspace import candidate, grouped
from test_checkpoint import Stopped, stop_at
from test_loop import ran, streams
from torch import Tensor

import fair_distill
from fair_distill.config import Named
from fair_distill.distillation.alignment import build_alignment
from fair_distill.distillation.augment import Draw
from fair_distill.distillation.checkpoint import CheckpointFolder
from fair_distill.distillation.distance import distance
from fair_distill.distillation.divergence import Diverged
from fair_distill.distillation.embedding import Embedding
from fair_distill.distillation.experts import ExpertFolder, Experts, train_experts
from fair_distill.distillation.matchers import build_matcher
from fair_distill.distillation.matchers.base import Step
from fair_distill.distillation.matchers.mtt import split_weights
from fair_distill.distillation.networks import build
from fair_distill.distillation.sampling import normalisation
from fair_distill.distillation.synthetic import Synthetic
from fair_distill.errors import ConfigError

EVEN = grouped([[3, 3], [3, 3]])
NETWORK = Named(name="convnet", width=4, depth=2)
EXPERTS = {"count": 2, "epochs": 4, "learning_rate": 0.05, "momentum": 0.0, "batch_size": 1000, "augment": []}
OPTIONS: dict[str, Any] = {
    "student_steps": 2,
    "expert_epochs": 2,
    "start_epochs": 2,
    "step_size": 0.05,
    "step_size_learning_rate": 1e-8,
    "batch_size": 1000,
    "experts": EXPERTS,
}
MEAN = build_alignment(candidate("barycentric", barycenter="mean"), EVEN.counts, EVEN.groups)
REAL = normalisation(EVEN).apply(torch.from_numpy(EVEN.images).float() / 255)


@dataclass(frozen=True, eq=False)
class Given:
    """A given trajectory."""

    first: Tensor
    last: Tensor

    def between(self, expert: int, first: int, last: int) -> tuple[Tensor, Tensor]:
        return self.first, self.last


def weights(seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    network = build(NETWORK.name, NETWORK.options, EVEN.shape, 2, torch.Generator().manual_seed(seed))
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach().to(dtype)


def plainly(images: Tensor, start: Tensor, steps: int, rate: float) -> Tensor:
    """Return the weights after gradient descent on all images, by torch's optimiser."""
    network = build(NETWORK.name, NETWORK.options, EVEN.shape, 2, torch.Generator()).to(images.dtype)
    network.load_state_dict(split_weights(network, start))
    optimiser = torch.optim.SGD(network.parameters(), lr=rate)
    labels = torch.arange(len(images)) // (len(images) // 2)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimiser.step()
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach()


def loss(
    images: Tensor, trajectories: Any, *, formation: int = 1, step_size: Tensor | None = None, **options: Any
) -> Tensor:
    matcher = build_matcher("mtt", OPTIONS | options)
    network = build(NETWORK.name, NETWORK.options, EVEN.shape, 2, torch.Generator()).requires_grad_(False)
    size = torch.tensor(OPTIONS["step_size"], dtype=images.dtype) if step_size is None else step_size

    def never() -> Any:
        raise AssertionError("MTT has no use for real images")

    seen = Synthetic(images, len(images) // 2, formation, Draw(None, None, None))
    draws = torch.Generator().manual_seed(0)
    step = Step(network, never, seen, MEAN, draws, Embedding(), {"step_size": size}, trajectories)
    ((pair),) = matcher.pairs(step)
    return distance(pair.targets[0], pair.synthetic, kind="squared", reduce="sum")


def test_a_student_of_the_real_set_ends_at_its_experts_weights(tmp_path: Path) -> None:
    """With full batches, equal steps and rates, and plain SGD, the loss is the rounding error of the stored weights."""
    folder = ExpertFolder(tmp_path, "")
    train_experts(
        EVEN,
        Experts.model_validate(EXPERTS),
        NETWORK,
        MEAN,
        folder=folder,
        normalise=normalisation(EVEN),
        generator=lambda expert: torch.Generator().manual_seed(expert),
        device=torch.device("cpu"),
    )

    assert loss(REAL, folder).item() < 1e-5
    assert loss(REAL + 0.1 * torch.randn(REAL.shape, generator=torch.Generator().manual_seed(0)), folder) > 1e-3


def test_the_loss_is_the_papers() -> None:
    start, end = weights(0), weights(1)

    reached = plainly(REAL, start, 3, 0.05)

    wanted = (reached - end).square().sum() / (start - end).square().sum()
    assert loss(REAL, Given(start, end), student_steps=3).item() == pytest.approx(wanted.item(), rel=1e-4)


def test_a_student_that_does_not_move_loses_exactly_one() -> None:
    still = torch.tensor(1e-30)

    assert loss(REAL, Given(weights(0), weights(1)), step_size=still).item() == pytest.approx(1, abs=1e-5)


def test_the_gradient_agrees_with_finite_differences() -> None:
    images = REAL[:4].double().requires_grad_()
    size = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    start = weights(0, torch.float64)
    end = plainly(REAL.double(), start, 5, 0.05)

    def at(pixels: Tensor, rate: Tensor) -> Tensor:
        return loss(pixels, Given(start, end), step_size=rate)

    slopes = torch.autograd.grad(at(images, size), [images, size])

    draws, tiny = torch.Generator().manual_seed(0), 1e-6
    way = torch.randn(images.shape, generator=draws, dtype=torch.float64)
    for slope, ahead, behind in (
        (
            (slopes[0] * way).sum(),
            at(images.detach() + tiny * way, size.detach()),
            at(images.detach() - tiny * way, size.detach()),
        ),
        (slopes[1], at(images.detach(), size.detach() + tiny), at(images.detach(), size.detach() - tiny)),
    ):
        assert slope.item() == pytest.approx(((ahead - behind) / (2 * tiny)).item(), rel=1e-4)
        assert slope.item() != 0


def test_batches_cover_the_whole_set_before_they_repeat() -> None:
    """At a small step size the order of batches does not matter, so two halves equal one step of twice the size."""
    start, end = weights(0), weights(1)

    def moved(**options: Any) -> Tensor:
        return 1 - loss(REAL, Given(start, end), step_size=torch.tensor(1e-3), **options)

    halves, whole = moved(batch_size=6, student_steps=2), moved(batch_size=12, student_steps=2)

    assert halves.item() == pytest.approx(whole.item(), rel=0.05)
    assert moved(batch_size=6, student_steps=1).item() != pytest.approx(whole.item() / 2, rel=0.05)


def test_mosaics_are_compared_as_tiles() -> None:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()

    lost = loss(images, Given(weights(0), weights(1)), formation=2)
    lost.backward()

    assert images.grad is not None
    assert (images.grad.flatten(1).abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"start_epochs": 4}, "need experts of 5 epochs; experts.epochs is 4"),
        ({"experts": EXPERTS | {"momentum": 1.0}}, "momentum: input should be less than 1"),
        ({"experts": {"count": 3}}, "epochs: field required"),
        ({"step_size_learning_rate": -1.0}, "step_size_learning_rate is -1"),
    ],
)
def test_inconsistent_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build_matcher("mtt", OPTIONS | options)


def test_a_step_size_that_is_not_positive_is_reported_with_the_rate_to_lower() -> None:
    with pytest.raises(Diverged, match=r"lower params\.yaml: distill\.matcher\.step_size_learning_rate"):
        loss(REAL, Given(weights(0), weights(1)), step_size=torch.tensor(-0.1))


SMALL: dict[str, Any] = {
    "matcher": {"name": "mtt", **OPTIONS, "batch_size": 4, "step_size_learning_rate": 1e-5},
    "network": {"name": "convnet", "width": 4, "depth": 2},
    "learning_rate": 0.1,
}


@dataclass(frozen=True, eq=False)
class Two:
    """Two experts with straight trajectories from different starts."""

    def between(self, expert: int, first: int, last: int) -> tuple[Tensor, Tensor]:
        start, way = weights(expert), weights(expert + 2)
        return start + 0.01 * first * way, start + 0.01 * last * way


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("stopped", [3, 6])
def test_an_interrupted_run_that_continues_gives_the_same_bytes(tmp_path: Path, name: str, stopped: int) -> None:
    settings: dict[str, Any] = SMALL | {"data": EVEN, "trajectories": Two(), "name": name, "formation": 2, "ipc": 1}
    whole = ran(**settings)

    with pytest.raises(Stopped):
        ran(**settings, progress=stop_at(stopped), checkpoints=CheckpointFolder(tmp_path, "c0ffee", every=2))
    again = ran(**settings, seeds=streams(99), checkpoints=CheckpointFolder(tmp_path, "c0ffee", every=2))

    np.testing.assert_array_equal(again.images, whole.images)
    assert again.losses == whole.losses
    assert again.learned == whole.learned
    assert whole.learned["step_size"] != OPTIONS["step_size"]


def test_mtt_without_experts_is_refused() -> None:
    with pytest.raises(ConfigError, match="which needs experts; run"):
        ran(EVEN, **SMALL)


def test_distill_trains_experts_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    small: dict[str, Any] = {key: SMALL[key] for key in ("matcher", "network")} | {
        "ipc": 2,
        "steps": 6,
        "start": "group_stratified",
        "augment": ["crop"],
        "optimiser": {"learning_rate": 0.1},
    }

    made = [fair_distill.distill(EVEN, preset="mtt", seed=seed, **small) for seed in (0, 0, 1)]

    assert made[0].images.tobytes() == made[1].images.tobytes()
    assert made[0].losses == made[1].losses != made[2].losses
    assert not list(tmp_path.iterdir())
