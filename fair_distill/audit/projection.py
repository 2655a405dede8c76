"""A two-dimensional projection of sets and groups in embedding space, for the report. No decision uses it.

Each class has its own plane: the first two principal directions of its groups' mean embeddings under one untrained
network. Two groups span only one direction; the second direction is then the one in which the class's real images vary
most otherwise. Real images alone determine the plane, so all sets are shown in the same plane. Lengths in the plane are
lengths between embeddings, without the part outside the plane.

C classes, G groups, D dimensions, n points.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fair_distill.data.grouped_dataset import Array, Cell, GroupedDataset
from fair_distill.distillation.networks import Network
from fair_distill.distillation.sampling import Normalisation, evenly_spaced, float_images
from fair_distill.distillation.synthetic import decode

# The number of real images per class, shared among its groups, and the smallest number per group. More points would
# make the plot harder to read.
_PER_CLASS, _PER_CELL = 60, 3

# The columns of artifacts/projection.csv, in the order of the fields of ProjectedPoint.
COLUMNS = ("set", "label", "what", "group", "x", "y")


@dataclass(frozen=True)
class ProjectedPoint:
    """One point of a class's plane.

    Attributes
    ----------
    set : the name of the set; "" for real images
    label : the name of the class
    kind : "real" (an image) or "mean" (of a group), or "image" or "centre" of a set
    group : the group of real images; "" for a set, whose images do not belong to a group
    x, y : the coordinates
    """

    set: str
    label: str
    kind: str
    group: str
    x: float
    y: float


def class_plane(means_GD: Tensor, images_nD: Tensor) -> tuple[Tensor, Tensor]:
    """Return a class's origin (D,), the unweighted mean of its groups' means, and two orthonormal directions (2, D).

    A direction without variation is 0, and so are all coordinates along it.

    Parameters
    ----------
    means_GD : the means of its groups, G ≥ 1
    images_nD : embeddings of its real images
    """
    origin = means_GD.mean(dim=0)
    between = _principal_directions(means_GD - origin)
    centred = images_nD - images_nD.mean(dim=0)
    within = _principal_directions(centred - centred @ between.T @ between)
    directions = torch.cat([between, within])[:2]
    return origin, torch.cat([directions, directions.new_zeros(2 - len(directions), directions.shape[1])])


def _principal_directions(rows_nD: Tensor) -> Tensor:
    """Return at most two principal directions of centred rows; fewer if the rest is rounding error.

    The sign is chosen so that the first row has negative coordinates. Otherwise a plot could be mirrored by chance.
    """
    _, sizes, directions = torch.linalg.svd(rows_nD, full_matrices=False)
    significant = directions[:2][(sizes[:2] > 1e-9 * rows_nD.shape[1]) & (sizes[:2] > 1e-6 * sizes.max())]
    return torch.where((significant @ rows_nD[0] > 0)[:, None], -significant, significant)


@torch.no_grad()
def project(
    dataset: GroupedDataset,
    sets: Mapping[str, tuple[Array, Array, int]],
    *,
    normalise: Normalisation,
    network: Network,
    rows_per_cell: int,
) -> Iterator[ProjectedPoint]:
    """Yield the points of every class: its groups' means, some real images, and the images and centre of each set.

    Parameters
    ----------
    sets : for each name, the published images, their labels, and the tiles along each side of an image
    rows_per_cell : the largest number of real images of a cell that its mean is taken over
    """

    def embed(images: Array, formation: int = 1) -> Tensor:
        parts = torch.split(decode(normalise.apply(float_images(images)), formation), 256)
        return torch.cat([network.embed(part) for part in parts]).double()

    for label, name in enumerate(dataset.classes):
        cells = {
            group: dataset.rows(Cell(label, index))
            for index, group in enumerate(dataset.groups)
            if len(dataset.rows(Cell(label, index)))
        }
        if not cells:
            continue
        clouds = {group: embed(dataset.images[evenly_spaced(rows, rows_per_cell)]) for group, rows in cells.items()}
        means_GD = torch.stack([cloud.mean(dim=0) for cloud in clouds.values()])
        origin, directions = class_plane(means_GD, torch.cat(list(clouds.values())))

        def coordinates(rows_nD: Tensor, origin: Tensor = origin, directions: Tensor = directions) -> list[list[float]]:
            # Rounded, because the last bits of a sum depend on its order. Adding 0 turns −0 into 0.
            return [[round(x, 6) + 0.0 for x in point] for point in ((rows_nD - origin) @ directions.T).tolist()]

        limit = max(_PER_CLASS // len(clouds), _PER_CELL)
        for group, cloud in clouds.items():
            for x, y in coordinates(cloud[evenly_spaced(range(len(cloud)), limit)]):
                yield ProjectedPoint("", name, "real", group, x, y)
        for group, (x, y) in zip(clouds, coordinates(means_GD), strict=True):
            yield ProjectedPoint("", name, "mean", group, x, y)
        for set_name, (images, labels, formation) in sets.items():
            if not (labels == label).any():
                continue
            cloud = embed(images[labels == label], formation)
            for x, y in coordinates(cloud):
                yield ProjectedPoint(set_name, name, "image", "", x, y)
            for x, y in coordinates(cloud.mean(dim=0, keepdim=True)):
                yield ProjectedPoint(set_name, name, "centre", "", x, y)
