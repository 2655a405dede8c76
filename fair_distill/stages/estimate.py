"""What a run will take, before it is run: a few real steps of every kind, timed, times how many there will be.

Each kind of work is measured in a new process, as its stage will be one: that counts what starting costs, and its peak
memory is its own. What repeats is timed by itself (the loop's steps, training steps), what comes once is done once
(reading, setting up, the looks at the finished set). Nothing is written but splits in a temporary folder, where
`prepare` has not run. The first step is no measure of the others: it warms caches up, and compiles.

Not counted: DVC's own seconds, and the stages that take a few at most (validate, project, judge).
"""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from fair_distill.config import Config
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import ConfigError
from fair_distill.seeds import torch_generator
from fair_distill.stages.data import of_known_groups, splits_of
from fair_distill.stages.device import peak_memory_mb, torch_device
from fair_distill.stages.measurements import looks
from fair_distill.stages.set_record import card_of, recipe_of
from fair_distill.workspace import Workspace

Clock = Callable[[], float]
# Enough for a mean; at least one whole life of a network, since renewing one may train it.
_LEAST_STEPS = 8
# Training steps are timed over at least as long, so that a clock's grain and a short disturbance do not count.
_LEAST_SECONDS = 2.0


@dataclass(frozen=True)
class Meters:
    """How time and memory are read: seconds that pass, and the most memory of this process so far, in MB.

    They go to other processes, so they are functions of a module.
    """

    clock: Clock
    memory_mb: Callable[[], float]


@dataclass(frozen=True)
class Work:
    """What one kind of work takes.

    Attributes
    ----------
    once : seconds in its process, whatever the number of repetitions
    each : seconds of one repetition; `repeated` is how many there will be
    memory_mb, device_memory_mb : the most it held
    """

    once: float
    each: float
    repeated: float
    memory_mb: float
    device_memory_mb: float | None

    @property
    def seconds(self) -> float:
        return self.once + self.each * self.repeated


@dataclass(frozen=True)
class Estimate:
    """What one stage will take."""

    stage: str
    set: str
    seconds: float
    memory_mb: float
    device_memory_mb: float | None


def estimate(
    workspace: Workspace, config: Config, *, device: str = "cpu", meters: Meters, most_seconds: float = 60.0
) -> Iterator[Estimate]:
    """Yield an estimate for every stage that distils, selects or evaluates, in the order of a run.

    Parameters
    ----------
    most_seconds : of steps that are timed of one candidate, at most

    Raises
    ------
    ConfigError
        For a method that follows experts, which would have to be trained first.
    """
    from fair_distill.distillation.matchers import expert_settings

    matcher = config.distill.matcher
    if expert_settings(matcher.name, matcher.options) is not None:
        raise ConfigError(f"params.yaml: distill.matcher is {matcher.name!r}; its experts' time cannot be told yet")
    with tempfile.TemporaryDirectory(prefix="fair-distill-") as folder:
        place = workspace
        if not workspace.split("train").exists():
            place = Workspace(Path(folder))
            _prepared_elsewhere(workspace, config, place)
        for name in config.candidates:
            work = _alone(_distilled, place, config, name, device, meters, most_seconds)
            yield Estimate("distill", name, work.seconds, work.memory_mb, work.device_memory_mb)
        for name in config.references:
            work = _alone(_selected, place, config, name, meters)
            yield Estimate("references", name, work.seconds, work.memory_mb, None)
        known: dict[tuple[int, int], Work] = {}
        for name in config.sets:
            kind = _size_of(config, name)
            if kind not in known:
                known[kind] = _alone(_evaluated, place, config, *kind, device, meters)
            work = known[kind]
            yield Estimate("evaluate", name, work.seconds, work.memory_mb, work.device_memory_mb)


def _prepared_elsewhere(workspace: Workspace, config: Config, place: Workspace) -> None:
    """Write the splits that `prepare` would, into another workspace."""
    from fair_distill.data.split_file import write_split

    for name, dataset in splits_of(workspace, config).items():
        write_split(dataset, place.split(name))


def _size_of(config: Config, name: str) -> tuple[int, int]:
    """Images a class and tiles along a side, which decide what training on a set takes; 0 images stand for all."""
    if name in config.candidates:
        return config.distill.ipc, config.distill.formation
    reference = config.references[name]
    return (0 if reference.select == "all" else config.distill.ipc), reference.formation or 1


def _alone(work: Callable[..., Work], *arguments: Any) -> Work:
    """Do something in a new process; count what starting it costs."""
    meters: Meters = next(one for one in arguments if isinstance(one, Meters))
    began = meters.clock()
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        inside, done = pool.submit(_timed, work, meters, arguments).result()
    starting = meters.clock() - began - inside
    return replace(done, once=done.once + starting)


def _timed(work: Callable[..., Work], meters: Meters, arguments: tuple[Any, ...]) -> tuple[float, Work]:
    began = meters.clock()
    done = work(*arguments)
    return meters.clock() - began, done


class _Enough(Exception):
    """Raised out of the loop when there were steps enough."""


