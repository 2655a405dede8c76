"""One short function per stage: read declared files, call the domain, write declared files.

One seed from params.yaml becomes one generator per purpose here, and nowhere else. Torch and Great Expectations
are imported by the stages that use them, so judging stays light.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fair_distill.artifacts import SPLITS, Workspace, needed, parse_json, sha256, to_json, write_bytes
from fair_distill.card import DatasetCard, TrainingRecipe
from fair_distill.config import Config, Gate
from fair_distill.distilled import DistilledSet
from fair_distill.errors import ConfigError, DataError, IntegrityError
from fair_distill.gate.judge import judge as decide
from fair_distill.gate.metrics import METRICS, Confusion, mean_confusion, measure
from fair_distill.gate.plan import Assumed, Plan, cells_of, plan
from fair_distill.gate.policy import PROMOTED, read_context
from fair_distill.gate.replay import Replayed, replay
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import release
from fair_distill.registry.channels import published
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.manifest import SET_FILE, FileEntry, Manifest, read_version, write_version
from fair_distill.registry.release import Promotion, Publication
from fair_distill.registry.store import open_store

if TYPE_CHECKING:
    import torch

    from fair_distill.data.grouped import GroupedDataset

Progress = Callable[[int, int, str], None]

PROVENANCE_FILE = "provenance.json"


def _quiet(done: int, of: int, note: str) -> None:
    """Report progress to nobody."""


def _seed(config: Config, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{config.seed}/{purpose}".encode()).digest()[:7])


def _torch_generator(config: Config, purpose: str) -> "torch.Generator":
    import torch

    return torch.Generator().manual_seed(_seed(config, purpose))


def _torch_device(device: str, *, threads: int) -> "torch.device":
    """Make torch give equal bytes for equal params, and return the device."""
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen).cpu()  # there to compute on and to read back from
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ConfigError(f"--device {device}: {str(error).splitlines()[0][:200]}") from None
    return chosen


def _table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerows([list(header), *rows])
    return sink.getvalue().encode()


def _splits(workspace: Workspace, config: Config) -> dict[str, "GroupedDataset"]:
    import numpy as np

    from fair_distill.data.prepare import make_splits
    from fair_distill.data.sources import read_source

    source = read_source(config.data.source.name, config.data.source.options, root=workspace.root)
    return make_splits(
        source,
        config.data,
        dealing=np.random.default_rng(_seed(config, "prepare.split")),
        colouring=np.random.default_rng(_seed(config, "prepare.colours")),
    )


def prepare(workspace: Workspace, config: Config) -> dict[str, "GroupedDataset"]:
    """Read the source, split it, colour it if told so; write train, tune and gate."""
    from fair_distill.data.schema import write_split

    splits = _splits(workspace, config)
    for name, dataset in splits.items():
        write_split(dataset, workspace.split(name))
    return splits


def describe(workspace: Workspace, config: Config) -> dict[str, Any]:
    """Return what `validate` would say of the splits that `prepare` would write. Writes nothing."""
    from fair_distill.validation.contract import validate as check

    return check(_splits(workspace, config), config.validate_).to_dict()


def validate(workspace: Workspace, config: Config) -> dict[str, Any]:
    """Hold the prepared splits against the contract; write and return the outcome, whatever it is."""
    from fair_distill.data.schema import read_split
    from fair_distill.validation.contract import validate as check

    outcome = check({name: read_split(workspace.split(name)) for name in SPLITS}, config.validate_).to_dict()
    write_bytes(workspace.validation, to_json(outcome))
    return outcome


def _validated(workspace: Workspace) -> None:
    """Refuse what `validate` refused."""
    path = needed(workspace.validation, made_by="fair-distill validate")
    outcome = parse_json(path.read_bytes(), name=str(path))
    try:
        errors = [failure["sentence"] for failure in outcome["failures"] if failure["severity"] == "error"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is no outcome of a validation ({error!r}); run `fair-distill validate`") from None
    if errors:
        more = f" (and {len(errors) - 1} more in {path})" if len(errors) > 1 else ""
        raise DataError(f"validation refused the data: {errors[0]}{more}")


def _recipe(config: Config, train: "GroupedDataset", formation: int) -> TrainingRecipe:
    from fair_distill.distillation.sampling import normalisation

    pixels = normalisation(train)
    plain = config.recipe.model_dump(exclude={"network", "augment"})
    network = {"name": config.recipe.network.name, "options": config.recipe.network.options}
    return TrainingRecipe(
        **plain,
        network=network,
        augment=tuple(config.recipe.augment),
        formation=formation,
        mean=pixels.mean,
        std=pixels.std,
    )


def _card(
    config: Config,
    train: "GroupedDataset",
    *,
    name: str,
    kind: str,
    examples: int,
    formation: int = 1,
    diagnostics: Mapping[str, float] = MappingProxyType({}),
) -> DatasetCard:
    return DatasetCard(
        dataset=config.dataset,
        name=name,
        kind=kind,
        classes=train.classes,
        groups=train.group_names,
        shape=train.shape,
        examples=examples,
        train_counts=tuple(tuple(row) for row in train.counts.tolist()),
        recipe=_recipe(config, train, formation),
        diagnostics=dict(diagnostics),
    )


def _params(config: Config, *sections: str, **extra: Any) -> dict[str, Any]:
    """The sections of params.yaml that make a set, as the manifest keeps them."""
    always = {"seed", "threads", "dataset", "data", "recipe"}
    return config.model_dump(include=always | set(sections), by_alias=True) | extra


def _write_set(
    workspace: Workspace, config: Config, card: DatasetCard, distilled: DistilledSet | None, params: dict[str, Any]
) -> Manifest:
    files = {} if distilled is None else {SET_FILE: distilled.to_parquet()}
    manifest = Manifest(
        files=tuple(FileEntry(path, len(content), sha256(content)) for path, content in files.items()),
        card=card,
        source=sha256(workspace.split("train")),
        params=params,
        engine=config.engine,
    )
    write_version(workspace.set(card.name), manifest, files)
    return manifest


def distill(
    workspace: Workspace,
    config: Config,
    name: str,
    *,
    device: str = "cpu",
    checkpoints: Path | None = None,
    every: int = 50,
    stopping: Callable[[], bool] = lambda: False,
    progress: Progress = _quiet,
) -> Manifest:
    """Distil one candidate; write the set, its manifest, its losses and its picture.

    Parameters
    ----------
    checkpoints, every : the folder that a run is taken up from, and the steps between checkpoints
    stopping : asked after every step whether to keep the state and stop
    """
    from fair_distill.data.schema import read_split
    from fair_distill.distillation.checkpoint import CheckpointFolder
    from fair_distill.distillation.loop import Streams
    from fair_distill.distillation.loop import distill as run
    from fair_distill.distillation.sampling import Normalisation
    from fair_distill.report.grid import grid_png

    candidate = config.candidate(name)
    _validated(workspace)
    train = read_split(workspace.split("train"))
    recipe = _recipe(config, train, config.distill.formation)
    # What the pixels depend on, and no more: another recipe takes up the same run.
    makes = config.model_dump(include={"engine", "seed", "threads", "distill"})
    made_of = {"candidate": candidate.model_dump(), "source": sha256(workspace.split("train")), "device": device}
    kept = CheckpointFolder(
        checkpoints or workspace.checkpoints, sha256(to_json(makes | made_of)), every=every, stopping=stopping
    )
    result = run(
        train,
        config.distill,
        candidate,
        normalise=Normalisation(recipe.mean, recipe.std),
        streams=Streams.from_seed(config.seed),  # whatever the candidate: all start alike and see the same batches
        device=_torch_device(device, threads=config.threads),
        checkpoints=kept,
        progress=lambda step, steps, loss: progress(step, steps, f"loss {loss:.4g}"),
    )
    card = _card(
        config,
        train,
        name=name,
        kind="distilled",
        examples=len(result.labels),
        formation=config.distill.formation,
        diagnostics={"first_loss": result.losses[0], "last_loss": result.losses[-1]},
    )
    distilled = DistilledSet(result.images, result.labels, card)
    write_bytes(workspace.losses(name), _table(["step", "loss"], enumerate(result.losses, start=1)))
    write_bytes(workspace.grid(name), grid_png(distilled))
    write_bytes(workspace.set(name) / PROVENANCE_FILE, to_json(_provenance(config, device)))
    params = _params(config, "distill", candidate=candidate.model_dump())
    manifest = _write_set(workspace, config, card, distilled, params)
    kept.done()
    return manifest


def _provenance(config: Config, device: str) -> dict[str, Any]:
    """Where equal bytes can be had again: the libraries, the processor's capability and the kind of device."""
    import platform
    from importlib.metadata import version

    import torch

    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("fair-distill", "numpy", "pot", "pyarrow", "torch")},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.device(device).type,
        "threads": config.threads,
    }


