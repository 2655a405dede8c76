"""What sets are measured by: `references` and `evaluate`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fair_distill.config.sections import Choice, Positive, Section


class Reference(Section):
    """Real images to measure against; with a formation above 1, each stored image holds formation² smaller ones."""

    select: Literal["all", "random", "group_balanced", "herding", "k_centre"]
    formation: Annotated[int, Field(ge=1, le=4)] | None = None


class Evaluate(Section):
    """What is trained on every set: so many networks of each architecture, by the set's recipe."""

    seeds: Positive
    networks: Annotated[tuple[Choice, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _distinct(self) -> "Evaluate":
        names = [network.name for network in self.networks]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"the architecture {twice!r} stands twice; verdicts name it, so once is enough")
        return self
