"""What is measured of a set before it is written, on its images as they will be published, for its card."""

from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from fair_distill.card import Nearness, Residuals
from fair_distill.config import Candidate, Config, Named
from fair_distill.files import require_file
from fair_distill.seeds import torch_generator
from fair_distill.workspace import Workspace

if TYPE_CHECKING:
    import torch

    from fair_distill.data.grouped_dataset import Array, GroupedDataset

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

    What nearness is held against are the images of the tune split. Rows of a table are compared as networks see them,
    with numbers standardised: in their own units a single wide column would be all that counts.
    """
    import numpy as np
    import torch

    from fair_distill.audit.near_copies import count_near_copies
    from fair_distill.audit.residuals import measure_residuals
    from fair_distill.data.split_file import read_split
    from fair_distill.distillation.alignment import alignment_for
    from fair_distill.distillation.networks import build
    from fair_distill.distillation.sampling import normalisation

    if not train.known.all():
        train = train.of_known_groups()
    normalise = normalisation(train)
    holdout = read_split(require_file(workspace.split("tune"), made_by="fair-distill prepare"))
    published, distilled_from, unseen = images, train, holdout
    if train.schema is not None:

        def standardised(rows: "Array") -> "Array":
            seen: Array = normalise.apply(torch.from_numpy(np.array(rows))).numpy()
            return seen

        published = standardised(images)
        distilled_from, unseen = (
            replace(split, images=standardised(split.images), schema=None) for split in (train, holdout)
        )
    named, generator = config.distill.network, torch_generator(config.seed, "diagnostics")
    networks = [
        build(named.name, named.options, train.shape, len(train.classes), generator, custom=True)
        for _ in range(config.diagnostics.networks)
    ]
    return {
        "residuals": measure_residuals(
            train,
            images,
            labels,
            alignment=alignment_for(train, config.distill, candidate, device=device),
            formation=formation,
            normalise=normalise,
            networks=networks,
            rows_per_cell=config.diagnostics.rows_per_cell,
            device=device,
        ),
        "nearness": count_near_copies(
            published,
            labels,
            distilled_from,
            unseen,
            formation=formation,
            quantile=config.nearness.quantile,
            holdout_per_class=config.nearness.holdout_per_class,
            device=device,
        ),
    }
