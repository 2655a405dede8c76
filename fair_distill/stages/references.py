"""Stage `references`: select a set of real examples that candidates are compared with."""

from typing import TYPE_CHECKING

from fair_distill.config import Config, Reference
from fair_distill.distilled_set import DistilledSet
from fair_distill.files import require_file, sha256
from fair_distill.registry.manifest import SET_FILE, Manifest, write_version
from fair_distill.seeds import torch_generator
from fair_distill.stages.device import torch_device
from fair_distill.stages.set_record import make_card, make_manifest, set_params, training_recipe
from fair_distill.stages.training_units import training_units_entry
from fair_distill.stages.validate import read_validation
from fair_distill.workspace import Workspace

if TYPE_CHECKING:
    import torch

    from fair_distill.data.grouped_dataset import Array, GroupedDataset


def select_reference(workspace: Workspace, config: Config, name: str) -> Manifest:
    """Select a reference and write its set and manifest.

    The reference of all training examples gets a manifest without a file, which names the training split by digest.
    """
    from fair_distill.audit.measurements import measure_set
    from fair_distill.data.split_file import read_split

    reference = config.reference(name)
    read_validation(workspace)
    train, source = read_split(workspace.split("train")), sha256(workspace.split("train"))
    units = training_units_entry(train)
    selection = {"reference": reference.model_dump(), "ipc": config.distill.ipc}
    if reference.select == "all":
        card = make_card(config, train, name=name, kind="full", examples=len(train))
        manifest = make_manifest(config, card, {}, params=set_params(config, **selection, **units), source=source)
        write_version(workspace.set(name), manifest, {})
        return manifest
    tune = read_split(require_file(workspace.split("tune"), made_by="fair-distill stage prepare"))
    device = torch_device("cpu", threads=config.threads)

    formation = reference.formation or 1
    images, labels = select_examples(config, reference, train, device)
    measured = measure_set(images, labels, train, tune, config, formation=formation, device=device)
    card = make_card(config, train, name=name, kind="subset", examples=len(labels), formation=formation, **measured)
    network = {"network": config.distill.network.model_dump()}
    params = set_params(config, "diagnostics", "nearness", **selection, **network, **units)
    files = {SET_FILE: DistilledSet(images, labels, card).to_parquet()}
    manifest = make_manifest(config, card, files, params=params, source=source)

    write_version(workspace.set(name), manifest, files)
    return manifest


def select_examples(
    config: Config, reference: Reference, train: "GroupedDataset", device: "torch.device"
) -> tuple["Array", "Array"]:
    """Return the images and labels of a reference that is not the whole training split."""
    from fair_distill.evaluation.coresets import CORESETS
    from fair_distill.evaluation.references import embedding, subset

    generator = torch_generator(config.seed, f"references.{reference.select}")
    embed = None
    if reference.select in CORESETS:
        recipe = training_recipe(config, train, 1)
        embed = embedding(train, recipe, torch_generator(config.seed, "references.embedding"), device)
    return subset(reference.select, train, config.distill.ipc, reference.formation or 1, generator, embed=embed)
