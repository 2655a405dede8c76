"""What is promised of a GPU: the same bytes twice, whatever the method; runs that are taken up; the CPU's answers.

python -m pytest tests/gpu
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_workspace import grouped

from fair_distill.card import TrainingRecipe
from fair_distill.config import Candidate, Distill, checked
from fair_distill.distillation.augment import STRATEGIES, augment, draw
from fair_distill.distillation.checkpoint import CheckpointFolder, Interrupted
from fair_distill.distillation.loop import Checkpoints, Distilled, Streams, optimise
from fair_distill.distillation.presets import PRESETS
from fair_distill.distillation.sampling import Normalisation, normalisation, reader
from fair_distill.evaluation.train import train, train_together
from fair_distill.stages.device import torch_device

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

DATA = grouped([[40, 6], [5, 30], [20, 20]], size=32)
SMALL: dict[str, Any] = {
    "network": {"name": "convnet", "width": 16, "depth": 3},
    "ipc": 4,
    "real_per_class": 12,
    "steps": 6,
}
POOL = {"pool": 2, "visits": 3, "warmup_epochs": 1, "advance": 1}
NETWORK_OPTIONS = {"convnet": {"width": 16, "depth": 3}, "mlp": {"width": 16, "depth": 1}}


@pytest.fixture(scope="module")
def cuda() -> torch.device:
    return torch_device("cuda", threads=1)


def ran(
    device: torch.device, preset: str = "dm", *, checkpoints: Checkpoints | None = None, **changes: Any
) -> Distilled:
    base = PRESETS[preset]
    nested = {key: base[key] | changes.pop(key) for key in ("networks", "optimiser") if key in changes}
    settings = base | SMALL | changes | nested
    aligned = {"alignment": "barycentric", "barycenter": "mean"}
    return optimise(
        DATA,
        checked(Distill, settings, name="test"),
        checked(Candidate, aligned, name="test"),
        normalise=normalisation(DATA),
        streams=Streams.from_seed(0),
        device=device,
        checkpoints=checkpoints,
    )


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("dm", {"augment": list(STRATEGIES)}),
        ("dm", {"embedding": "fast", "networks": POOL}),
        ("dm", {"network": {"name": "resnet18", "width": 0.25}, "networks": POOL | {"advance_on": "real"}}),
        ("dc", {"networks": POOL}),
        ("idc", {"networks": POOL | {"advance_on": "real"}}),
        ("cafe", {"networks": POOL}),
    ],
)
def test_a_gpu_gives_the_same_bytes_twice(cuda: torch.device, preset: str, changes: dict[str, Any]) -> None:
    once, again = ran(cuda, preset, **changes), ran(cuda, preset, **changes)

    assert np.isfinite(once.losses).all()
    assert once.images.tobytes() == again.images.tobytes()
    assert once.losses == again.losses


def test_a_run_on_a_gpu_that_stops_is_taken_up_to_the_same_bytes(cuda: torch.device, tmp_path: Path) -> None:
    asked = iter([False, False, True])
    kept = CheckpointFolder(tmp_path, "a" * 64, every=1, stopping=lambda: next(asked))
    with pytest.raises(Interrupted):
        ran(cuda, checkpoints=kept, networks=POOL)

    resumed = ran(cuda, checkpoints=CheckpointFolder(tmp_path, "a" * 64, every=1), networks=POOL)

    assert resumed.images.tobytes() == ran(cuda, networks=POOL).images.tobytes()


def test_the_gradient_through_an_augmentation_is_that_of_the_cpu(cuda: torch.device) -> None:
    drawn = draw(list(STRATEGIES), 3, torch.Generator().manual_seed(0))
    pixels, push = (torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))

    def slope(device: torch.device) -> torch.Tensor:
        at = pixels.to(device).requires_grad_()
        which = torch.arange(3, device=device).repeat_interleave(2)
        (augment(at, drawn, which, run_length=2) * push.to(device)).sum().backward()
        assert at.grad is not None
        return at.grad.cpu()

    torch.testing.assert_close(slope(cuda), slope(torch.device("cpu")), rtol=1e-3, atol=1e-4)


def test_fast_and_exact_embeddings_lead_to_the_same_place(cuda: torch.device) -> None:
    """Networks are drawn alike, so what differs is bfloat16 in the target alone."""
    exact, fast = ran(cuda), ran(cuda, embedding="fast")

    moved = exact.images - ran(cuda, steps=1, optimiser={"learning_rate": 1e-9}).images
    assert np.linalg.norm(fast.images - exact.images) < 0.1 * np.linalg.norm(moved)


@pytest.mark.parametrize("name", NETWORK_OPTIONS)
def test_networks_trained_together_on_a_gpu_are_those_trained_alone(cuda: torch.device, name: str) -> None:
    recipe = TrainingRecipe(
        network={"name": name, "options": NETWORK_OPTIONS[name]},
        steps=8,
        batch_size=16,
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=0.0005,
        augment=("crop", "flip"),
        formation=1,
        mean=(0.3,) * 3,
        std=(0.3,) * 3,
    )
    rows = reader(DATA.images, Normalisation(recipe.mean, recipe.std), cuda)
    labels = torch.from_numpy(DATA.labels).to(cuda)
    fits: dict[str, Any] = {"shape": DATA.shape, "classes": 3}

    together = train_together(recipe, rows, labels, generators=[stream(seed) for seed in range(3)], **fits)

    for seed, one in enumerate(together):
        alone = train(recipe, rows, labels, generator=stream(seed), **fits)
        for wanted, got in zip(alone.parameters(), one.parameters(), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-2, atol=5e-3)  # convolutions are in TF32


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
