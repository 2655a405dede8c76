"""params.yaml as one value."""

from typing import Annotated, TypeVar

from pydantic import Field, model_validator

from fair_distill.config.data import Data
from fair_distill.config.distill import Candidate, Diagnostics, Distill, Nearness, Recipe
from fair_distill.config.evaluate import Evaluate, Reference
from fair_distill.config.gate import Exam, Gate, PublicKey, shortfall
from fair_distill.config.sections import DatasetName, Positive, Section, Slug
from fair_distill.config.validate import Validate
from fair_distill.errors import ConfigError


class Approvals(Section):
    """How many people must have approved a version before a channel has it, and by whose keys."""

    at_least: Positive
    by: Annotated[list[PublicKey], Field(min_length=1)]

    @model_validator(mode="after")
    def _can_be_had(self) -> "Approvals":
        if len(set(self.by)) != len(self.by):
            raise ValueError("by names a key twice; a person approves once")
        if self.at_least > len(self.by):
            raise ValueError(f"at_least is {self.at_least}, and by names {len(self.by)} keys")
        return self


class Release(Section):
    """What is released, through which channels, and by whose keys: with keys, the unsigned is not promoted.

    Attributes
    ----------
    approvals : by channel, whose consent it needs besides the gate's; a channel that is not named needs none
    """

    candidate: Slug
    channels: Annotated[list[Slug], Field(min_length=1)]
    signed_by: list[PublicKey]
    approvals: dict[Slug, Approvals]

    @model_validator(mode="after")
    def _of_channels(self) -> "Release":
        unknown = sorted(self.approvals.keys() - set(self.channels))
        if unknown:
            raise ValueError(f"approvals names {unknown[0]!r}; the channels are {', '.join(self.channels)}")
        return self


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
        if "promoted" in known:
            raise ValueError(
                "promoted is what a channel has now, and no name of a set; rename the candidate or reference"
            )
        for name in self.sets:
            if name not in known:
                raise ValueError(f"sets names {name!r}; choose from {', '.join(known)}")
            if self.sets.count(name) > 1:
                raise ValueError(f"sets names {name!r} twice")
        if self.release.candidate not in self.candidates:
            raise ValueError(
                f"release.candidate is {self.release.candidate!r}; choose one of {', '.join(self.candidates)}"
            )
        for limit in self.gate.limits:
            if limit.over is not None and limit.over not in (others := (*self.references, "promoted")):
                raise ValueError(
                    f"gate.limits: {limit.name}: references has no {limit.over!r}; choose one of {', '.join(others)}"
                )
        if self.gate.exam is not None:
            fault = shortfall(self.exam, self.gate.exam.model_copy(update={"split": None}))
            if fault:
                raise ValueError(f"evaluate and recipe do not satisfy gate.exam: {fault}. Change one of them")
        return self

    @property
    def exam(self) -> Exam:
        """What `evaluate` and `recipe` say about the evaluation of every set."""
        return Exam(networks=self.evaluate.networks, seeds=self.evaluate.seeds, recipe=self.recipe)

    def candidate(self, name: str) -> Candidate:
        return _of(self.candidates, name, "candidates")

    def reference(self, name: str) -> Reference:
        return _of(self.references, name, "references")


T = TypeVar("T")


def _of(section: dict[str, T], name: str, where: str) -> T:
    if name not in section:
        raise ConfigError(f"params.yaml: {where} has no {name!r}; choose one of {', '.join(section)}")
    return section[name]
