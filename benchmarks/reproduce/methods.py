"""What is put to the test. Every method goes through the library's own functions, with settings that can be read off.

Distilled sets use the presets of `distillation.presets`, with the budget's network, steps and real images; all are
trained on by one recipe, the papers'.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from benchmarks.reproduce.budget import Budget
from fair_distill.card import TrainingRecipe
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.api import distill
from fair_distill.distillation.presets import PRESETS
from fair_distill.distillation.sampling import normalisation
from fair_distill.distillation.synthetic import examples_per_group
from fair_distill.errors import ConfigError
from fair_distill.evaluation.coresets import CORESETS
from fair_distill.evaluation.references import embedding, resampled, subset
from fair_distill.seeds import numpy_generator, torch_generator

_BATCH = 256


@dataclass(frozen=True)
class Task:
    """From what, how much, with which seed, where."""

    train: GroupedDataset
    budget: Budget
    ipc: int
    seed: int
    device: str


@dataclass(frozen=True, eq=False)
class Made:
    """A set to train on; `losses` is empty where nothing was optimised."""

    images: Array
    labels: Array
    recipe: TrainingRecipe
    losses: tuple[float, ...] = ()


class Method(Protocol):
    @property
    def title(self) -> str: ...

    def settings(self, budget: Budget, ipc: int) -> dict[str, Any]:
        """Return everything that makes this method what it is, for the record."""
        ...

    def make(self, task: Task) -> Made: ...


def recipe(task: Task, *, formation: int = 1, steps: int | None = None) -> TrainingRecipe:
    """Return how every set is trained on: SGD, momentum, weight decay and DSA as in the COBRA comparison."""
    pixels = normalisation(task.train)
    batches = -(-len(task.train.classes) * task.ipc // _BATCH)
    return TrainingRecipe(
        network={"name": "convnet", "options": {"width": task.budget.width, "depth": 3}},
        steps=steps or task.budget.epochs * batches,
        batch_size=_BATCH,
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=5e-4,
        augment=("colour", "crop", "cutout", "flip", "scale", "rotate"),
        formation=formation,
        mean=pixels.mean,
        std=pixels.std,
    )


@dataclass(frozen=True)
class Whole:
    """The full data: what the papers call the upper bound, and is none for fairness."""

    title: str
    balanced: bool = False

    def settings(self, budget: Budget, ipc: int) -> dict[str, Any]:
        return {"select": "all", "resampled": self.balanced}

    def make(self, task: Task) -> Made:
        whole = resampled(task.train, numpy_generator(task.seed, "reproduce.resample")) if self.balanced else task.train
        return Made(whole.images, np.asarray(whole.labels), recipe(task, steps=task.budget.full_steps))


@dataclass(frozen=True)
class Selected:
    """Real images of equal size, chosen; nothing is distilled."""

    title: str
    select: str
    formation: int = 1

    def settings(self, budget: Budget, ipc: int) -> dict[str, Any]:
        return {"select": self.select, "formation": self.formation}

    def make(self, task: Task) -> Made:
        embed = None
        if self.select in CORESETS:
            knowing = recipe(task, steps=task.budget.full_steps)
            device = torch.device(task.device)
            embed = embedding(task.train, knowing, torch_generator(task.seed, "reproduce.embedding"), device)
        generator = torch_generator(task.seed, f"reproduce.select.{self.select}")
        images, labels = subset(self.select, task.train, task.ipc, self.formation, generator, embed=embed)
        return Made(images, labels, recipe(task, formation=self.formation))


@dataclass(frozen=True)
class Distilled:
    """A distillation: a preset, an alignment, and what else is said.

    Attributes
    ----------
    balanced : distil from data in which every cell of a class was resampled to equal size
    """

    title: str
    preset: str
    alignment: str
    others: dict[str, Any] = field(default_factory=dict)
    balanced: bool = False

    def settings(self, budget: Budget, ipc: int) -> dict[str, Any]:
        chosen = PRESETS[self.preset] | self.others
        by_gradients = chosen["matcher"] in ("dc", "idc")
        return chosen | {
            "preset": self.preset,
            "alignment": self.alignment,
            "resampled": self.balanced,
            "network": {"name": "convnet", "width": budget.width, "depth": 3},
            "ipc": ipc,
            "steps": budget.gradient_steps if by_gradients else budget.steps,
            "real_per_class": budget.real_per_class,
            "networks": _warmed(chosen["networks"], ipc),
        }

    def make(self, task: Task) -> Made:
        settings = self.settings(task.budget, task.ipc)
        train = (
            resampled(task.train, numpy_generator(task.seed, "reproduce.resample"))
            if settings.pop("resampled")
            else task.train
        )
        settings["embedding"] = embedding_on(task.device, task.budget)
        done = distill(train, **settings, seed=task.seed, device=task.device)
        return Made(done.images, done.labels, recipe(task, formation=settings["formation"]), done.losses)


@dataclass(frozen=True)
class Joined:
    """Every group distilled alone, by the vanilla method, with its share of the images; then put together.

    Each gets its share of the real images a step too, so all groups together cost what the others cost.
    """

    title: str
    vanilla: Distilled

    def settings(self, budget: Budget, ipc: int) -> dict[str, Any]:
        return self.vanilla.settings(budget, ipc) | {"each_group_alone": True}

    def make(self, task: Task) -> Made:
        train = task.train
        settings = self.vanilla.settings(task.budget, task.ipc)
        settings.pop("resampled")
        settings["embedding"] = embedding_on(task.device, task.budget)
        shares = {
            tuple(examples_per_group(counts, task.ipc, name).tolist())
            for counts, name in zip(train.counts, train.classes, strict=True)
        }
        if len(shares) > 1:
            raise ConfigError("groups distilled alone need as many images in every class; some cells have too few")
        images, labels, losses = [], [], []
        for group, share in enumerate(shares.pop()):
            if share == 0:
                continue
            own = settings | {"ipc": share, "real_per_class": max(1, task.budget.real_per_class * share // task.ipc)}
            done = distill(
                train.take(np.flatnonzero(train.group_indices == group)), **own, seed=task.seed, device=task.device
            )
            images.append(done.images)
            labels.append(done.labels)
            losses.append(done.losses)
        order = np.argsort(np.concatenate(labels), kind="stable")
        total = tuple(float(sum(parts)) for parts in zip(*losses, strict=True))
        return Made(np.concatenate(images)[order], np.concatenate(labels)[order], recipe(task), total)


def embedding_on(device: str, budget: Budget) -> str:
    """Return how real images are embedded: on a GPU, many of them take hours unless it is fast.

    Of few images the compilation costs more than it saves, since every distillation compiles anew.
    """
    return "fast" if torch.device(device).type == "cuda" and budget.real_per_class >= 300 else "exact"


def _warmed(networks: dict[str, Any], ipc: int) -> dict[str, Any]:
    """A warm-up lengthens with ipc, as the COBRA release has it: 10 epochs, 50 at ipc 50, 100 at ipc 100."""
    epochs = networks["warmup_epochs"]
    return networks | {"warmup_epochs": epochs and {50: 50, 100: 100}.get(ipc, epochs)}


_VANILLA = Distilled("vanilla DM", "dm", "pooled")

# The one place a method is added; the order is the tables'.
METHODS: dict[str, Method] = {
    "random": Selected("random real images", "random"),
    "balanced": Selected("random, group-balanced", "group_balanced"),
    "random_formation": Selected("random, 2×2 a picture", "random", formation=2),
    "balanced_formation": Selected("random, group-balanced, 2×2 a picture", "group_balanced", formation=2),
    "herding": Selected("herding within cells", "herding"),
    "k_centre": Selected("k-centre within cells", "k_centre"),
    "vanilla": _VANILLA,
    "fairdd": Distilled("FairDD", "fairdd", "per_group"),
    "cobra_code": Distilled("COBRA, as released", "cobra-code", "barycentric"),
    "cobra_paper": Distilled("COBRA, as written", "cobra-paper", "barycentric"),
    "vanilla_resampled": Distilled("vanilla DM, cells resampled", "dm", "pooled", balanced=True),
    "joined": Joined("vanilla DM, each group alone, joined", _VANILLA),
    "ours": Distilled("ours", "default", "barycentric"),
    "full": Whole("full data"),
    "full_resampled": Whole("full data, cells resampled", balanced=True),
}


def method(name: str) -> Method:
    if name not in METHODS:
        raise ConfigError(f"there is no method {name!r} to reproduce; choose from {', '.join(METHODS)}")
    return METHODS[name]
