"""The sections `references` and `evaluate`: the sets to compare with, and the evaluation of all sets."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from fair_distill.config.sections import Choice, Positive, Section


class Plateau(Section):
    """When networks that are trained on all training images have converged: the loss on the tune split stops falling.

    The learning rate is divided by ten after that step, and as many steps follow.

    Attributes
    ----------
    every : steps between two measurements of the loss
    improvement : the share of the smallest loss so far by which a loss must be smaller to count as an improvement
    patience : measurements without an improvement after which the loss has stopped falling
    most : largest number of steps
    """

    every: Positive
    improvement: Annotated[float, Field(ge=0, lt=1)]
    patience: Positive
    most: Positive


# Selections of as many real examples as a candidate has, for references and for candidates.
Subset = Literal["random", "group_balanced", "herding", "k_centre", "medoids"]


class Reference(Section):
    """A set of real images, or a constant answer, with which candidates are compared.

    Attributes
    ----------
    select : `all` the training images; all of them, `resampled` so that the groups of a class have equal size; as many
        as a candidate has: at `random`, the same number from each group (`group_balanced`), or by a coreset method
        (`herding`, `k_centre`, `medoids`). `majority` has no images: it always answers the most frequent class of the
        training images. Random selections are drawn again for each of evaluate.seeds
    formation : store a mosaic of formation × formation smaller images as one image; distill.formation if omitted
    plateau : for `all` and `resampled`, train to convergence; without it, recipe.steps apply
    """

    # Selections without a file of their own: the training split defines them. Every other selection has ipc images.
    WHOLE: ClassVar[tuple[str, ...]] = ("all", "resampled")
    WITHOUT_FILES: ClassVar[tuple[str, ...]] = (*WHOLE, "majority")
    # Selections that depend on chance.
    DRAWN: ClassVar[tuple[str, ...]] = ("random", "group_balanced", "k_centre", "medoids")

    select: Literal["all", "resampled", "majority", Subset]
    formation: Annotated[int, Field(ge=1, le=4)] | None = None
    plateau: Annotated[Plateau | None, Field(exclude_if=lambda value: value is None)] = None

    @property
    def has_files(self) -> bool:
        """Whether the reference has a set of its own, with as many images as a candidate."""
        return self.select not in self.WITHOUT_FILES

    @model_validator(mode="after")
    def _fits(self) -> "Reference":
        if self.plateau is not None and self.select not in self.WHOLE:
            raise ValueError(f"`plateau` is for `select: all` and `select: resampled`, not {self.select!r}; remove it")
        if self.formation is not None and not self.has_files:
            raise ValueError(f"`select: {self.select}` stores no images; remove formation")
        return self


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