def references(workspace: Workspace, config: Config, name: str) -> Manifest:
    """Write a set that candidates are measured against; the full data stay where they are, named by digest."""
    from fair_distill.data.schema import read_split
    from fair_distill.evaluation.references import subset

    reference = config.reference(name)
    _validated(workspace)
    train = read_split(workspace.split("train"))
    params = _params(config, reference=reference.model_dump(), ipc=config.distill.ipc)
    if reference.select == "all":
        card = _card(config, train, name=name, kind="full", examples=len(train))
        return _write_set(workspace, config, card, None, params)
    generator = _torch_generator(config, f"references.{reference.select}")
    formation = reference.formation or 1
    images, labels = subset(reference.select, train, config.distill.ipc, formation, generator)
    card = _card(config, train, name=name, kind="subset", examples=len(labels), formation=formation)
    return _write_set(workspace, config, card, DistilledSet(images, labels, card), params)


def _made_by(config: Config, name: str) -> str:
    return f"fair-distill {'references' if name in config.references else 'distill'} {name}"


def _known(config: Config, name: str) -> None:
    if name not in config.sets:
        raise ConfigError(f"params.yaml: sets has no {name!r}; choose one of {', '.join(config.sets)}")


def evaluate(
    workspace: Workspace, config: Config, name: str, *, device: str = "cpu", progress: Progress = _quiet
) -> dict[str, Any]:
    """Train on a set as it lies on disk, checked against its manifest; write predictions, metrics and rates."""
    from fair_distill.data.schema import read_split
    from fair_distill.evaluation.evaluate import evaluate as run

    _known(config, name)
    manifest, files = read_version(workspace.set(name), made_by=_made_by(config, name))
    if manifest.card.kind == "full":
        if sha256(workspace.split("train")) != manifest.source:
            raise IntegrityError(
                f"{workspace.split('train')} is not the file that the set {name!r} names; run {_made_by(config, name)}"
            )
        train = read_split(workspace.split("train"))
        images, labels = train.images, train.labels
    else:
        distilled = DistilledSet.from_parquet(files[SET_FILE], name=str(workspace.set(name) / SET_FILE))
        images, labels = distilled.images, distilled.labels
    predictions = run(
        images,
        labels,
        manifest.card.recipe,
        read_split(workspace.split("gate")),
        version=manifest.version,
        split=sha256(workspace.split("gate")),
        seeds=config.evaluate.seeds,
        networks={network.name: network.options for network in config.evaluate.networks},
        generator=lambda seed: _torch_generator(config, f"evaluate.{seed}"),
        device=_torch_device(device, threads=1),
        workers=config.threads if device == "cpu" else 1,
        progress=lambda done, of: progress(done, of, "networks trained"),
    )
    write_bytes(workspace.predictions(name), predictions.to_parquet())
    runs = {
        network: [predictions.confusion(index, seed) for seed in range(config.evaluate.seeds)]
        for index, network in enumerate(predictions.networks)
    }
    report = {network: _report(of) for network, of in runs.items()}
    write_bytes(workspace.evaluation(name), to_json(report))
    write_bytes(workspace.rates(name), _rates(name, {network: mean_confusion(of) for network, of in runs.items()}))
    return report


