"""The methods of a table. Every method uses the functions of the library, and its settings are part of the results.

Distilled sets use the presets of `distillation.presets` with the network, steps and real images of the budget. Networks
are trained on all sets with the recipe of the papers.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from benchmarks.reproduce.budget import Budget
from fair_distill.card import TrainingRecipe
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.api import distill
from fair_distill.distillation.presets import COLOURED_STD, PRESETS
from fair_distill.distillation.sampling import normalisation
from fair_distill.distillation.synthetic import examples_per_group
from fair_distill.errors import ConfigError
from fair_distill.evaluation.coresets import CORESETS
from fair_distill.evaluation.references import embedding, resampled, subset
from fair_distill.seeds import numpy_generator, torch_generator

_BATCH = 256


@dataclass(frozen=True)
class Task:
    """The input of a method: data, budget, size, seed and device.

    Attributes
    ----------
    std : see `Benchmark.std`
    """

    train: GroupedDataset
    budget: Budget
    ipc: int
    seed: int
    device: str
    std: float


@dataclass(frozen=True, eq=False)
class MethodResult:
    """A set to train on. `losses` is empty if nothing was optimised."""

    images: Array
    labels: Array
    recipe: TrainingRecipe
    losses: tuple[float, ...] = ()


class Method(Protocol):
    """One row of a table."""

    @property
    def title(self) -> str: ...

    def settings(self, budget: Budget, ipc: int) -> dict[str, Any]:
        """Return all settings of the method, for the record."""
        ...

    def make(self, task: Task) -> MethodResult:
        """Return the set that the method makes."""
        ...


def recipe(task: Task, *, formation: int = 1, steps: int | None = None) -> TrainingRecipe:
    """Return the training recipe of all sets: SGD, momentum, weight decay and DSA as in the COBRA comparison."""
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
    """The full data. The papers call it the upper bound, but it is not an upper bound for fairness."""

    title: str
    balanced: bool = False

    def settings(self, budget: Budget, ipc: int) -> dict[str, Any]:
        return {"select": "all", "resampled": self.balanced}

    def make(self, task: Task) -> MethodResult:
        whole = resampled(task.train, numpy_generator(task.seed, "reproduce.resample")) if self.balanced else task.train
        return MethodResult(whole.images, np.asarray(whole.labels), recipe(task, steps=task.budget.full_steps))


@dataclass(frozen=True)
class Selected:
    """A selection of real images, without distillation."""

    title: str
    select: str
    formation: int = 1

    def settings(self, budget: Budget, ipc: int) -> dict[str, Any]:
        return {"select": self.select, "formation": self.formation}

    def make(self, task: Task) -> MethodResult:
        embed = None
        if self.select in CORESETS:
            full_recipe = recipe(task, steps=task.budget.full_steps)
            device = torch.device(task.device)
            embed = embedding(task.train, full_recipe, torch_generator(task.seed, "reproduce.embedding"), device)
        generator = torch_generator(task.seed, f"reproduce.select.{self.select}")
        images, labels = subset(self.select, task.train, task.ipc, self.formation, generator, embed=embed)
        return MethodResult(images, labels, recipe(task, formation=self.formation))


@dataclass(frozen=True)
class Distilled:
    """A distillation with a preset, an alignment and other changes.

    Attributes
    ----------
    changes : other settings of `distill`
    balanced : distil from data in which all cells of a class were resampled to equal size
    """

    title: str
    preset: str
    alignment: str
    changes: dict[str, Any] = field(default_factory=dict)
    balanced: bool = False

    def settings(self, budget: Budget, ipc: int) -> dict[str, Any]:
        chosen = PRESETS[self.preset] | self.changes
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

    def make(self, task: Task) -> MethodResult:
        settings = with_papers_step(self.settings(task.budget, task.ipc), task.std)
        train = (
            resampled(task.train, numpy_generator(task.seed, "reproduce.resample"))
            if settings.pop("resampled")
            else task.train
        )
        settings["embedding"] = embedding_on(task.device, task.budget)
        result = distill(train, **settings, seed=task.seed, device=task.device)
        return MethodResult(result.images, result.labels, recipe(task, formation=settings["formation"]), result.losses)


@dataclass(frozen=True)
class Joined:
    """Each group distilled separately with the vanilla method, and the results combined.

    A group gets its share of the images and of the real images per step, so the cost is that of other methods.
    """

    title: str
    vanilla: Distilled

    def settings(self, budget: Budget, ipc: int) -> dict[str, Any]:
        return self.vanilla.settings(budget, ipc) | {"each_group_alone": True}

    def make(self, task: Task) -> MethodResult:
        train = task.train
        settings = with_papers_step(self.vanilla.settings(task.budget, task.ipc), task.std)
        settings.pop("resampled")
        settings["embedding"] = embedding_on(task.device, task.budget)
        shares = {
            tuple(examples_per_group(counts, task.ipc, name).tolist())
            for counts, name in zip(train.counts, train.classes, strict=True)
        }
        if len(shares) > 1:
            raise ConfigError(
                "groups can be distilled separately only with the same number of images in every class; some cells "
                "have too few"
            )
        images, labels, losses = [], [], []
        for group, share in enumerate(shares.pop()):
            if share == 0:
                continue
            group_settings = settings | {
                "ipc": share,
                "real_per_class": max(1, task.budget.real_per_class * share // task.ipc),
            }
            done = distill(
                train.take(np.flatnonzero(train.group_indices == group)),
                **group_settings,
                seed=task.seed,
                device=task.device,
            )
            images.append(done.images)
            labels.append(done.labels)
            losses.append(done.losses)
        order = np.argsort(np.concatenate(labels), kind="stable")
        total = tuple(float(sum(parts)) for parts in zip(*losses, strict=True))
        return MethodResult(np.concatenate(images)[order], np.concatenate(labels)[order], recipe(task), total)


def with_papers_step(settings: dict[str, Any], std: float) -> dict[str, Any]:
    """Return the settings with the step in pixels that the papers' code makes on a data set that it divides by `std`.

    The presets of the literature contain its step for a standard deviation of 0.5. The step of `default` is the same on
    every data set.
    """
    if settings["preset"] == "default":
        return settings
    optimiser = settings["optimiser"]
    rate = optimiser["learning_rate"] * (std / COLOURED_STD) ** 2
    return settings | {"optimiser": optimiser | {"learning_rate": rate}}


def embedding_on(device: str, budget: Budget) -> str:
    """Return how real images are embedded: `fast` for many images on a GPU, which would take hours otherwise.

    With few images, compiling costs more than it saves, because every distillation compiles again.
    """
    return "fast" if torch.device(device).type == "cuda" and budget.real_per_class >= 300 else "exact"


def _warmed(networks: dict[str, Any], ipc: int) -> dict[str, Any]:
    """Set the warm-up by ipc as the COBRA release does: 10 epochs, 50 at ipc 50, and 100 at ipc 100."""
    epochs = networks["warmup_epochs"]
    return networks | {"warmup_epochs": epochs and {50: 50, 100: 100}.get(ipc, epochs)}


_VANILLA = Distilled("vanilla DM", "dm", "pooled")

# To add a method, add it here. The order is that of the tables.
METHODS: dict[str, Method] = {
    "random": Selected("random real images", "random"),
    "balanced": Selected("random, group-balanced", "group_balanced"),
    "random_formation": Selected("random, mosaics of 2×2", "random", formation=2),
    "balanced_formation": Selected("random, group-balanced, mosaics of 2×2", "group_balanced", formation=2),
    "herding": Selected("herding within cells", "herding"),
    "k_centre": Selected("k-centre within cells", "k_centre"),
    "vanilla": _VANILLA,
    "fairdd": Distilled("FairDD", "fairdd", "per_group"),
    "cobra_code": Distilled("COBRA, as released", "cobra-code", "barycentric"),
    "cobra_paper": Distilled("COBRA, as written", "cobra-paper", "barycentric"),
    "vanilla_resampled": Distilled("vanilla DM, cells resampled", "dm", "pooled", balanced=True),
    "joined": Joined("vanilla DM, each group separately", _VANILLA),
    "ours": Distilled("ours", "default", "barycentric"),
    "full": Whole("full data"),
    "full_resampled": Whole("full data, cells resampled", balanced=True),
}


def method(name: str) -> Method:
    """Return a method by name. Raises ConfigError for an unknown name."""
    if name not in METHODS:
        raise ConfigError(f"the method is {name!r}; choose from {', '.join(METHODS)}")
    return METHODS[name]
