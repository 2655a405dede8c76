"""Stage `evaluate`: train networks on a set and predict the gate split with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fair_distill.config import Config, Reference
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import IntegrityError
from fair_distill.files import require_file, sha256, to_csv, to_json, write_bytes
from fair_distill.gate.confusion import Confusion, mean_confusion
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import grouped_by, network_predictions
from fair_distill.gate.predictions import Predictions
from fair_distill.registry.manifest import SET_FILE, Manifest, read_version
from fair_distill.seeds import torch_generator
from fair_distill.stages.device import machine_provenance, torch_device
from fair_distill.stages.progress import ProgressCallback, StageProgress, ignore_progress
from fair_distill.stages.references import training_images
from fair_distill.stages.set_record import check_set_name, draw_file, set_command
from fair_distill.stages.training_units import check_no_overlap, read_training_units, unit_digests
from fair_distill.storage.schemes import open_store
from fair_distill.workspace import Workspace

if TYPE_CHECKING:
    from fair_distill.data.grouped_dataset import Array, GroupedDataset
    from fair_distill.evaluation.shards import Shard, ShardStore


def evaluate_set(
    workspace: Workspace,
    config: Config,
    name: str,
    *,
    device: str = "cpu",
    checkpoints: str | None = None,
    progress: ProgressCallback = ignore_progress,
) -> dict[str, Any]:
    """Train on the files of a set, checked against its manifest; write predictions, metrics and rates.

    Parameters
    ----------
    checkpoints : folder or s3:// address where `evaluate_shard` stores its results. If all shards are there, they are
        joined and nothing is trained; the files have the same bytes in both cases

    Returns
    -------
    dict
        The metrics of each network, as written to artifacts/evaluation.
    """
    inputs = _read_inputs(workspace, config, name, device)
    store = _shard_store(config, inputs, device, checkpoints or workspace.checkpoints)

    predictions = store.join() or _predict(config, inputs, device, progress=progress)
    confusions = {
        network: [predictions.confusion(index, seed) for seed in range(config.evaluate.seeds)]
        for index, network in enumerate(predictions.networks)
    }
    report = {network: _metrics(runs) for network, runs in confusions.items()}
    for index, network in enumerate(predictions.networks):
        for attribute in predictions.marginals:
            marginal = grouped_by(network_predictions(predictions, index), (attribute,), location="evaluate")
            report[network].setdefault("marginals", {})[attribute] = _metrics(marginal.tables())
    uncorrected = predictions.uncorrected()
    if uncorrected is not None:
        for index, network in enumerate(predictions.networks):
            runs = [uncorrected.confusion(index, seed) for seed in range(config.evaluate.seeds)]
            report[network]["uncorrected"] = _metrics(runs)
    means = {network: mean_confusion(runs) for network, runs in confusions.items()}

    write_bytes(workspace.predictions(name), predictions.to_parquet())
    write_bytes(workspace.evaluation(name), to_json(report))
    write_bytes(workspace.rates(name), _rates_csv(name, means))
    store.clear()
    return report


def evaluation_shards(config: Config, *, device: str) -> list["Shard"]:
    """Return the shards that the evaluation of any set can be divided into."""
    from fair_distill.evaluation.shards import list_shards

    networks = [network.name for network in config.evaluate.networks]
    return list_shards(networks, config.evaluate.seeds, together=device != "cpu")


def evaluate_shard(
    workspace: Workspace,
    config: Config,
    name: str,
    shard: "Shard",
    *,
    device: str = "cpu",
    checkpoints: str | None = None,
) -> bool:
    """Evaluate one shard and store its predictions; return False if they are stored already.

    Parameters
    ----------
    checkpoints : folder or s3:// address for the result, which the machine that runs `evaluate_set` must reach
    """
    inputs = _read_inputs(workspace, config, name, device)
    store = _shard_store(config, inputs, device, checkpoints or workspace.checkpoints)
    if store.has(shard):
        return False
    store.save(shard, _predict(config, inputs, device, shard))
    return True


@dataclass(frozen=True, eq=False)
class _Inputs:
    """Inputs of an evaluation.

    Attributes
    ----------
    draws : images and labels of the sets that networks are trained on: one for all seeds, or one for each seed
    constant : the class and the probability of the reference that gives a constant answer; None for sets
    gate, gate_digest : the split that they predict, and the SHA-256 of its file
    custom_digests : SHA-256 of the source file of each custom network
    """

    manifest: Manifest
    draws: "Sequence[tuple[Array, Array]]"
    constant: tuple[int, float] | None
    gate: "GroupedDataset"
    gate_digest: str
    custom_digests: Mapping[str, str]


def _read_inputs(workspace: Workspace, config: Config, name: str, device: str) -> _Inputs:
    """Read and check a set and the gate split.

    Raises
    ------
    ConfigError
        If the set or the device does not exist.
    IntegrityError
        If files do not match the manifest, or the gate split is also the train or tune split, or shares units with the
        training units of the set.
    """
    from fair_distill.data.split_file import read_split
    from fair_distill.plugins import custom_source_digests

    check_set_name(config, name)
    torch_device(device, threads=1)  # a missing device is reported before anything is read
    # Recorded before training: the files of custom networks may change while it lasts.
    custom_digests = custom_source_digests(config.evaluate.model_dump())
    command = set_command(config, name)
    manifest, files = read_version(workspace.set(name), made_by=command)
    gate = require_file(workspace.split("gate"), made_by="fair-distill stage prepare")
    gate_digest = sha256(gate)
    gate_split = read_split(gate)
    _check_unseen(workspace, gate_digest, manifest.source)
    check_no_overlap(read_training_units(workspace, manifest), unit_digests(gate_split), set_name=f"the set {name!r}")
    constant, draws = None, []
    if manifest.card.kind in ("full", "constant"):
        train_path = workspace.split("train")
        if sha256(train_path) != manifest.source:
            raise IntegrityError(
                f"{train_path} is not the training split that the manifest of the set {name!r} names; run `{command}`"
            )
        train = read_split(train_path)
        if manifest.card.kind == "constant":
            constant = _majority(train)
        else:
            train = training_images(config, config.reference(name), train)
            draws = [(train.images, train.labels)]
    elif SET_FILE not in files:
        raise IntegrityError(f"the manifest of the set {name!r} has no {SET_FILE}; run `{command}`")
    else:
        draws = _read_draws(workspace, config, name, files)
        if manifest.card.kind in ("imported", "custom"):
            _check_copies(workspace, draws[0][0], gate_split, name)
    return _Inputs(manifest, draws, constant, gate_split, gate_digest, custom_digests)


def _majority(train: "GroupedDataset") -> tuple[int, float]:
    """Return the most frequent class of the training split, the first of several, and its share."""
    counts = train.counts.sum(axis=1)
    return int(counts.argmax()), float(counts.max() / counts.sum())


def _read_draws(
    workspace: Workspace, config: Config, name: str, files: Mapping[str, bytes]
) -> "list[tuple[Array, Array]]":
    """Return the images and labels of every draw of a set. Raises IntegrityError if a random reference lacks draws."""
    paths = [SET_FILE]
    if name in config.references and config.references[name].select in Reference.DRAWN:
        paths = [draw_file(number) for number in range(config.evaluate.seeds)]
        missing = [path for path in paths if path not in files]
        if missing:
            raise IntegrityError(
                f"the manifest of the set {name!r} has no {missing[0]}; a random reference needs a draw for each of "
                f"the {len(paths)} seeds of params.yaml: evaluate. Run `{set_command(config, name)}`"
            )
    folder = workspace.set(name)
    sets = [DistilledSet.from_parquet(files[path], name=str(folder / path)) for path in paths]
    return [(distilled.images, distilled.labels) for distilled in sets]


def _check_copies(workspace: Workspace, images: "Array", gate: "GroupedDataset", name: str) -> None:
    """Raise IntegrityError if a set that was not made from the training split contains examples of the gate split."""
    from fair_distill.audit.gate_copies import count_gate_copies
    from fair_distill.data.split_file import read_split

    train = read_split(require_file(workspace.split("train"), made_by="fair-distill stage prepare"))
    compared = count_gate_copies(images, gate, train)
    if compared.is_leak:
        raise IntegrityError(
            f"{compared.copies:,} of {compared.examples:,} examples of the set {name!r} are examples of the split that "
            "judges it; import a set that was made without them"
        )


def _check_unseen(workspace: Workspace, gate_digest: str, source: str) -> None:
    """Raise IntegrityError if the gate split is the split that the set was made from or tuned on."""
    tune = workspace.split("tune")
    for name, digest in (("train", source), ("tune", sha256(tune) if tune.exists() else None)):
        if gate_digest == digest:
            raise IntegrityError(
                f"{workspace.split('gate')} has the same bytes as the {name} split; the gate split must not be used to "
                "make a set. Run `fair-distill stage prepare` again"
            )


def _predict(
    config: Config,
    inputs: _Inputs,
    device: str,
    shard: "Shard | None" = None,
    *,
    progress: ProgressCallback = ignore_progress,
) -> Predictions:
    """Train the networks of one shard, or of all, and return their predictions of the gate split."""
    import numpy as np

    from fair_distill.evaluation.evaluate import constant_predictions, train_and_predict

    networks = {network.name: network.options for network in config.evaluate.networks}
    seeds = range(config.evaluate.seeds)
    if shard is not None:
        networks, seeds = {shard.network: networks[shard.network]}, range(shard.seeds[0], shard.seeds[-1] + 1)
    if inputs.constant is not None:
        return constant_predictions(
            *inputs.constant,
            inputs.gate,
            version=inputs.manifest.version,
            split=inputs.gate_digest,
            seeds=len(seeds),
            networks=networks,
            custom_digests=inputs.custom_digests,
        )
    draws = inputs.draws if len(inputs.draws) == 1 else [inputs.draws[seed] for seed in seeds]
    images, labels = draws[0] if len(draws) == 1 else (np.concatenate(parts) for parts in zip(*draws, strict=True))
    return train_and_predict(
        images,
        labels,
        inputs.manifest.card.recipe,
        inputs.gate,
        version=inputs.manifest.version,
        split=inputs.gate_digest,
        seeds=len(seeds),
        networks=networks,
        generator=lambda index: torch_generator(config.seed, f"evaluate.{seeds[index]}"),
        device=torch_device(device, threads=1),
        together=device != "cpu",
        workers=config.threads if device == "cpu" else 1,
        draws=len(draws),
        custom_digests=inputs.custom_digests,
        progress=lambda step, steps: progress(StageProgress(step, steps)),
    )


def _shard_store(config: Config, inputs: _Inputs, device: str, checkpoints: Path | str) -> "ShardStore":
    """Return the store of shards, under the digest of everything that predictions depend on.

    The machine is part of the digest, as it is for checkpoints.
    """
    from fair_distill.evaluation.shards import ShardStore

    key = config.model_dump(include={"engine", "seed", "evaluate"})
    key |= {"set": inputs.manifest.version, "split": inputs.gate_digest, "own": dict(inputs.custom_digests)}
    key |= {"where": machine_provenance(config, device)}
    store = open_store(str(checkpoints), source="--checkpoints")
    return ShardStore(store, sha256(to_json(key)), evaluation_shards(config, device=device))


def _metrics(runs: list[Confusion]) -> dict[str, Any]:
    """Return every metric of the mean rates, and the mean over runs of every metric.

    The two differ: the mean over runs of a maximum is never smaller than the maximum of the means.
    """
    report: dict[str, Any] = {}
    mean = mean_confusion(runs)
    for name, metric in PREDICTION_METRICS.items():
        measured = metric.measure(mean)
        report[name] = measured.value
        per_run = [metric.measure(run).value for run in runs]
        defined = [value for value in per_run if value is not None]
        report.setdefault("mean_over_runs", {})[name] = (
            sum(defined) / len(defined) if len(defined) == len(per_run) else None
        )
        if measured.reason:
            report.setdefault("undefined", {})[name] = measured.reason
    return report


def _rates_csv(name: str, means: Mapping[str, Confusion]) -> bytes:
    return to_csv(
        ["set", "network", "class", "group", "examples", "recall"],
        (
            [name, network, label, group, int(mean.support[g, c]), mean.recalls[g, c] if mean.support[g, c] else ""]
            for network, mean in means.items()
            for c, label in enumerate(mean.classes)
            for g, group in enumerate(mean.groups)
        ),
    )