def _report(runs: list[Confusion]) -> dict[str, Any]:
    """Every metric of the mean rates, and the mean of the metric over runs, which for a maximum is never smaller."""
    report: dict[str, Any] = {}
    mean = mean_confusion(runs)
    for name in METRICS:
        measured = measure(name, mean)
        report[name] = measured.value
        each = [measure(name, run).value for run in runs]
        defined = [value for value in each if value is not None]
        report.setdefault("mean_over_runs", {})[name] = (
            sum(defined) / len(defined) if len(defined) == len(each) else None
        )
        if measured.reason:
            report.setdefault("undefined", {})[name] = measured.reason
    return report


def _rates(name: str, means: Mapping[str, Confusion]) -> bytes:
    return _table(
        ["set", "network", "class", "group", "examples", "recall"],
        (
            [name, network, label, group, int(mean.support[g, c]), mean.recalls[g, c] if mean.support[g, c] else ""]
            for network, mean in means.items()
            for c, label in enumerate(mean.classes)
            for g, group in enumerate(mean.groups)
        ),
    )


def judge(
    workspace: Workspace, config: Config, name: str, *, floor: Gate | None = None, now: date | None = None
) -> Verdict:
    """Hold a set's predictions against the policy; write and return the verdict, whatever it is."""
    verdict = verdict_of(workspace, config, name, floor=floor, now=now)
    write_bytes(workspace.verdict(name), verdict.to_json())
    return verdict


def verdict_of(
    workspace: Workspace, config: Config, name: str, *, floor: Gate | None = None, now: date | None = None
) -> Verdict:
    """Judge without writing: what `enforce` and promotion trust, not the verdict that lies on disk.

    Without a day (`now`), as in the graph, no waiver counts; a verdict that was to count on one is given on a day.
    """
    _known(config, name)
    predictions = needed(workspace.predictions(name), made_by=f"fair-distill evaluate {name}").read_bytes()
    context = _context(workspace)
    return decide(
        predictions,
        config.gate,
        context=context,
        engine=config.engine,
        references=_compared(workspace, config, config.gate, context),
        floor=floor,
        now=now,
    )


