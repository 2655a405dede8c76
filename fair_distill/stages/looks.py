"""What is measured of a set before it is written, on its images as they will be published, for its card."""

from typing import TYPE_CHECKING, TypedDict

from fair_distill.artifacts import Workspace, needed
from fair_distill.card import Nearness, Residuals
from fair_distill.config import Candidate, Config, Named
from fair_distill.stages.seeds import torch_generator

if TYPE_CHECKING:
    import torch

    from fair_distill.data.grouped import Array, GroupedDataset

# The targets that references are held against, which have none of their own.
COBRA = Candidate(alignment=Named(name="barycentric"), barycenter=Named(name="mean"))


class Looks(TypedDict):
    residuals: Residuals
    nearness: Nearness


def looks(
    workspace: Workspace,
    config: Config,
    train: "GroupedDataset",
    images: "Array",
    labels: "Array",
    *,
    candidate: Candidate = COBRA,
    formation: int,
    device: "torch.device",
) -> Looks:
    """Measure how far a set lies from its groups, under the same networks for every set, and how near to its data.

    What nearness is held against are the images of the tune split.
    """
    from fair_distill.data.schema import read_split
    from fair_distill.distillation.alignment import build_alignment
    from fair_distill.distillation.diagnostics import diagnose
    from fair_distill.distillation.nearness import nearness
    from fair_distill.distillation.networks import build
    from fair_distill.distillation.sampling import normalisation

    named, generator = config.distill.network, torch_generator(config, "diagnostics")
    networks = [
        build(named.name, named.options, train.shape, len(train.classes), generator)
        for _ in range(config.diagnostics.networks)
    ]
    return {
        "residuals": diagnose(
            train,
            images,
            labels,
            alignment=build_alignment(candidate, train.counts, train.group_names, device=device),
            formation=formation,
            normalise=normalisation(train),
            networks=networks,
            rows_per_cell=config.diagnostics.rows_per_cell,
            device=device,
        ),
        "nearness": nearness(
            images,
            labels,
            train,
            read_split(needed(workspace.split("tune"), made_by="fair-distill prepare")),
            formation=formation,
            quantile=config.nearness.quantile,
            holdout_per_class=config.nearness.holdout_per_class,
            device=device,
        ),
    }
