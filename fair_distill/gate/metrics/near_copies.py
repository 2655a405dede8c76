"""Near copies: the share of published images that nearly copy a training image.

The figure comes from the card of the set, which the set's digest covers. It counts the published images themselves, so
nothing is estimated: the clause needs no confidence bound and spends nothing of alpha. A limit below
`expected / images` refuses sets by chance, because an unseen image counts as a near copy with that probability.

A card without the figure makes the clause undecided; it never passes.
"""

from dataclasses import dataclass

from fair_distill.card import DatasetCard
from fair_distill.config import Limit
from fair_distill.errors import MeasurementError
from fair_distill.gate.findings import MOST_CULPRITS, ROUNDING, undecided
from fair_distill.gate.metrics.base import CardMetric
from fair_distill.gate.remedies import near_copies_remedy
from fair_distill.gate.verdict import Culprit, Finding

# The value of `network` in findings that no network contributes to.
THE_SET = "the set"


@dataclass(frozen=True, kw_only=True)
class _NearCopies(CardMetric):
    direction = "at_most"

    def finding(self, limit: Limit, card: DatasetCard, *, bounds: bool) -> Finding:
        """Compare the card's share of near copies with the limit.

        Raises
        ------
        MeasurementError
            If the card counts another number of images than the set has.
        """
        assert limit.at_most is not None
        near = card.nearness
        if near is None:
            return undecided(
                limit, THE_SET, f"not measured, the card of {card.name!r} has no nearness to training images"
            )
        if near.images != card.examples * card.recipe.formation**2:
            raise MeasurementError(
                f"the card of {card.name!r} counts near copies among {near.images:,} images, but the set has "
                f"{card.examples * card.recipe.formation**2:,}. Distil the set again"
            )
        if near.share is None or near.expected is None:
            return undecided(limit, THE_SET, f"not measured, {near.undefined or 'there are no images'}")
        satisfied = near.share <= limit.at_most + ROUNDING
        sentence = (
            f"{limit.name}: {near.share:.3f} {'is within' if satisfied else 'is over'} the limit "
            f"{limit.at_most:.3f}: {near.sentence()}"
        )
        culprits = () if satisfied else _culprits(card)
        if culprits:
            sentence += f"; {culprits[0].sentence}; {culprits[0].remedy}"
        return Finding(
            clause=limit.name,
            metric=limit.metric,
            network=THE_SET,
            outcome="pass" if satisfied else "fail",
            value=near.share,
            per_seed=None,
            noise=near.expected / near.images,
            bound=near.share if bounds else None,
            limit=limit.at_most,
            waiver=None,
            sentence=sentence,
            culprits=culprits,
        )


def _culprits(card: DatasetCard) -> tuple[Culprit, ...]:
    """Return the classes with the largest share of near copies, the largest first."""
    assert card.nearness is not None
    counts = zip(card.classes, card.nearness.near_copies_per_class, card.nearness.images_per_class, strict=True)
    rows = [(count / images, name, count, images) for name, count, images in counts if count]
    return tuple(
        Culprit(
            classes=(name,),
            groups=(),
            rates=(share,),
            examples=(images,),
            value=share,
            bound=None,
            sentence=f"class {name!r} has {count:,} of {images:,}",
            remedy=near_copies_remedy(card.kind),
        )
        for share, name, count, images in sorted(rows, key=lambda row: (-row[0], row[1]))[:MOST_CULPRITS]
    )


NEAR_COPIES = _NearCopies(
    name="near_copies",
    title="Share of near copies of training images",
    short="near copies",
    definition="Share of published images that are near copies of training images, from the card of the set",
    null_hypothesis="none: it is counted, not estimated",
    bound="the value itself",
)
