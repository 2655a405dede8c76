"""The stage that trains on a set and measures what comes of it."""

from collections.abc import Mapping
from typing import Any

from fair_distill.artifacts import Workspace, needed, sha256, to_csv, to_json, write_bytes
from fair_distill.config import Config
from fair_distill.distilled import DistilledSet
from fair_distill.errors import IntegrityError
from fair_distill.gate.answers import answers, grouped_by
from fair_distill.gate.metrics import METRICS, Confusion, mean_confusion, measure
from fair_distill.registry.manifest import SET_FILE, read_version
from fair_distill.stages.device import torch_device
from fair_distill.stages.progress import Progress, Reached, quiet
from fair_distill.stages.record import known, made_by
from fair_distill.stages.seeds import torch_generator


def evaluate(
    workspace: Workspace, config: Config, name: str, *, device: str = "cpu", progress: Progress = quiet
) -> dict[str, Any]:
    """Train on a set as it lies on disk, checked against its manifest; write predictions, metrics and rates."""
    from fair_distill.data.schema import read_split
    from fair_distill.distillation.names import digests_of_own
    from fair_distill.evaluation.evaluate import evaluate as run

    known(config, name)
    own = digests_of_own(config.evaluate.model_dump())  # now: a file of one's own may be changed while networks train
    manifest, files = read_version(workspace.set(name), made_by=made_by(config, name))
    split = sha256(needed(workspace.split("gate"), made_by="fair-distill prepare"))
    _unseen(workspace, split, manifest.source)
    if manifest.card.kind == "full":
        if sha256(workspace.split("train")) != manifest.source:
            raise IntegrityError(
                f"{workspace.split('train')} is not the file that the set {name!r} names; run {made_by(config, name)}"
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
        split=split,
        seeds=config.evaluate.seeds,
        networks={network.name: network.options for network in config.evaluate.networks},
        generator=lambda seed: torch_generator(config, f"evaluate.{seed}"),
        device=torch_device(device, threads=1),
        together=device != "cpu",
        workers=config.threads if device == "cpu" else 1,
        own=own,
        progress=lambda done, of: progress(Reached(done, of)),
    )
    write_bytes(workspace.predictions(name), predictions.to_parquet())
    runs = {
        network: [predictions.confusion(index, seed) for seed in range(config.evaluate.seeds)]
        for index, network in enumerate(predictions.networks)
    }
    report = {network: _report(of) for network, of in runs.items()}
    for index, network in enumerate(predictions.networks):
        for attribute in predictions.marginals:
            of = grouped_by(answers(predictions, index), (attribute,), where="evaluate")
            report[network].setdefault("marginals", {})[attribute] = _report(of.tables())
    write_bytes(workspace.evaluation(name), to_json(report))
    write_bytes(workspace.rates(name), _rates(name, {network: mean_confusion(of) for network, of in runs.items()}))
    return report


def _unseen(workspace: Workspace, split: str, source: str) -> None:
    """Raise IntegrityError if what is to be gated on is what the set was made from, or tuned on."""
    tune = workspace.split("tune")
    for name, seen in (("train", source), ("tune", sha256(tune) if tune.exists() else None)):
        if split == seen:
            raise IntegrityError(
                f"{workspace.split('gate')} is the {name} split, byte for byte; a gate split is one that nothing was "
                "made from. Run `fair-distill prepare` again"
            )


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
    return to_csv(
        ["set", "network", "class", "group", "examples", "recall"],
        (
            [name, network, label, group, int(mean.support[g, c]), mean.recalls[g, c] if mean.support[g, c] else ""]
            for network, mean in means.items()
            for c, label in enumerate(mean.classes)
            for g, group in enumerate(mean.groups)
        ),
    )