def _distilled(place: Workspace, config: Config, name: str, device: str, meters: Meters, most_seconds: float) -> Work:
    """Time a candidate's steps, and once what comes before and after them."""
    clock, began = meters.clock, meters.clock()  # before the imports: torch alone takes more than a second
    from fair_distill.distillation.checkpoint import CheckpointFolder
    from fair_distill.distillation.loop import Streams, optimise
    from fair_distill.distillation.sampling import Normalisation
    from fair_distill.evaluation.references import subset
    from fair_distill.report.grid import grid_png

    computed_on = torch_device(device, threads=config.threads)
    train = of_known_groups(place, config, computed_on).dataset
    formation = config.distill.formation
    recipe = recipe_of(config, train, formation)
    networks = config.distill.networks
    wanted = max(_LEAST_STEPS, networks.pool * networks.visits) + 1
    moments: list[float] = []

    def told(step: int, steps: int, loss: float) -> None:
        moments.append(clock())
        taken = moments[-1] - moments[0]
        if len(moments) >= wanted and (taken >= _LEAST_SECONDS or len(moments) >= 20 * wanted):
            raise _Enough
        if len(moments) > 2 and taken > most_seconds:
            raise _Enough

    with suppress(_Enough):
        optimise(
            train,
            config.distill,
            config.candidates[name],
            normalise=Normalisation(recipe.mean, recipe.std),
            streams=Streams.from_seed(config.seed),
            device=computed_on,
            # Never written to: what loading it takes is part of a stage's start.
            checkpoints=CheckpointFolder(place.checkpoints, "estimate", every=2**31, stopping=lambda: False),
            progress=told,
        )
    steps = len(moments) - 1
    each = (moments[-1] - moments[0]) / steps if steps else 0.0
    before = moments[0] - began
    ending = clock()
    images, labels = subset(
        "random", train, config.distill.ipc, formation, torch_generator(config.seed, "references.random")
    )
    looked_at = looks(place, config, train, images, labels, formation=formation, device=computed_on)
    card = card_of(config, train, name=name, kind="distilled", examples=len(labels), formation=formation, **looked_at)
    made = DistilledSet(images, labels, card)
    made.to_parquet()
    grid_png(made)
    after = clock() - ending
    return Work(
        once=before + after,
        each=each,
        repeated=config.distill.steps - 1,
        memory_mb=meters.memory_mb(),
        device_memory_mb=peak_memory_mb(computed_on),
    )


def _selected(place: Workspace, config: Config, name: str, meters: Meters) -> Work:
    """Select a reference and look at it, which is all that its stage does."""
    began = meters.clock()
    from fair_distill.data.split_file import read_split
    from fair_distill.evaluation.coresets import CORESETS
    from fair_distill.evaluation.references import embedding, subset

    device = torch_device("cpu", threads=config.threads)
    train, reference = read_split(place.split("train")), config.references[name]
    if reference.select != "all":
        formation, generator = reference.formation or 1, torch_generator(config.seed, f"references.{reference.select}")
        embed = None
        if reference.select in CORESETS:
            seen_by = torch_generator(config.seed, "references.embedding")
            embed = embedding(train, recipe_of(config, train, 1), seen_by, device)
        images, labels = subset(reference.select, train, config.distill.ipc, formation, generator, embed=embed)
        looks(place, config, train, images, labels, formation=formation, device=device)
    return Work(meters.clock() - began, 0.0, 0.0, meters.memory_mb(), None)


def _evaluated(place: Workspace, config: Config, ipc: int, formation: int, device: str, meters: Meters) -> Work:
    """Time training on a set of a size, by all architectures, and asking them; `each` is of one step of all."""
    clock, began = meters.clock, meters.clock()  # before the imports: torch alone takes more than a second
    from fair_distill.data.split_file import read_split
    from fair_distill.evaluation.references import subset

    computed_on = torch_device(device, threads=1)
    train = read_split(place.split("train"))
    gate = read_split(place.split("gate"))
    recipe = recipe_of(config, train, formation)
    images, labels = train.images, train.labels
    if ipc:
        known = train if train.known.all() else train.of_known_groups()
        images, labels = subset("random", known, ipc, formation, torch_generator(config.seed, "references.random"))
    together = device != "cpu"
    seeds = config.evaluate.seeds
    # As many networks at once as there will be: two that share two cores do not go as one that has both.
    at_once = seeds if together else min(seeds, config.threads)

    def seconds_of(steps: int) -> float:
        from fair_distill.evaluation.evaluate import evaluate

        start = clock()
        evaluate(
            images,
            labels,
            replace(recipe, steps=steps),
            gate,
            version="",
            split="",
            seeds=at_once,
            networks={network.name: network.options for network in config.evaluate.networks},
            generator=lambda seed: torch_generator(config.seed, f"evaluate.{seed}"),
            device=computed_on,
            together=together,
            workers=1 if together else config.threads,
        ).to_parquet()
        return clock() - start

    set_up = clock() - began
    cold = seconds_of(1)
    few = seconds_of(1)
    many, taken = min(16, config.recipe.steps), 0.0
    while True:
        taken = seconds_of(many)
        if taken - few >= _LEAST_SECONDS or many >= config.recipe.steps:
            break
        many = min(4 * many, config.recipe.steps)
    of_step = max(taken - few, 0.0) / max(many - 1, 1)
    rounds = seeds / at_once
    return Work(
        once=set_up + cold - few + rounds * (few - of_step),
        each=of_step,
        repeated=rounds * config.recipe.steps,
        memory_mb=meters.memory_mb(),
        device_memory_mb=peak_memory_mb(computed_on),
    )
