"""Command `estimate`: time and memory of a run, extrapolated from a few real steps.

Each kind of work is measured in a new process, as its stage will run. The estimate therefore includes the time to start
a process, and peak memory is that of this work alone. Repeated work (steps of distillation, training steps) is timed
separately from work that is done once (reading, setting up, measuring the finished set). The first step is not
representative, because it fills caches and compiles. The only files written are splits in a temporary folder, if
`prepare` has not run.

The estimate does not include DVC's overhead, nor the stages validate, project and judge, which take a few seconds each.
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
from fair_distill.files import require_file
from fair_distill.seeds import torch_generator
from fair_distill.stages.device import peak_memory_mb, torch_device
from fair_distill.stages.prepare import read_source_splits
from fair_distill.stages.references import select_draws
from fair_distill.stages.set_record import check_set_name, make_card, training_recipe
from fair_distill.stages.training_data import read_training_data
from fair_distill.workspace import Workspace

Clock = Callable[[], float]
# Enough steps for a mean. At least one lifetime of a network is timed, because its renewal may include training.
_FEWEST_STEPS = 8
# The shortest time over which training steps are timed, so that clock resolution and short disturbances do not matter.
_FEWEST_SECONDS = 2.0


@dataclass(frozen=True)
class Meters:
    """How time and memory are measured.

    They are sent to other processes, so they must be functions of a module.

    Attributes
    ----------
    clock : returns seconds from a fixed moment
    memory_mb : returns the peak memory of this process so far in MB
    """

    clock: Clock
    memory_mb: Callable[[], float]


@dataclass(frozen=True)
class WorkCost:
    """The cost of one kind of work.

    Attributes
    ----------
    once : seconds of the work that is done once
    each : seconds of one repetition
    repeated : number of repetitions in a run
    memory_mb, device_memory_mb : peak memory, of the process and of the GPU
    """

    once: float
    each: float
    repeated: float
    memory_mb: float
    device_memory_mb: float | None

    @property
    def seconds(self) -> float:
        """Seconds of the work in a run."""
        return self.once + self.each * self.repeated


@dataclass(frozen=True)
class Estimate:
    """Time and memory of one stage."""

    stage: str
    set: str
    seconds: float
    memory_mb: float
    device_memory_mb: float | None


def estimate_run(
    workspace: Workspace,
    config: Config,
    *,
    device: str = "cpu",
    meters: Meters,
    most_seconds: float = 60.0,
    only: tuple[str, str] | None = None,
) -> Iterator[Estimate]:
    """Yield an estimate for every stage that distils, selects or evaluates, in the order of a run.

    Parameters
    ----------
    most_seconds : upper limit for the time that is spent on the steps of one candidate
    only : a stage and a set; only this estimate is measured and yielded

    Raises
    ------
    ConfigError
        If the matcher uses experts, which would have to be trained first.
    """
    _refuse_experts(config)
    with tempfile.TemporaryDirectory(prefix="fair-distill-") as folder:
        prepared = workspace
        if not workspace.split("train").exists():
            prepared = Workspace(Path(folder))
            _write_temporary_splits(workspace, config, prepared)
        for name in config.candidates:
            if only not in (None, ("distill", name)):
                continue
            cost = _in_new_process(
                _measure_distill, prepared, config, name, device, meters, most_seconds, workspace.root
            )
            yield Estimate("distill", name, cost.seconds, cost.memory_mb, cost.device_memory_mb)
        costs: dict[tuple[int, int], WorkCost] = {}

        def evaluation_cost(size: tuple[int, int]) -> WorkCost:
            if size not in costs:
                costs[size] = _in_new_process(_measure_evaluate, prepared, config, *size, device, meters)
            return costs[size]

        for name, reference in config.references.items():
            if only not in (None, ("references", name)):
                continue
            cost = _in_new_process(_measure_references, prepared, config, name, meters)
            if reference.plateau is not None:
                # At most half of the steps, with the learning rate that the plateau is searched with.
                search = {"each": evaluation_cost(_set_size(config, name)).each, "repeated": reference.plateau.most / 2}
                cost = replace(cost, **search)
            yield Estimate("references", name, cost.seconds, cost.memory_mb, None)
        for name in config.sets:
            if only not in (None, ("evaluate", name)):
                continue
            if name in config.references and config.references[name].select == "majority":
                continue  # nothing is trained
            cost = evaluation_cost(_set_size(config, name))
            if name in config.references and (plateau := config.references[name].plateau) is not None:
                cost = replace(cost, repeated=cost.repeated * max(1.0, plateau.most / config.recipe.steps))
            yield Estimate("evaluate", name, cost.seconds, cost.memory_mb, cost.device_memory_mb)


def estimate_stage(
    workspace: Workspace, config: Config, stage: str, name: str, *, device: str, meters: Meters
) -> Estimate | None:
    """Return the estimate of one run of a stage; None if `estimate_run` does not measure it.

    Raises what `estimate_run` raises, and ConfigError if params.yaml does not have the set.
    """
    if stage == "distill":
        config.candidate(name)
    elif stage == "references":
        config.reference(name)
    else:
        check_set_name(config, name)
    rows = estimate_run(workspace, config, device=device, meters=meters, most_seconds=10.0, only=(stage, name))
    return next(iter(list(rows)), None)


def _refuse_experts(config: Config) -> None:
    from fair_distill.distillation.matchers import expert_settings

    matcher = config.distill.matcher
    if expert_settings(matcher.name, matcher.options) is not None:
        raise ConfigError(
            f"params.yaml: distill.matcher is {matcher.name!r}; `estimate` cannot measure a matcher with experts yet"
            + (". Remove the section budget" if config.budget else "")
        )


def _write_temporary_splits(workspace: Workspace, config: Config, prepared: Workspace) -> None:
    """Write the splits of a workspace into another workspace."""
    from fair_distill.data.split_file import write_split

    for name, dataset in read_source_splits(workspace, config).items():
        write_split(dataset, prepared.split(name))


def _set_size(config: Config, name: str) -> tuple[int, int]:
    """Return images per class and formation, which determine the training time; 0 images stand for all images."""
    if name in config.candidates:
        return config.distill.ipc, config.distill.formation
    reference = config.references[name]
    return (config.distill.ipc if reference.has_files else 0), reference.formation or config.distill.formation


def _in_new_process(work: Callable[..., WorkCost], *arguments: Any) -> WorkCost:
    """Measure work in a new process and add the time to start it."""
    meters: Meters = next(argument for argument in arguments if isinstance(argument, Meters))
    start = meters.clock()
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        inside, cost = pool.submit(_time_work, work, meters, arguments).result()
    startup = meters.clock() - start - inside
    return replace(cost, once=cost.once + startup)


def _time_work(work: Callable[..., WorkCost], meters: Meters, arguments: tuple[Any, ...]) -> tuple[float, WorkCost]:
    start = meters.clock()
    cost = work(*arguments)
    return meters.clock() - start, cost


class _EnoughSteps(Exception):
    """Raised in the progress callback to stop the loop after enough steps."""


def _measure_distill(
    workspace: Workspace, config: Config, name: str, device: str, meters: Meters, most_seconds: float, root: Path
) -> WorkCost:
    """Time the steps of a candidate, and the work before and after them."""
    clock, start = meters.clock, meters.clock()  # read before the imports, because torch alone takes over a second
    from fair_distill.audit.measurements import measure_set
    from fair_distill.candidates import Inputs, make_candidate
    from fair_distill.data.split_file import read_split
    from fair_distill.distillation.checkpoint import CheckpointFolder
    from fair_distill.evaluation.references import subset
    from fair_distill.report.grid import grid_png

    torch_dev = torch_device(device, threads=config.threads)
    train = read_training_data(workspace, config, torch_dev).dataset
    tune = read_split(require_file(workspace.split("tune"), made_by="fair-distill stage prepare"))
    formation = config.distill.formation
    recipe = training_recipe(config, train, formation)
    networks = config.distill.networks
    enough = max(_FEWEST_STEPS, networks.pool * networks.visits) + 1
    times: list[float] = []

    def record(step: int, steps: int, loss: float) -> None:
        times.append(clock())
        seconds = times[-1] - times[0]
        if len(times) >= enough and (seconds >= _FEWEST_SECONDS or len(times) >= 20 * enough):
            raise _EnoughSteps
        if len(times) > 2 and seconds > most_seconds:
            raise _EnoughSteps

    with suppress(_EnoughSteps):
        inputs = Inputs(
            root=root,
            config=config,
            train=train,
            recipe=recipe,
            device=torch_dev,
            trajectories=None,
            # Never written. It is passed because loading it is part of the start of a stage.
            checkpoints=CheckpointFolder(workspace.checkpoints, "estimate", every=2**31, stopping=lambda: False),
            progress=record,
        )
        make_candidate(config.candidates[name], inputs)
    steps = max(0, len(times) - 1)
    each = (times[-1] - times[0]) / steps if steps else 0.0
    before = (times[0] if times else clock()) - start
    finishing = clock()
    images, labels = subset(
        "random", train, config.distill.ipc, formation, torch_generator(config.seed, "references.random")
    )
    measured = measure_set(images, labels, train, tune, config, formation=formation, device=torch_dev)
    card = make_card(config, train, name=name, kind="distilled", examples=len(labels), formation=formation, **measured)
    distilled = DistilledSet(images, labels, card)
    distilled.to_parquet()
    grid_png(distilled)
    after = clock() - finishing
    return WorkCost(
        once=before + after,
        each=each,
        repeated=config.distill.steps - 1,
        memory_mb=meters.memory_mb(),
        device_memory_mb=peak_memory_mb(torch_dev),
    )


def _measure_references(workspace: Workspace, config: Config, name: str, meters: Meters) -> WorkCost:
    """Time the whole stage: selecting a reference and measuring it."""
    start = meters.clock()
    from fair_distill.audit.measurements import measure_set
    from fair_distill.data.split_file import read_split

    device = torch_device("cpu", threads=config.threads)
    train, reference = read_split(workspace.split("train")), config.references[name]
    if reference.has_files:
        tune = read_split(require_file(workspace.split("tune"), made_by="fair-distill stage prepare"))
        images, labels = select_draws(config, reference, train, device)[0]
        formation = reference.formation or config.distill.formation
        measure_set(images, labels, train, tune, config, formation=formation, device=device)
    return WorkCost(meters.clock() - start, 0.0, 0.0, meters.memory_mb(), None)


def _measure_evaluate(
    workspace: Workspace, config: Config, ipc: int, formation: int, device: str, meters: Meters
) -> WorkCost:
    """Time training on a set of a size and predicting, with all architectures; `each` is one step of all of them."""
    clock, start = meters.clock, meters.clock()  # read before the imports, because torch alone takes over a second
    from fair_distill.data.split_file import read_split
    from fair_distill.evaluation.evaluate import train_and_predict
    from fair_distill.evaluation.references import subset

    torch_dev = torch_device(device, threads=1)
    train = read_split(workspace.split("train"))
    gate = read_split(workspace.split("gate"))
    recipe = training_recipe(config, train, formation)
    images, labels = train.images, train.labels
    if ipc:
        grouped = train if train.known.all() else train.of_known_groups()
        images, labels = subset("random", grouped, ipc, formation, torch_generator(config.seed, "references.random"))
    together = device != "cpu"
    seeds = config.evaluate.seeds
    # As many networks at once as in the run: two that share two cores are slower than one that has both.
    at_once = seeds if together else min(seeds, config.threads)

    def seconds_for(steps: int) -> float:
        training_start = clock()
        train_and_predict(
            images,
            labels,
            replace(recipe, steps=steps),
            gate,
            version="",
            split="",
            seeds=at_once,
            networks={network.name: network.options for network in config.evaluate.networks},
            generator=lambda seed: torch_generator(config.seed, f"evaluate.{seed}"),
            device=torch_dev,
            together=together,
            workers=1 if together else config.threads,
        ).to_parquet()
        return clock() - training_start

    set_up = clock() - start
    first_step = seconds_for(1)
    one_step = seconds_for(1)
    steps = min(16, config.recipe.steps)
    while True:
        many_steps = seconds_for(steps)
        if many_steps - one_step >= _FEWEST_SECONDS or steps >= config.recipe.steps:
            break
        steps = min(4 * steps, config.recipe.steps)
    each = max(many_steps - one_step, 0.0) / max(steps - 1, 1)
    rounds = seeds / at_once
    return WorkCost(
        once=set_up + first_step - one_step + rounds * (one_step - each),
        each=each,
        repeated=rounds * config.recipe.steps,
        memory_mb=meters.memory_mb(),
        device_memory_mb=peak_memory_mb(torch_dev),
    )
