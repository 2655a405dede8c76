"""Clauses on the set itself, whatever networks make of it: what its card says, under the digest that names the set.

`near_copies` is the share of published images that are near copies of training images (`distillation.nearness`). It is
counted and not estimated: the images that are shipped are all the images there are, and nothing is inferred from them
about others. So there is no confidence bound; the clause takes nothing of alpha, and its bound is the number. What
rests on a sample is what counts as near, and that is in the count by its definition: an image drawn as the hold-out
images were has a chance of `expected / images` to count as a near copy. A limit below that refuses sets by chance.

A card without the figure is too little evidence, never a pass.
"""

from fair_distill.card import DatasetCard
from fair_distill.config import Limit
from fair_distill.errors import MeasurementError
from fair_distill.gate.clause import ROUNDING, SHOWN, undecided
from fair_distill.gate.verdict import Culprit, Finding

NEAR_COPIES = "near_copies"
# What the networks that answered are to a clause that no network has a part in.
THE_SET = "the set"


def found_in(limit: Limit, card: DatasetCard, *, bounds: bool) -> Finding:
    """Hold a clause against the card. Raises MeasurementError if the card contradicts itself.

    Parameters
    ----------
    bounds : whether the policy decides by bounds; the outcome is the same
    """
    assert limit.at_most is not None
    near = card.nearness
    if near is None:
        return undecided(limit, THE_SET, f"not measured, the card of {card.name!r} has no nearness to training images")
    if near.images != card.examples * card.recipe.formation**2:
        raise MeasurementError(
            f"the card of {card.name!r} speaks of {near.images:,} images, the set has "
            f"{card.examples * card.recipe.formation**2:,}; distil it again"
        )
    if near.share is None or near.expected is None:
        return undecided(limit, THE_SET, f"not measured, {near.undefined or 'there are no images'}")
    kept = near.share <= limit.at_most + ROUNDING
    told = (
        f"{limit.name}: {near.share:.3f} {'is within' if kept else 'is over'} the limit {limit.at_most:.3f}: "
        f"{near.sentence()}"
    )
    culprits = () if kept else tuple(_culprits(card))
    if culprits:
        told += f"; {culprits[0].sentence}; {culprits[0].remedy}"
    return Finding(
        clause=limit.name,
        metric=limit.metric,
        network=THE_SET,
        outcome="pass" if kept else "fail",
        value=near.share,
        per_seed=None,
        noise=near.expected / near.images,
        bound=near.share if bounds else None,
        limit=limit.at_most,
        waiver=None,
        sentence=told,
        culprits=culprits,
    )


def _culprits(card: DatasetCard) -> list[Culprit]:
    """The classes with most near copies among their images, the worst first."""
    assert card.nearness is not None
    counted = zip(card.classes, card.nearness.near_copies_per_class, card.nearness.images_per_class, strict=True)
    rows = [(count / images, name, count, images) for name, count, images in counted if count]
    return [
        Culprit(
            classes=(name,),
            groups=(),
            rates=(share,),
            examples=(images,),
            value=share,
            bound=None,
            sentence=f"class {name!r} has {count:,} of {images:,}",
            remedy="distil longer (distill.steps), or start from other than real images (distill.start)",
        )
        for share, name, count, images in sorted(rows, key=lambda row: (-row[0], row[1]))[:SHOWN]
    ]
