"""The stages that make sets: distil a candidate, select a reference."""

from collections.abc import Callable

from fair_distill.config import Candidate, Config
from fair_distill.distilled_set import DistilledSet
from fair_distill.files import sha256, to_csv, to_json, write_bytes
from fair_distill.registry.manifest import PROVENANCE_FILE, Manifest
from fair_distill.seeds import torch_generator
from fair_distill.stages.data import of_data, of_known_groups, validated
from fair_distill.stages.device import peak_memory_mb, provenance_of, torch_device
from fair_distill.stages.experts import followed
from fair_distill.stages.measurements import looks
from fair_distill.stages.progress import Progress, Reached, quiet
from fair_distill.stages.set_record import card_of, group_labels_of, params_of, recipe_of, write_set
from fair_distill.workspace import Workspace


def distill(
    workspace: Workspace,
    config: Config,
    name: str,
    *,
    device: str = "cpu",
    checkpoints: str | None = None,
    every: int = 50,
    stopping: Callable[[], bool] = lambda: False,
    image: str | None = None,
    progress: Progress = quiet,
) -> Manifest:
    """Distil one candidate; write the set, its manifest, its losses and its picture.

    Parameters
    ----------
    checkpoints, every : the folder or s3:// address that a run is taken up from, and the steps between checkpoints
    stopping : asked after every step whether to keep the state and stop
    image : the digest of the container image that this runs in, for the provenance
    """
    from fair_distill.distillation.checkpoint import CheckpointFolder
    from fair_distill.distillation.loop import Streams, optimise
    from fair_distill.distillation.sampling import Normalisation
    from fair_distill.plugins import custom_source_digests
    from fair_distill.report.grid import blank_png, grid_png

    candidate = config.candidate(name)
    contract = validated(workspace)
    formation = config.distill.formation
    computed_on = torch_device(device, threads=config.threads)
    resolved = of_known_groups(workspace, config, computed_on)
    train = resolved.dataset
    recipe = recipe_of(config, train, formation)
    provenance = provenance_of(config, device)
    # What the pixels depend on, and no more: another recipe takes up the same run. The machine is part of it: half a
    # run here and half where bytes come out otherwise would give a set that neither makes.
    makes = config.model_dump(include={"engine", "seed", "threads", "distill"})
    makes |= {"candidate": candidate.model_dump(), "source": sha256(workspace.split("train")), "where": provenance}
    own = {"own": found} if (found := custom_source_digests(makes)) else {}
    # Now, and not when the set is there: a file of one's own may be changed meanwhile.
    params = params_of(config, "distill", "diagnostics", "nearness", candidate=candidate.model_dump())
    kept = CheckpointFolder(
        checkpoints or workspace.checkpoints, sha256(to_json(makes | own)), every=every, stopping=stopping
    )
    trajectories = followed(workspace, config, name)
    result = optimise(
        train,
        config.distill,
        candidate,
        normalise=Normalisation(recipe.mean, recipe.std),
        streams=Streams.from_seed(config.seed),  # whatever the candidate: all start alike and see the same batches
        device=computed_on,
        trajectories=trajectories,
        checkpoints=kept,
        progress=lambda step, steps, loss: progress(
            Reached(
                step,
                steps,
                loss=loss,
                images=config.distill.real_per_class * len(train.classes),
                device_memory_mb=peak_memory_mb(computed_on),
            )
        ),
    )
    made = (result.images, result.labels)
    card = card_of(
        config,
        train,
        name=name,
        kind="distilled",
        examples=len(result.labels),
        formation=formation,
        diagnostics={"first_loss": result.losses[0], "last_loss": result.losses[-1], **result.learned},
        group_labels=group_labels_of(config.distill, candidate, resolved),
        **looks(workspace, config, train, *made, candidate=candidate, formation=formation, device=computed_on),
    )
    distilled = DistilledSet(result.images, result.labels, card)
    ran_in = {"image": image} if image else {}
    write_bytes(workspace.losses(name), to_csv(["step", "loss"], enumerate(result.losses, start=1)))
    # What is distilled may resemble what it was distilled from.
    write_bytes(workspace.grid(name), blank_png() if contract.get("privacy") == "restricted" else grid_png(distilled))
    beside = provenance | ran_in | of_data(contract) | _derived(config, candidate)
    write_bytes(workspace.set(name) / PROVENANCE_FILE, to_json(beside))
    manifest = write_set(workspace, config, card, distilled, params)
    kept.delete_all()
    return manifest


def _derived(config: Config, candidate: Candidate) -> dict[str, str]:
    """Say what no paper vouches for, where a method is taken further than its own."""
    from fair_distill.distillation.matchers.mtt import DERIVED

    ours = config.distill.matcher.name == "mtt" and candidate.alignment.name != "pooled"
    return {"derived": DERIVED} if ours else {}


def references(workspace: Workspace, config: Config, name: str) -> Manifest:
    """Write a set that candidates are measured against; the full data stay where they are, named by digest."""
    from fair_distill.data.split_file import read_split
    from fair_distill.evaluation.coresets import CORESETS
    from fair_distill.evaluation.references import embedding, subset

    reference = config.reference(name)
    validated(workspace)
    train = read_split(workspace.split("train"))
    made_by = {"reference": reference.model_dump(), "ipc": config.distill.ipc}
    if reference.select == "all":
        card = card_of(config, train, name=name, kind="full", examples=len(train))
        return write_set(workspace, config, card, None, params_of(config, **made_by))
    device = torch_device("cpu", threads=config.threads)
    generator = torch_generator(config.seed, f"references.{reference.select}")
    formation = reference.formation or 1
    embed = None
    if reference.select in CORESETS:
        embed = embedding(
            train, recipe_of(config, train, 1), torch_generator(config.seed, "references.embedding"), device
        )
    images, labels = subset(reference.select, train, config.distill.ipc, formation, generator, embed=embed)
    card = card_of(
        config,
        train,
        name=name,
        kind="subset",
        examples=len(labels),
        formation=formation,
        **looks(workspace, config, train, images, labels, formation=formation, device=device),
    )
    seen_by = {"network": config.distill.network.model_dump()}
    params = params_of(config, "diagnostics", "nearness", **made_by, **seen_by)
    return write_set(workspace, config, card, DistilledSet(images, labels, card), params)
