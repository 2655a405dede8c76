"""params.yaml as one value, with the rules that concern several sections."""

from collections.abc import Collection
from typing import Annotated, TypeVar

from pydantic import Field, model_validator

from fair_distill.config.candidates import BEST, AnyCandidate, Best, CandidateKind
from fair_distill.config.data import Data
from fair_distill.config.distill import Diagnostics, Distill, Nearness, Recipe
from fair_distill.config.evaluate import Evaluate, Reference
from fair_distill.config.gate import Exam, Gate, PublicKey, shortfall
from fair_distill.config.labels import Labels
from fair_distill.config.sections import DatasetName, Positive, PositiveFloat, Section, Slug
from fair_distill.config.validate import Validate
from fair_distill.errors import ConfigError


class Approvals(Section):
    """The approvals that a channel requires before a version is promoted to it.

    Attributes
    ----------
    at_least : approvals by different keys
    by : the public keys of the people who may approve
    """

    at_least: Positive
    by: Annotated[list[PublicKey], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_possible(self) -> "Approvals":
        if len(set(self.by)) != len(self.by):
            raise ValueError("by contains the same key twice; list each key once")
        if self.at_least > len(self.by):
            raise ValueError(
                f"at_least is {self.at_least}, but by lists {len(self.by)} keys; add keys, or lower at_least"
            )
        return self


class Release(Section):
    """The candidate to publish, and the rules of its promotion.

    Attributes
    ----------
    candidate : the candidate that `publish` publishes
    channels : the channels to which a version can be promoted, for example staging and production
    signed_by : public keys; if there are any, only versions and verdicts that one of them signed are promoted
    approvals : for each channel, the approvals that it requires in addition to a verdict; other channels require none
    """

    candidate: Slug
    channels: Annotated[list[Slug], Field(min_length=1)]
    signed_by: list[PublicKey]
    approvals: dict[Slug, Approvals]

    @model_validator(mode="after")
    def _known_channels(self) -> "Release":
        unknown = sorted(self.approvals.keys() - set(self.channels))
        if unknown:
            raise ValueError(
                f"approvals names the channel {unknown[0]!r}; release.channels defines {', '.join(self.channels)}. "
                "Use one of these, or add it there"
            )
        return self


class Budget(Section):
    """Limits for computing. A stage that would exceed one is refused before it starts; see `docs/costs.md`.

    Attributes
    ----------
    days : the runs of this many days count
    cpu_hours : of all processes
    gpu_hours : for which a GPU is occupied
    """

    days: Positive
    cpu_hours: PositiveFloat | None = None
    gpu_hours: PositiveFloat | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> "Budget":
        if self.cpu_hours is None and self.gpu_hours is None:
            raise ValueError("it limits nothing; add cpu_hours or gpu_hours, or remove the section")
        return self


class Config(Section):
    """All sections of params.yaml."""

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
    candidates: Annotated[dict[Slug, CandidateKind], Field(min_length=1)]
    best: Best | None = None
    references: dict[Slug, Reference]
    sets: Annotated[list[Slug], Field(min_length=1)]
    evaluate: Evaluate
    gate: Gate
    release: Release
    labels: Labels | None = None
    budget: Budget | None = None

    @model_validator(mode="after")
    def _names(self) -> "Config":
        both = self.candidates.keys() & self.references.keys()
        if both:
            raise ValueError(f"{', '.join(sorted(both))} is both a candidate and a reference; rename one of them")
        known = [*self.references, *self.candidates]
        if self.best is not None:
            known = _with_best(self.best, known, self.candidates, self.gate)
        if "promoted" in known:
            raise ValueError(
                "the name 'promoted' is reserved for the version that a channel has now; rename the candidate or "
                "the reference"
            )
        for name in self.sets:
            if name not in known:
                raise ValueError(f"sets contains {name!r}; choose from {', '.join(known)}")
            if self.sets.count(name) > 1:
                raise ValueError(f"sets contains {name!r} twice; remove one")
        releasable = [name for name in known if name not in self.references]
        if self.release.candidate not in releasable:
            raise ValueError(f"release.candidate is {self.release.candidate!r}; choose one of {', '.join(releasable)}")
        for limit in self.gate.limits:
            if limit.over is not None and limit.over not in (allowed := (*self.references, "promoted")):
                raise ValueError(
                    f"gate.limits: {limit.name}: references has no {limit.over!r}; choose one of {', '.join(allowed)}"
                )
        if self.gate.exam is not None:
            fault = shortfall(self.exam, self.gate.exam.model_copy(update={"split": None}))
            if fault:
                raise ValueError(f"evaluate and recipe do not satisfy gate.exam: {fault}. Change one of them")
        return self

    @property
    def exam(self) -> Exam:
        """The evaluation of every set, as `evaluate` and `recipe` describe it."""
        return Exam(networks=self.evaluate.networks, seeds=self.evaluate.seeds, recipe=self.recipe)

    def candidate(self, name: str) -> AnyCandidate:
        return _entry(self.candidates, name, "candidates")

    def reference(self, name: str) -> Reference:
        return _entry(self.references, name, "references")


def _with_best(best: Best, known: list[str], candidates: Collection[str], gate: Gate) -> list[str]:
    """Return the names of all sets with that of the set that is chosen. Raises ValueError if it cannot be chosen."""
    if BEST in known:
        raise ValueError(f"the name {BEST!r} is that of the set that is chosen; rename the candidate or the reference")
    unknown = next((name for name in best.sets if name not in known), None)
    if unknown is not None:
        raise ValueError(f"best.sets contains {unknown!r}; choose from {', '.join(known)}")
    if not any(name in candidates for name in best.sets):
        raise ValueError(f"best.sets contains no candidate; add some of {', '.join(candidates)}")
    compared = {limit.over for limit in gate.limits if limit.over not in (None, "promoted")}
    missing = sorted(name for name in compared if name in known and name not in best.sets)
    if missing:
        raise ValueError(
            f"best.sets lacks {missing[0]!r}, which a limit compares with, so no candidate could be judged on the tune "
            "split; add it"
        )
    return [*known, BEST]


T = TypeVar("T")


def _entry(section: dict[str, T], name: str, key: str) -> T:
    if name not in section:
        raise ConfigError(f"params.yaml: {key} has no {name!r}; choose one of {', '.join(section)}")
    return section[name]
