"""Stage `distill`: make one candidate, which is distilled, selected or imported."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from fair_distill.config import AnyCandidate, Candidate, Config
from fair_distill.distilled_set import DistilledSet
from fair_distill.files import require_file, sha256, to_csv, to_json, write_bytes
from fair_distill.registry.manifest import PROVENANCE_FILE, SET_FILE, Manifest, write_version
from fair_distill.stages.device import machine_provenance, peak_memory_mb, torch_device
from fair_distill.stages.experts import expert_folder
from fair_distill.stages.prepare import Notice, ignore_notice
from fair_distill.stages.progress import ProgressCallback, StageProgress, ignore_progress
from fair_distill.stages.set_record import (
    group_inference,
    group_label_record,
    make_card,
    make_manifest,
    set_params,
    training_recipe,
)
from fair_distill.stages.training_data import read_training_data
from fair_distill.stages.training_units import training_units_entry
from fair_distill.stages.validate import data_provenance, read_validation
from fair_distill.workspace import Workspace


def distill_candidate(
    workspace: Workspace,
    config: Config,
    name: str,
    *,
    device: str = "cpu",
    checkpoints: str | None = None,
    every: int = 50,
    stopping: Callable[[], bool] = lambda: False,
    image: str | None = None,
    progress: ProgressCallback = ignore_progress,
    notice: Notice = ignore_notice,
    resume_notice: Notice = ignore_notice,
) -> Manifest:
    """Make one candidate; write the set, its manifest, its losses and its picture.

    Parameters
    ----------
    checkpoints : folder or s3:// address of checkpoints, from which an interrupted run resumes; default .checkpoints
    every : number of steps between checkpoints
    stopping : called after every step; if it returns True, the run saves a checkpoint and stops
    image : digest of the container image, recorded in the provenance
    notice : receives a sentence about the groups that were inferred
    resume_notice : receives a sentence at once if the run resumes from a checkpoint
    """
    from fair_distill.audit.measurements import COBRA, measure_set
    from fair_distill.candidates import Inputs, make_candidate
    from fair_distill.data.split_file import read_split
    from fair_distill.distillation.checkpoint import CheckpointFolder
    from fair_distill.report.grid import blank_png, grid_png

    candidate, formation = config.candidate(name), config.distill.formation
    validation = read_validation(workspace)
    torch_dev = torch_device(device, threads=config.threads)
    resolved = read_training_data(workspace, config, torch_dev)
    train = resolved.dataset
    inference = group_inference(config.distill, resolved)
    for sentence in inference.values():
        notice(sentence)
    tune = read_split(require_file(workspace.split("tune"), made_by="fair-distill stage prepare"))
    source = sha256(workspace.split("train"))
    units = training_units_entry(read_split(workspace.split("train"), verify=False))
    # Recorded before the run: the files of custom components may change while it lasts.
    params = set_params(config, "distill", "diagnostics", "nearness", candidate=candidate.model_dump(), **units)
    machine = machine_provenance(config, device)
    checkpoint = CheckpointFolder(
        checkpoints or workspace.checkpoints,
        _checkpoint_key(config, candidate, source=source, machine=machine),
        every=every,
        stopping=stopping,
        notice=resume_notice,
    )

    def report(step: int, steps: int, loss: float) -> None:
        images = config.distill.real_per_class * len(train.classes)
        progress(StageProgress(step, steps, loss, images, peak_memory_mb(torch_dev)))

    inputs = Inputs(
        root=workspace.root,
        config=config,
        train=train,
        recipe=training_recipe(config, train, formation),
        device=torch_dev,
        trajectories=expert_folder(workspace, config, name, source=source),
        checkpoints=checkpoint,
        progress=report,
    )
    made = make_candidate(candidate, inputs)
    measured = measure_set(
        made.images,
        made.labels,
        train,
        tune,
        config,
        candidate=candidate if isinstance(candidate, Candidate) else COBRA,
        formation=made.formation,
        device=torch_dev,
    )
    card = make_card(
        config,
        train,
        name=name,
        kind=made.kind,
        examples=len(made.labels),
        formation=made.formation,
        diagnostics=made.diagnostics,
        group_labels=group_label_record(config.distill, candidate, resolved),
        origin=made.origin,
        **measured,
    )
    distilled = DistilledSet(made.images, made.labels, card)
    files = {SET_FILE: distilled.to_parquet()}
    manifest = make_manifest(config, card, files, params=params, source=source)
    provenance = machine | ({"image": image} if image else {}) | data_provenance(validation)
    provenance |= _extension_note(config, candidate) | inference
    # A distilled image may resemble the images that it was distilled from.
    picture = blank_png() if validation.get("privacy") == "restricted" else grid_png(distilled)

    write_bytes(workspace.losses(name), to_csv(["step", "loss"], enumerate(made.losses, start=1)))
    write_bytes(workspace.grid(name), picture)
    write_bytes(workspace.set(name) / PROVENANCE_FILE, to_json(provenance))
    write_version(workspace.set(name), manifest, files)
    checkpoint.delete_all()
    return manifest


def check_methods(config: Config) -> None:
    """Raise ConfigError if a candidate in params.yaml names a method that does not exist or is not supported.

    A machine without torch distils nothing, and checks nothing.
    """
    if find_spec("torch") is None:
        return
    from fair_distill.distillation.method import check_method

    for candidate in config.candidates.values():
        if isinstance(candidate, Candidate):
            check_method(config.distill, candidate)


def _checkpoint_key(config: Config, candidate: AnyCandidate, *, source: str, machine: dict[str, Any]) -> str:
    """Return the digest of everything that the images depend on, and of nothing else.

    A run with another evaluation recipe therefore resumes from the same checkpoints. The machine is part of the key:
    half a run here and half on a machine with other rounding would give a set that neither machine reproduces.
    """
    from fair_distill.plugins import custom_source_digests

    inputs = config.model_dump(include={"engine", "seed", "threads", "distill"})
    inputs |= {"candidate": candidate.model_dump(), "source": source, "where": machine}
    custom = custom_source_digests(inputs)
    return sha256(to_json(inputs | ({"own": custom} if custom else {})))


def _extension_note(config: Config, candidate: AnyCandidate) -> dict[str, str]:
    """Return a note for the provenance if the method goes beyond its paper."""
    from fair_distill.distillation.matchers.mtt import DERIVED

    if not isinstance(candidate, Candidate):
        return {}
    extended = config.distill.matcher.name == "mtt" and candidate.alignment.name != "pooled"
    return {"derived": DERIVED} if extended else {}
