"""Stage `references`: select a set of real examples that candidates are compared with."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fair_distill.card import DatasetCard
from fair_distill.config import Config, Plateau, Reference
from fair_distill.distilled_set import DistilledSet
from fair_distill.files import require_file, sha256
from fair_distill.registry.manifest import SET_FILE, Manifest, write_version
from fair_distill.seeds import numpy_generator, torch_generator
from fair_distill.stages.device import torch_device
from fair_distill.stages.set_record import draw_file, make_card, make_manifest, set_params, training_recipe
from fair_distill.stages.training_units import training_units_entry
from fair_distill.stages.validate import read_validation
from fair_distill.workspace import Workspace

if TYPE_CHECKING:
    import torch

    from fair_distill.data.grouped_dataset import Array, GroupedDataset


def select_reference(workspace: Workspace, config: Config, name: str) -> Manifest:
    """Select a reference and write its set and manifest.

    The references that the training split defines get a manifest without a file, which names the split by digest. A
    random selection is drawn once for each of evaluate.seeds. The first draw is the set that the card describes.
    """
    from fair_distill.audit.measurements import measure_set
    from fair_distill.data.split_file import read_split

    reference = config.reference(name)
    read_validation(workspace)
    train, source = read_split(workspace.split("train")), sha256(workspace.split("train"))
    units = training_units_entry(train)
    selection: dict[str, Any] = {"reference": reference.model_dump(), "ipc": config.distill.ipc}
    if not reference.has_files:
        card = _card_without_files(workspace, config, name, train)
        if reference.plateau is not None:
            selection["networks"] = [network.model_dump() for network in config.evaluate.networks]
        manifest = make_manifest(config, card, {}, params=set_params(config, **selection, **units), source=source)
        write_version(workspace.set(name), manifest, {})
        return manifest
    tune = read_split(require_file(workspace.split("tune"), made_by="fair-distill stage prepare"))
    device = torch_device("cpu", threads=config.threads)

    formation = reference.formation or config.distill.formation
    draws = select_draws(config, reference, train, device)
    images, labels = draws[0]
    measured = measure_set(images, labels, train, tune, config, formation=formation, device=device)
    card = make_card(config, train, name=name, kind="subset", examples=len(labels), formation=formation, **measured)
    network = {"network": config.distill.network.model_dump()}
    if len(draws) > 1:
        selection["draws"] = len(draws)
    params = set_params(config, "diagnostics", "nearness", **selection, **network, **units)
    files = {SET_FILE: DistilledSet(images, labels, card).to_parquet()}
    # What was measured on the first draw does not describe the others.
    plain = replace(card, residuals=None, nearness=None, relations=None)
    for number, (more_images, more_labels) in enumerate(draws[1:], start=1):
        files[draw_file(number)] = DistilledSet(more_images, more_labels, plain).to_parquet()
    manifest = make_manifest(config, card, files, params=params, source=source)

    write_version(workspace.set(name), manifest, files)
    return manifest


def select_draws(
    config: Config, reference: Reference, train: "GroupedDataset", device: "torch.device"
) -> list[tuple["Array", "Array"]]:
    """Return the images and labels of every draw of a reference with files: one for each seed of the evaluation.

    The networks of an evaluation then differ by draw, too, so that bounds contain the scatter of the draws. A selection
    that does not depend on chance has one draw.
    """
    from fair_distill.evaluation.references import coreset_embedding, subset

    recipe = training_recipe(config, train, 1)
    embed = coreset_embedding(reference.select, train, recipe, seed=config.seed, device=device)
    formation = reference.formation or config.distill.formation
    draws = config.evaluate.seeds if reference.select in Reference.DRAWN else 1
    return [
        subset(
            reference.select,
            train,
            config.distill.ipc,
            formation,
            torch_generator(config.seed, f"references.{reference.select}{f'.{draw}' if draw else ''}"),
            embed=embed,
        )
        for draw in range(draws)
    ]


def training_images(config: Config, reference: Reference, train: "GroupedDataset") -> "GroupedDataset":
    """Return the images that the networks of a reference of the whole training split are trained on."""
    from fair_distill.evaluation.references import resampled

    if reference.select != "resampled":
        return train
    known = train if train.known.all() else train.of_known_groups()
    return resampled(known, numpy_generator(config.seed, "references.resampled"))


def _card_without_files(workspace: Workspace, config: Config, name: str, train: "GroupedDataset") -> DatasetCard:
    reference = config.reference(name)
    if reference.select == "majority":
        return make_card(config, train, name=name, kind="constant", examples=0)
    images = training_images(config, reference, train)
    card = make_card(config, train, name=name, kind="full", examples=len(images))
    if reference.plateau is None:
        return card
    steps, measured = _converge(workspace, config, images, reference.plateau)
    return replace(card, recipe=replace(card.recipe, steps=steps), diagnostics=measured)


def _converge(
    workspace: Workspace, config: Config, images: "GroupedDataset", plateau: Plateau
) -> tuple[int, dict[str, float]]:
    """Return the steps after which the networks of every architecture have converged, and what was measured.

    They are at least recipe.steps, so that no network is trained on all images for fewer steps than on a small set.
    """
    import torch

    from fair_distill.data.split_file import read_split
    from fair_distill.distillation.networks import Network
    from fair_distill.distillation.sampling import Normalisation, reader
    from fair_distill.evaluation.convergence import find_plateau, mean_loss

    device = torch_device("cpu", threads=config.threads)
    tune = read_split(require_file(workspace.split("tune"), made_by="fair-distill stage prepare"))
    recipe = training_recipe(config, images, 1)
    normalise = Normalisation(recipe.mean, recipe.std)
    rows, rows_of_tune = (reader(split.images, normalise, device) for split in (images, tune))
    labels, labels_of_tune = (torch.tensor(split.labels, dtype=torch.int64, device=device) for split in (images, tune))

    def loss_on_tune(network: Network) -> float:
        return mean_loss(network, rows_of_tune, labels_of_tune)

    steps, measured = config.recipe.steps, {}
    for network in config.evaluate.networks:
        convergence = find_plateau(
            replace(recipe, network={"name": network.name, "options": network.options}),
            rows,
            labels,
            loss_on_tune,
            plateau,
            shape=images.shape,
            classes=len(images.classes),
            generator=torch_generator(config.seed, f"references.plateau.{network.name}"),
        )
        steps = max(steps, convergence.steps)
        measured[f"steps_{network.name}"] = float(convergence.steps)
        measured[f"loss_on_tune_{network.name}"] = convergence.loss
        measured[f"converged_{network.name}"] = float(convergence.converged)
    return steps, measured