def _context(workspace: Workspace) -> bytes:
    context = needed(workspace.context, made_by="echo {} > context.json").read_bytes()
    parse_json(context, name=str(workspace.context))
    return context


def _compared(workspace: Workspace, config: Config, policy: Gate, context: bytes) -> dict[str, bytes]:
    """Return the predictions that the policy's clauses compare to: references, and what is promoted now."""
    found = {}
    for name in sorted({limit.over for limit in policy.limits if limit.over}):
        if name == PROMOTED:
            if read_context(context).promoted is None:
                continue
            # Whoever writes context.json lays the promoted version's predictions beside it; the digest binds them.
            path, made_by = workspace.context.with_name("promoted.parquet"), "whoever wrote context.json"
        else:
            config.reference(name)
            path, made_by = workspace.predictions(name), f"fair-distill evaluate {name}"
        found[name] = needed(path, made_by=made_by).read_bytes()
    return found


def plan_gate(workspace: Workspace, config: Config, *, accuracies: Sequence[float], seed_sd: float, seeds: int) -> Plan:
    """Say what the gate split can show under the policy, before anything is trained."""
    import numpy as np

    from fair_distill.data.schema import read_split

    split = read_split(needed(workspace.split("gate"), made_by="fair-distill prepare"))
    return plan(
        cells_of(split),
        config.gate,
        [Assumed(accuracy=accuracy, seeds=seeds, seed_sd=seed_sd) for accuracy in accuracies],
        rng=np.random.default_rng(_seed(config, "gate.plan")),
        attempt=read_context(_context(workspace)).attempt,
    )


def replay_gate(
    workspace: Workspace, config: Config, policy: Gate, *, registry: str, floor: Gate | None, now: date
) -> Iterator[Replayed]:
    """Judge every published version anew by `policy`, from the predictions it was published with."""
    store = open_store(registry)
    versions: dict[str, bytes] = {}
    before: dict[str, str] = {}
    for number, version in enumerate(published(read_ledger(store, config.dataset)), start=1):
        stood = list(_verdicts(store.read(key) for key in store.list(f"versions/{version}/verdicts/")))
        for key in store.list(f"versions/{version}/predictions/"):
            predictions = store.read(key)
            if sha256(predictions) != Path(key).stem:
                raise IntegrityError(f"{key} is in the registry with other bytes than were written there")
            name = f"{config.dataset}@v{number} ({Path(key).stem[:12]})"
            versions[name] = predictions
            before.update((name, verdict.outcome) for verdict in stood if verdict.predictions == Path(key).stem)
    context = _context(workspace)
    return replay(
        policy,
        versions,
        before=before,
        references=_compared(workspace, config, policy, context),
        context=context,
        engine=config.engine,
        floor=floor,
        now=now,
    )


def _verdicts(contents: Iterable[bytes]) -> Iterator[Verdict]:
    """Read what can be read: a verdict of an older form says nothing here, and its predictions are judged anew."""
    for content in contents:
        with suppress(IntegrityError):
            yield Verdict.from_json(content)


@dataclass(frozen=True)
class Hand:
    """Who acts on the registry, when, and the mark by which a lost answer is recognised as one's own."""

    who: str
    now: datetime
    nonce: str


def publish(workspace: Workspace, config: Config, *, registry: str, hand: Hand) -> Publication:
    """Publish the release candidate: its set, the predictions it was judged by, and how it came to be."""
    name = config.release.candidate
    manifest, files = read_version(workspace.set(name), made_by=_made_by(config, name))
    predictions = needed(workspace.predictions(name), made_by=f"fair-distill evaluate {name}").read_bytes()
    provenance = needed(workspace.set(name) / PROVENANCE_FILE, made_by=_made_by(config, name)).read_bytes()
    return release.publish(
        open_store(registry),
        config.dataset,
        manifest,
        files,
        predictions=predictions,
        provenance=provenance,
        who=hand.who,
        now=hand.now,
        nonce=hand.nonce,
    )


def promote(workspace: Workspace, config: Config, channel: str, *, registry: str, hand: Hand) -> Promotion:
    """Judge the release candidate again, and promote it to `channel` if it passes."""
    name = config.release.candidate
    manifest, _ = read_version(workspace.set(name), made_by=_made_by(config, name))
    verdict = verdict_of(workspace, config, name)
    return release.promote(
        open_store(registry),
        config.dataset,
        manifest.version,
        channel,
        order=config.release.channels,
        verdict=verdict,
        verdict_bytes=verdict.to_json(),
        who=hand.who,
        now=hand.now,
        nonce=hand.nonce,
    )
