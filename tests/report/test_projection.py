"""The plane that a class is seen in: closed forms, and what does not change it."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from small_workspace import grouped, run

from fair_distill.audit.projection import ProjectedPoint, class_plane, project
from fair_distill.distillation.networks import build
from fair_distill.distillation.sampling import normalisation
from fair_distill.workspace import Workspace


def test_two_groups_lie_along_the_first_direction_and_the_first_of_them_to_the_left() -> None:
    means = torch.tensor([[3.0, 1.0, 0.0], [-1.0, 1.0, 0.0]], dtype=torch.float64)
    images = torch.tensor([[0.0, 0.0, 5.0], [0.0, 0.0, -5.0], [9.0, 0.1, 0.0]], dtype=torch.float64)

    origin, directions = class_plane(means, images)

    torch.testing.assert_close(origin, torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close((means - origin) @ directions.T, torch.tensor([[-2.0, 0], [2.0, 0]]).double())
    # What varies most besides is the third axis: along the first, the second direction sees nothing.
    assert abs(float(directions[1, 2])) == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(directions @ directions.T, torch.eye(2).double())


def test_three_groups_in_a_plane_keep_their_distances() -> None:
    means = torch.tensor([[0.0, 0, 0, 1], [4, 0, 0, 1], [1, 3, 0, 1]], dtype=torch.float64)
    origin, directions = class_plane(means, torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).double())

    torch.testing.assert_close(
        torch.cdist((means - origin) @ directions.T, (means - origin) @ directions.T), torch.cdist(means, means)
    )


def test_a_class_of_one_group_that_does_not_vary_is_a_point() -> None:
    means = torch.ones(1, 3, dtype=torch.float64)
    origin, directions = class_plane(means, means.repeat(4, 1))

    assert not directions.any()
    assert ((means - origin) @ directions.T).tolist() == [[0.0, 0.0]]


def points_of(images: np.ndarray, labels: np.ndarray) -> list[ProjectedPoint]:  # type: ignore[type-arg]
    train = grouped([[30, 4], [6, 25]])
    network = build("convnet", {"width": 8, "depth": 2}, train.shape, 2, torch.Generator().manual_seed(1))
    return list(
        project(train, {"s": (images, labels, 1)}, normalise=normalisation(train), network=network, rows_per_cell=99)
    )


def test_a_set_that_is_one_group_lies_where_that_group_lies() -> None:
    train = grouped([[30, 4], [6, 25]])
    own = (train.labels == 0) & (train.group_indices == 0)
    found = points_of((train.images[own] / 255).astype(np.float32), train.labels[own])

    mean = next(p for p in found if (p.kind, p.label, p.group) == ("mean", "class0", "group0"))
    centre = next(p for p in found if p.kind == "centre")
    assert (centre.x, centre.y) == pytest.approx((mean.x, mean.y), abs=1e-5)
    assert {p.label for p in found if p.set == "s"} == {"class0"}  # nothing is said of a class it has no images of


def test_the_plane_is_that_of_the_real_images_whatever_the_set() -> None:
    train = grouped([[30, 4], [6, 25]])
    images = (train.images / 255).astype(np.float32)

    real = [
        [p for p in points_of(images[rows], train.labels[rows]) if p.set == ""] for rows in (slice(0, 3), slice(40, 60))
    ]

    assert real[0] == real[1]


def test_the_stage_writes_every_set_with_images_and_the_same_bytes_again(workspace: Path) -> None:
    assert run(workspace, "project").code == 0
    at = Workspace(workspace).projection
    first = at.read_bytes()
    with at.open() as file:
        rows = list(csv.DictReader(file))

    assert {row["set"] for row in rows} == {"", "random", "balanced", "pooled", "barycentric"}
    assert sum(row["what"] == "mean" for row in rows) == 20
    assert sum(row["set"] == "pooled" and row["what"] == "image" for row in rows) == 20
    assert run(workspace, "project").code == 0
    assert at.read_bytes() == first
