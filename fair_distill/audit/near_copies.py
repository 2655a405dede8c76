"""How near published images are to training images, against how near images are that no training has seen.

A set that starts from real images and moves little publishes its training data. What "little" is depends on the data:
two portraits are farther apart than two ones in the same hand. So the measure is the hold-out split: an image is a
**near copy** if it is nearer to a training image than all but a small share of hold-out images are.

The distance is to the nearest training image of any class, under three metrics: of pixels; of coarse shapes, which fine
noise, brightness and contrast do not fool; and of spectra, which shifts do not fool either. Each is divided by the
median of the hold-out images of the same class, and the smallest counts. That one number, the relative distance, is
held against the same number of N hold-out images, of all classes, by its rank:

    p = (1 + #{hold-out images at most as far}) / (1 + N),    near copy: p ≤ quantile.

An image drawn as the hold-out images were has a chance of ⌊quantile · (N + 1)⌋ / (N + 1) to count as one, whatever the
distances look like (the rank of one among exchangeable ones; that medians come from the hold-out images themselves
shows in no figure: over 60 splits of digits, 4.9 % ± 0.3 of unseen images were near copies at 5 %). It takes classes in
like proportions, and images drawn singly: of the copies that show the same thing in several groups, and of the images
of one person (`pairs`), one is taken, groups in turn. An image that is a training image to half a grey level is a near
copy however many hold-out images are so too.

In multi-formation each tile of a published image is looked at for itself, at the size it is stored in, against real
images made as small: a tile holds no more than that, and enlarging both would only repeat it. So a mosaic of real
images is found out.

Not a proof of privacy: an image may give away what it is not near to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fair_distill.card import Nearness
from fair_distill.data.grouped_dataset import Array, Cell, GroupedDataset
from fair_distill.distillation.real import in_unit, spread_evenly
from fair_distill.distillation.synthetic import encode, shrink, tiles

_BATCH = 512
_COARSE = 8
_SAME = 0.5 / 255

Metric = Callable[[Tensor], Tensor]


def pixels(images: Tensor) -> Tensor:
    """Return features (N, D) whose Euclidean distance is the root mean square difference of pixels."""
    flat = images.flatten(1)
    features: Tensor = flat / flat.shape[1] ** 0.5
    return features


def shapes(images: Tensor) -> Tensor:
    """Return images at 8×8 pixels at most, less their mean, at norm 1: (N, D). The distance is √(2 − 2·correlation).

    Fine noise averages out; brightness changes the mean alone, and contrast the norm alone.
    """
    height, width = (min(side, _COARSE) for side in images.shape[2:])
    flat = F.adaptive_avg_pool2d(images, (height, width)).flatten(1)
    return F.normalize(flat - flat.mean(dim=1, keepdim=True), dim=1, eps=1e-6)


def spectra(images: Tensor) -> Tensor:
    """Return the magnitudes of each channel's frequencies up to 4 a side, without the mean, at norm 1: (N, D).

    A shift changes phases alone; the rest is as for `shapes`.
    """
    most = [min(side, _COARSE) // 2 for side in images.shape[2:]]
    frequencies = torch.fft.rfft2(images, norm="ortho").abs()[..., : most[1] + 1]
    frequencies[:, :, 0, 0] = 0
    low = torch.cat([frequencies[:, :, : most[0] + 1], frequencies[:, :, images.shape[2] - most[0] :]], dim=2)
    return F.normalize(low.flatten(1), dim=1, eps=1e-6)


# The metrics of which the nearest counts; the first is the one in which a copy is a copy.
METRICS: tuple[Metric, ...] = (pixels, shapes, spectra)


@dataclass(frozen=True, eq=False)
class Compared:
    """What was found of each published image (tile), in their order. N images.

    Attributes
    ----------
    relative : float (N,), distance to the nearest training image over what is usual of the class; NaN where nothing is
    p : float (N,), the chance of a hold-out image to be as near; NaN likewise
    copies : bool (N,), whether it is a training image to half a grey level
    holdout : hold-out images that were compared with
    """

    labels: Array
    relative: Array
    p: Array
    copies: Array
    holdout: int


@torch.no_grad()
def compare(
    images: Array,
    labels: Array,
    train: GroupedDataset,
    holdout: GroupedDataset,
    *,
    formation: int,
    holdout_per_class: int,
    device: torch.device,
) -> Compared:
    """Compare every published image with the training images, as hold-out images compare with them.

    Parameters
    ----------
    images, labels : the set as published: float32 (N, channels, height, width), real pixels over 255, and (N,)
    formation : tiles along a side of each published image
    holdout_per_class : hold-out images of a class that are looked at, at most
    """
    rows, of = _singly(holdout, holdout_per_class)
    published = _inside(tiles(torch.tensor(images), formation), images.shape[2:], formation)
    of_published = np.repeat(labels, formation**2)
    unseen = _as_tiles(in_unit(holdout.images[rows]), formation)
    turns = np.arange(len(rows)) % len(unseen)
    queries = torch.cat([published, unseen[turns, np.arange(len(rows))]]).to(device)
    places = np.concatenate([np.arange(len(published)) % len(unseen), turns])
    distances = _nearest(queries, places, train, formation)
    own, theirs = distances[:, : len(published)], distances[:, len(published) :]

    usual = np.full((len(METRICS), len(train.classes)), np.nan)
    for label in np.unique(of):
        usual[:, label] = np.median(theirs[:, of == label], axis=1)
    relative, unseen_relative = _relative(own, usual[:, of_published]), _relative(theirs, usual[:, of])
    ranked = np.sort(unseen_relative[~np.isnan(unseen_relative)])
    p = (1 + np.searchsorted(ranked, relative, side="right")) / (1 + len(ranked))
    return Compared(of_published, relative, np.where(np.isnan(relative), np.nan, p), own[0] < _SAME, len(ranked))


def nearness(
    images: Array,
    labels: Array,
    train: GroupedDataset,
    holdout: GroupedDataset,
    *,
    formation: int,
    quantile: float,
    holdout_per_class: int,
    device: torch.device,
) -> Nearness:
    """Count the near copies of training images in a published set; parameters as for `compare`.

    Which training images they are near to is neither returned nor kept.

    Parameters
    ----------
    quantile : the share of hold-out images that an image must be nearer than
    """
    found = compare(
        images, labels, train, holdout, formation=formation, holdout_per_class=holdout_per_class, device=device
    )
    classes = range(len(train.classes))
    allowed = int(quantile * (found.holdout + 1) + 1e-9)
    undefined = _undefined(found, train.classes, quantile)
    near = (found.p <= allowed / (found.holdout + 1) + 1e-12) | found.copies
    of_class = [found.labels == label for label in classes]
    return Nearness(
        images=len(found.labels),
        holdout=found.holdout,
        quantile=quantile,
        near_copies=None if undefined else int(near.sum()),
        copies=int(found.copies.sum()),
        expected=None if undefined else _digits(len(near) * allowed / (found.holdout + 1)),
        images_per_class=tuple(int(of.sum()) for of in of_class),
        near_copies_per_class=tuple(None if undefined else int(near[of].sum()) for of in of_class),
        relative_distance=tuple(_digits(np.median(found.relative[of])) if of.any() else None for of in of_class),
        undefined=undefined,
    )


def _undefined(found: Compared, classes: tuple[str, ...], quantile: float) -> str | None:
    lacking = np.flatnonzero(np.isnan(found.relative))
    if len(lacking):
        name = classes[int(found.labels[lacking[0]])]
        return f"class {name!r} has no hold-out images, or half of them are training images"
    if quantile * (found.holdout + 1) + 1e-9 < 1:
        needed = -(-1 // quantile) - 1
        return f"{found.holdout:,} hold-out images cannot show a share of {quantile:g}; {needed:,.0f} can"
    return None


def _digits(value: float) -> float | None:
    """Six digits, so that the last bit of a sum in another order does not name another version; None for NaN."""
    return None if np.isnan(value) else float(f"{value:.6g}")


def _singly(holdout: GroupedDataset, per_class: int) -> tuple[Array, Array]:
    """Return rows of the hold-out split and their classes: one of every pair, groups in turn."""
    groups, chosen = len(holdout.groups), []
    for label in range(len(holdout.classes)):
        first, last = holdout.rows(Cell(label, 0)).start, holdout.rows(Cell(label, groups - 1)).stop
        rows = first + np.argsort(holdout.pairs[first:last], kind="stable")
        starts = np.unique(holdout.pairs[rows], return_index=True)[1]
        for turn, i in enumerate(spread_evenly(range(len(starts)), per_class)):
            copies = rows[starts[i] : starts[i + 1] if i + 1 < len(starts) else None]
            chosen.append(copies[turn % len(copies)])
    rows = np.array(chosen, dtype=np.int64)
    return rows, holdout.labels[rows]


def _relative(distances: Array, usual: Array) -> Array:
    """Return the smallest distance in units of what is usual, over metrics; NaN where none has a usual distance."""
    share = np.divide(distances, usual, out=np.full(distances.shape, np.inf), where=usual > 0)
    least = share.min(axis=0)
    return np.where(np.isinf(least), np.nan, least)


def _as_tiles(real: Tensor, formation: int) -> Tensor:
    """Return real images as they would be in a mosaic, (places, N, ...): at each place, or at one if all are alike.

    Where the side is no multiple of the formation, mosaics are fitted into it, and tiles of one image differ by place.
    """
    if _fits(real.shape[2:], formation):
        return shrink(real, formation)[None]
    mosaics = encode(real.repeat_interleave(formation**2, dim=0), formation)
    inside = _inside(tiles(mosaics, formation), real.shape[2:], formation)
    by_tile: Tensor = inside.unflatten(0, (len(real), formation**2)).transpose(0, 1)
    return by_tile


def _inside(of_mosaic: Tensor, sides: Sequence[int], formation: int) -> Tensor:
    """Return tiles without the outermost pixels where these are mixed with the next tile's."""
    return of_mosaic if _fits(sides, formation) else of_mosaic[:, :, 1:-1, 1:-1]


