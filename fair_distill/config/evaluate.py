"""The sections `references` and `evaluate`: the sets to compare with, and the evaluation of all sets."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fair_distill.config.sections import Choice, Positive, Section


class Reference(Section):
    """A set of real images, with which candidates are compared.

    Attributes
    ----------
    select : `all` the training images, or as many as a candidate has: at `random`, the same number from each group
        (`group_balanced`), or by a coreset method (`herding`, `k_centre`)
    formation : store a mosaic of formation × formation smaller images as one image
    """

    select: Literal["all", "random", "group_balanced", "herding", "k_centre"]
    formation: Annotated[int, Field(ge=1, le=4)] | None = None


class Evaluate(Section):
    """The networks that are trained on every set with the recipe of the set, to measure it.

    Attributes
    ----------
    seeds : networks of each architecture, which differ by their seed
    networks : the architectures; a limit applies to the worst of them
    """

    seeds: Positive
    networks: Annotated[tuple[Choice, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _distinct(self) -> "Evaluate":
        names = [network.name for network in self.networks]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(
                f"networks contains {twice!r} twice; remove one, because verdicts identify a network by its name"
            )
        return self
