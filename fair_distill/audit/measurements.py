"""Measurements of a finished set for its card: group residuals and near copies of training data."""

from dataclasses import replace
from typing import TypedDict

import numpy as np
import torch

from fair_distill.audit.near_copies import count_near_copies
from fair_distill.audit.residuals import measure_residuals
from fair_distill.card import Nearness, Relation, Relations, Residuals
from fair_distill.config import Candidate, Config, Named
from fair_distill.data.column_relations import broken_relations, find_relations
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.alignment import alignment_for
from fair_distill.distillation.networks import build
from fair_distill.distillation.sampling import normalisation
from fair_distill.seeds import torch_generator

# References have no alignment, so their residuals are measured against the targets of COBRA.
COBRA = Candidate(alignment=Named(name="barycentric"), barycenter=Named(name="mean"))


class SetMeasurements(TypedDict):
    """The fields of the card that are measured."""

    residuals: Residuals
    nearness: Nearness
    relations: Relations | None


def measure_set(
    images: Array,
    labels: Array,
    train: GroupedDataset,
    holdout: GroupedDataset,
    config: Config,
    *,
    candidate: Candidate = COBRA,
    formation: int,
    device: torch.device,
) -> SetMeasurements:
    """Measure how far a set is from its groups and how near it is to its training data.

    All sets are measured with the same untrained networks. Rows of a table are compared after standardisation,
    because a column with large units would otherwise dominate the distance.

    Parameters
    ----------
    images, labels : the set as it will be published
    train : the training split; examples of unknown group are left out
    holdout : the tune split, whose distances to the training data are the yardstick for near copies
    candidate : alignment and barycenter that define the targets
    """
    if not train.known.all():
        train = train.of_known_groups()
    normalise, table = normalisation(train), train
    published, training, unseen = images, train, holdout
    if train.schema is not None:

        def standardised(rows: Array) -> Array:
            numbers: Array = normalise.apply(torch.from_numpy(np.array(rows))).numpy()
            return numbers

        published = standardised(images)
        training, unseen = (
            replace(split, images=standardised(split.images), schema=None) for split in (train, holdout)
        )
    architecture, generator = config.distill.network, torch_generator(config.seed, "diagnostics")
    networks = [
        build(architecture.name, architecture.options, train.shape, len(train.classes), generator, custom=True)
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
            training,
            unseen,
            formation=formation,
            quantile=config.nearness.quantile,
            holdout_per_class=config.nearness.holdout_per_class,
            device=device,
        ),
        "relations": None if table.schema is None else count_broken(images, table),
    }


def count_broken(images: Array, train: GroupedDataset) -> Relations:
    """Return the relations between the columns of training rows, and the rows of a set that break them."""
    schema = train.schema
    assert schema is not None
    relations = find_relations(schema, train.images)
    broken = broken_relations(schema, relations, images)
    names = [column.name for column in schema.columns]
    return Relations(
        rows=len(images),
        broken=int(broken.any(axis=0).sum()),
        relations=tuple(
            Relation(names[relation.determinant], names[relation.dependent], relation.share, int(rows.sum()))
            for relation, rows in zip(relations, broken, strict=True)
        ),
    )
