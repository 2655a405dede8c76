"""The stage that trains on a set and measures what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fair_distill.config import Config
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import IntegrityError
from fair_distill.files import require_file, sha256, to_csv, to_json, write_bytes
from fair_distill.gate.metrics import METRICS, Confusion, mean_confusion, measure
from fair_distill.gate.network_predictions import answers, grouped_by
from fair_distill.gate.predictions import Predictions
from fair_distill.registry.manifest import SET_FILE, Manifest, read_version
from fair_distill.seeds import torch_generator
from fair_distill.stages.device import provenance_of, torch_device
from fair_distill.stages.progress import Progress, Reached, quiet
from fair_distill.stages.set_record import known, made_by
from fair_distill.storage.schemes import open_store
from fair_distill.workspace import Workspace

if TYPE_CHECKING:
    from fair_distill.data.grouped_dataset import Array, GroupedDataset
    from fair_distill.evaluation.shards import KeptParts, Part


def evaluate(
    workspace: Workspace,
    config: Config,
    name: str,
    *,
    device: str = "cpu",
    checkpoints: str | None = None,
    progress: Progress = quiet,
) -> dict[str, Any]:
    """Train on a set as it lies on disk, checked against its manifest; write predictions, metrics and rates.

    Parameters
    ----------
    checkpoints : the folder or s3:// address where `evaluate_part` has kept what it found: if all of it is there,
        nothing is trained again, and every file has the bytes that it would have had
    """
    asked = _Asked.of(workspace, config, name, device)
    kept = asked.kept(checkpoints or workspace.checkpoints)
    predictions = kept.joined() or asked.answers(progress=progress)
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
    kept.done()
    return report


def parts(config: Config, *, device: str) -> list["Part"]:
    """Return what the evaluation of any set can be divided into."""
    from fair_distill.evaluation.shards import parts_of

    return parts_of(
        [network.name for network in config.evaluate.networks], config.evaluate.seeds, together=device != "cpu"
    )


def evaluate_part(
    workspace: Workspace,
    config: Config,
    name: str,
    part: "Part",
    *,
    device: str = "cpu",
    checkpoints: str | None = None,
) -> bool:
    """Do one part of an evaluation and keep what it found; False if somebody has already.

    Parameters
    ----------
    checkpoints : the folder or s3:// address to keep it at, which the machine that runs `evaluate` reaches
    """
    asked = _Asked.of(workspace, config, name, device)
    kept = asked.kept(checkpoints or workspace.checkpoints)
    if kept.has(part):
        return False
    kept.keep(part, asked.answers(part))
    return True


@dataclass(frozen=True, eq=False)
class _Asked:
    """A set, read and checked, and the split that networks which were trained on it are asked about."""

    config: Config
    device: str
    manifest: Manifest
    images: "Array"
    labels: "Array"
    gate: "GroupedDataset"
    split: str
    own: Mapping[str, str]

    @classmethod
    def of(cls, workspace: Workspace, config: Config, name: str, device: str) -> "_Asked":
        from fair_distill.data.split_file import read_split
        from fair_distill.plugins import custom_source_digests

        known(config, name)
        torch_device(device, threads=1)  # one that is not there is refused before anything is read
        # Now: a file of one's own may be changed while networks train.
        own = custom_source_digests(config.evaluate.model_dump())
        manifest, files = read_version(workspace.set(name), made_by=made_by(config, name))
        split = sha256(require_file(workspace.split("gate"), made_by="fair-distill prepare"))
        _unseen(workspace, split, manifest.source)
        if manifest.card.kind == "full":
            if sha256(workspace.split("train")) != manifest.source:
                place = workspace.split("train")
                raise IntegrityError(
                    f"{place} is not the file that the set {name!r} names; run {made_by(config, name)}"
                )
            train = read_split(workspace.split("train"))
            images, labels = train.images, train.labels
        elif SET_FILE not in files:
            raise IntegrityError(f"the manifest of the set {name!r} has no {SET_FILE}; run {made_by(config, name)}")
        else:
            distilled = DistilledSet.from_parquet(files[SET_FILE], name=str(workspace.set(name) / SET_FILE))
            images, labels = distilled.images, distilled.labels
        return cls(config, device, manifest, images, labels, read_split(workspace.split("gate")), split, own)

    def answers(self, part: "Part | None" = None, *, progress: Progress = quiet) -> Predictions:
        """Train the networks of a part, or all there are, and return what they say."""
        from fair_distill.evaluation.evaluate import evaluate as run

        networks = {network.name: network.options for network in self.config.evaluate.networks}
        seeds = range(self.config.evaluate.seeds)
        if part is not None:
            networks, seeds = {part.network: networks[part.network]}, range(part.seeds[0], part.seeds[-1] + 1)
        return run(
            self.images,
            self.labels,
            self.manifest.card.recipe,
            self.gate,
            version=self.manifest.version,
            split=self.split,
            seeds=len(seeds),
            networks=networks,
            generator=lambda number: torch_generator(self.config.seed, f"evaluate.{seeds[number]}"),
            device=torch_device(self.device, threads=1),
            together=self.device != "cpu",
            workers=self.config.threads if self.device == "cpu" else 1,
            own=self.own,
            progress=lambda done, of: progress(Reached(done, of)),
        )

    def kept(self, checkpoints: Path | str) -> "KeptParts":
        """Return where parts are kept, by a digest of all that decides what networks say; the machine is part of it."""
        from fair_distill.evaluation.shards import KeptParts

        decides = self.config.model_dump(include={"engine", "seed", "evaluate"})
        decides |= {"set": self.manifest.version, "split": self.split, "own": dict(self.own)}
        decides |= {"where": provenance_of(self.config, self.device)}
        objects = open_store(str(checkpoints), source="--checkpoints")
        return KeptParts(objects, sha256(to_json(decides)), parts(self.config, device=self.device))


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
