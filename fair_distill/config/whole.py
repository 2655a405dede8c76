"""params.yaml as one value."""

from typing import Annotated, TypeVar

from pydantic import Field, model_validator

from fair_distill.config.base import DatasetName, Positive, Section, Slug
from fair_distill.config.data import Data
from fair_distill.config.distill import Candidate, Diagnostics, Distill, Nearness, Recipe
from fair_distill.config.evaluate import Evaluate, Reference
from fair_distill.config.gate import Gate
from fair_distill.config.validate import Validate
from fair_distill.errors import ConfigError


class Release(Section):
    """What is released, through which channels, and by whose keys: with keys, the unsigned is not promoted."""

    candidate: Slug
    channels: Annotated[list[Slug], Field(min_length=1)]
    signed_by: list[Annotated[str, Field(pattern="^ed25519:[0-9a-f]{64}$")]]


class Config(Section):
    engine: Positive
    seed: Annotated[int, Field(ge=0)]
    threads: Positive
    dataset: DatasetName
    data: Data
    validate_: Annotated[Validate, Field(alias="validate")]
    recipe: Recipe
    distill: Distill
    diagnostics: Diagnostics
    nearness: Nearness
    candidates: Annotated[dict[Slug, Candidate], Field(min_length=1)]
    references: dict[Slug, Reference]
    sets: Annotated[list[Slug], Field(min_length=1)]
    evaluate: Evaluate
    gate: Gate
    release: Release

    @model_validator(mode="after")
    def _names(self) -> "Config":
        both = self.candidates.keys() & self.references.keys()
        if both:
            raise ValueError(f"{', '.join(sorted(both))}: a name is a candidate or a reference, not both")
        known = [*self.references, *self.candidates]
        for name in self.sets:
            if name not in known:
                raise ValueError(f"sets names {name!r}; choose from {', '.join(known)}")
            if self.sets.count(name) > 1:
                raise ValueError(f"sets names {name!r} twice")
        if self.release.candidate not in self.candidates:
            raise ValueError(
                f"release.candidate is {self.release.candidate!r}; choose one of {', '.join(self.candidates)}"
            )
        return self

    def candidate(self, name: str) -> Candidate:
        return _of(self.candidates, name, "candidates")

    def reference(self, name: str) -> Reference:
        return _of(self.references, name, "references")


T = TypeVar("T")


def _of(section: dict[str, T], name: str, where: str) -> T:
    if name not in section:
        raise ConfigError(f"params.yaml: {where} has no {name!r}; choose one of {', '.join(section)}")
    return section[name]
