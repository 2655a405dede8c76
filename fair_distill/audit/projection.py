"""A set and its groups in representation space, in two dimensions, for people to look at. It decides nothing.

Every class has a plane of its own, spanned by the first two principal directions of its groups' mean embeddings under
one untrained network. Two groups have one direction between them; the second is then the one in which the class's real
images vary most besides. The plane is made of real images alone, so that every set is seen in the same one, and lengths
in it are lengths between embeddings, less what lies outside of it.

C classes, G groups, D dimensions, n points.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fair_distill.data.grouped_dataset import Array, Cell, GroupedDataset
from fair_distill.distillation.networks import Network
from fair_distill.distillation.real import in_unit, spread_evenly
from fair_distill.distillation.sampling import Normalisation
from fair_distill.distillation.synthetic import decode

# Real images of a class, shared out over its groups: enough to show where each lies; a picture of thousands shows less.
_PER_CLASS, _PER_CELL = 60, 3


@dataclass(frozen=True)
class Point:
    """One point of a class's plane.

    Attributes
    ----------
    set : the set it belongs to; "" for what is real
    what : "real" image or "mean" of a group, or "image" or "centre" of a set
    group : of what is real; "" for a set, whose images belong to none
    """

    set: str
    label: str
    what: str
    group: str
    x: float
    y: float


def plane(means_GD: Tensor, images_nD: Tensor) -> tuple[Tensor, Tensor]:
    """Return a class's origin (D,), which is its groups' unweighted mean, and two orthonormal directions (2, D).

    A direction that nothing varies in is 0, and so is every coordinate along it.

    Parameters
    ----------
    means_GD : its groups' means, G ≥ 1
    images_nD : real images of it
    """
    origin = means_GD.mean(dim=0)
    between = _principal(means_GD - origin)
    away = images_nD - images_nD.mean(dim=0)
    within = _principal(away - away @ between.T @ between)
    both = torch.cat([between, within])[:2]
    return origin, torch.cat([both, both.new_zeros(2 - len(both), both.shape[1])])


def _principal(rows_nD: Tensor) -> Tensor:
    """The principal directions of centred rows, at most two, fewer where the rest is rounding; the first row lies to
    the left or below, so that a picture does not turn over by chance."""
    _, sizes, directions = torch.linalg.svd(rows_nD, full_matrices=False)
    kept = directions[:2][(sizes[:2] > 1e-9 * rows_nD.shape[1]) & (sizes[:2] > 1e-6 * sizes.max())]
    return torch.where((kept @ rows_nD[0] > 0)[:, None], -kept, kept)


@torch.no_grad()
def project(
    dataset: GroupedDataset,
    sets: Mapping[str, tuple[Array, Array, int]],
    *,
    normalise: Normalisation,
    network: Network,
    rows_per_cell: int,
) -> Iterator[Point]:
    """Yield the points of every class: its groups' means, some of its real images, and of each set images and centre.

    Parameters
    ----------
    sets : for each name the published images, their labels, and the tiles along a side of each
    rows_per_cell : real images of a cell that its mean is taken over, at most
    """

    def seen(images: Array, formation: int = 1) -> Tensor:
        parts = decode(normalise.apply(in_unit(images)), formation).split(256)
        return torch.cat([network.embed(part) for part in parts]).double()

    for label, name in enumerate(dataset.classes):
        cells = {
            group: dataset.rows(Cell(label, index))
            for index, group in enumerate(dataset.groups)
            if len(dataset.rows(Cell(label, index)))
        }
        if not cells:
            continue
        clouds = {group: seen(dataset.images[spread_evenly(rows, rows_per_cell)]) for group, rows in cells.items()}
        means_GD = torch.stack([cloud.mean(dim=0) for cloud in clouds.values()])
        origin, directions = plane(means_GD, torch.cat(list(clouds.values())))

        def at(rows_nD: Tensor, origin: Tensor = origin, directions: Tensor = directions) -> list[list[float]]:
            # Rounded, so that the last bit of a sum in another order is no news; and no -0.
            return [[round(x, 6) + 0.0 for x in point] for point in ((rows_nD - origin) @ directions.T).tolist()]

        most = max(_PER_CLASS // len(clouds), _PER_CELL)
        for group, cloud in clouds.items():
            for x, y in at(cloud[spread_evenly(range(len(cloud)), most)]):
                yield Point("", name, "real", group, x, y)
        for group, (x, y) in zip(clouds, at(means_GD), strict=True):
            yield Point("", name, "mean", group, x, y)
        for one, (images, labels, formation) in sets.items():
            if not (labels == label).any():
                continue
            cloud = seen(images[labels == label], formation)
            for x, y in at(cloud):
                yield Point(one, name, "image", "", x, y)
            for x, y in at(cloud.mean(dim=0, keepdim=True)):
                yield Point(one, name, "centre", "", x, y)