def _fits(sides: Sequence[int], formation: int) -> bool:
    return all(side % formation == 0 for side in sides)


def _nearest(queries: Tensor, places: Array, train: GroupedDataset, formation: int) -> Array:
    """Return the distance of every query to the nearest training image under each metric, float64 (metrics, queries).

    Distances come from products of matrices, a batch of training images at a time; those to the nearest are then
    taken anew from the difference, so that a copy is at distance 0.

    Parameters
    ----------
    places : of each query, the place in a mosaic at which training images are compared with it
    """
    of_place = [torch.from_numpy(np.flatnonzero(places == place)) for place in range(places.max() + 1)]
    features = [metric(queries) for metric in METRICS]
    least = torch.full((len(METRICS), len(queries)), torch.inf, device=queries.device)
    found = torch.zeros((len(METRICS), len(queries)), dtype=torch.int64, device=queries.device)

    def real(rows: slice | Array) -> Tensor:
        return _as_tiles(in_unit(train.images[rows]).to(queries.device), formation)

    for start in range(0, len(train), _BATCH):
        for of, theirs in zip(of_place, real(slice(start, start + _BATCH)), strict=True):
            for m, metric in enumerate(METRICS):
                seen = metric(theirs)
                # ||t||² − 2⟨q, t⟩, which orders as the distance does
                near, row = torch.addmm(seen.square().sum(dim=1), features[m][of], seen.T, alpha=-2).min(dim=1)
                nearer = near < least[m, of]
                least[m, of] = torch.where(nearer, near, least[m, of])
                found[m, of] = torch.where(nearer, row + start, found[m, of])
    distances = np.empty((len(METRICS), len(queries)))
    for m, metric in enumerate(METRICS):
        for some in torch.arange(len(queries)).split(_BATCH):
            theirs = real(found[m, some].cpu().numpy())[places[some], np.arange(len(some))]
            distances[m, some] = (features[m][some] - metric(theirs)).double().norm(dim=1).cpu().numpy()
    return distances
