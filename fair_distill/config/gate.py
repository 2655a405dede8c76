"""The policy: `gate`."""

from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, model_validator

from fair_distill.config.distill import Recipe
from fair_distill.config.sections import Choice, Names, Positive, Section, Slug

PublicKey = Annotated[str, Field(pattern="^ed25519:[0-9a-f]{64}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class GateSplit(Section):
    """The gate split that a policy requires.

    Attributes
    ----------
    sha256 : exactly this file
    examples : at least this many examples, so that the split may grow and never shrink
    """

    sha256: Sha256 | None = None
    examples: Positive | None = None

    @model_validator(mode="after")
    def _some(self) -> "GateSplit":
        if self.sha256 is None and self.examples is None:
            raise ValueError("an empty `split` allows every gate split; name sha256 or examples, or remove `split`")
        return self


class Exam(Section):
    """How a set must be evaluated before its predictions count.

    Attributes
    ----------
    networks : architectures, with their options, that must be among those evaluated
    seeds : networks of each architecture, at least
    recipe : how networks are trained on the set; its `network` is not compared, because `networks` replaces it
    split : the gate split, or how it may grow; any split if not given
    """

    networks: Annotated[tuple[Choice, ...], Field(min_length=1, strict=False)]
    seeds: Positive
    recipe: Recipe | None = None
    split: GateSplit | None = None


class Limit(Section):
    """One clause of the gate: a metric that must stay at or below, or at or above, a number; and why that number.

    Attributes
    ----------
    over : measure how much more it is than with another set, on the same examples: a reference's name, or `promoted`
    classes, groups : look at these alone
    by : look at the groups that these attributes make, the others pooled; at all of them together if not given
    against : hold each group against each other one (the default), or against the rest taken together
    first_release : with `over: promoted`, what holds while nothing is promoted
    """

    metric: str
    at_most: Annotated[float, Field(ge=0, le=1)] | None = None
    at_least: Annotated[float, Field(ge=-1, le=1)] | None = None
    over: Slug | None = None
    by: Names | None = None
    classes: Names | None = None
    groups: Names | None = None
    against: Literal["each", "rest"] | None = None
    first_release: Literal["accept", "refuse"] | None = None
    why: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _one_side(self) -> "Limit":
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"metric {self.metric!r} needs exactly one of at_most and at_least")
        if self.at_least is not None and self.at_least < 0 and self.over is None:
            raise ValueError(f"at_least is {self.at_least:g}; only a difference `over` another set can be below 0")
        if (self.over == "promoted") != (self.first_release is not None):
            raise ValueError("`over: promoted` needs first_release, accept or refuse, and nothing else has it")
        return self

    @property
    def name(self) -> str:
        """What tells a clause from the others: all but its number and why. Waivers and policy floors name it so."""
        parts = [self.metric, f"over {self.over}" if self.over else "", f"by {', '.join(self.by)}" if self.by else ""]
        parts += [f"of classes {', '.join(self.classes)}" if self.classes else ""]
        parts += [f"of groups {', '.join(self.groups)}" if self.groups else ""]
        return " ".join(part for part in [*parts, "against the rest" if self.against == "rest" else ""] if part)


class Gate(Section):
    """The policy. `mode: bounds` decides by confidence bounds and says with what risk; `point` by the bare number.

    Attributes
    ----------
    alpha : risk of passing a set that breaks a limit, over all attempts at one split
    minimum_seeds : networks of each architecture, at least; two show scatter at all
    minimum_per_cell : independent examples (clusters) under every rate that a clause looks at, at least
    exam : how a set must be evaluated. Without it, a policy that comes from a whole params.yaml requires that file's
        `evaluate` and `recipe` sections
    evaluators : public keys; if there are any, predictions count only with a statement signed by one of them
    approvers : public keys; if there are any, a waiver counts only with the signature of one of them
    """

    mode: Literal["bounds", "point"]
    # Below this, bounds at a late attempt would not be numbers any more.
    alpha: Annotated[float, Field(ge=1e-12, lt=0.5)] | None = None
    minimum_seeds: Annotated[int, Field(ge=2)] | None = None
    minimum_per_cell: Annotated[int, Field(ge=2)] | None = None
    limits: Annotated[tuple[Limit, ...], Field(min_length=1, strict=False)]
    exam: Exam | None = None
    evaluators: Annotated[tuple[PublicKey, ...], Field(strict=False)] = ()
    approvers: Annotated[tuple[PublicKey, ...], Field(strict=False)] = ()
    # Not part of the policy's digest: where it was read, and the sections beside it that serve as the exam.
    _file: str = PrivateAttr(default="params.yaml")
    _beside: Exam | None = PrivateAttr(default=None)

    @property
    def where(self) -> str:
        """The file and key that messages about this policy name."""
        return f"{self._file}: gate"

    @property
    def required_exam(self) -> Exam | None:
        """The exam that the policy declares, or else the one that its file's other sections describe."""
        return self.exam or self._beside

    def read_from(self, file: str, *, beside: Exam | None = None) -> "Gate":
        """Return this policy with the name of its file, and the exam that the file's other sections describe."""
        policy = self.model_copy()
        policy._file, policy._beside = file, beside
        return policy

    @model_validator(mode="after")
    def _whole(self) -> "Gate":
        for key in ("alpha", "minimum_seeds", "minimum_per_cell"):
            if (getattr(self, key) is None) == (self.mode == "bounds"):
                need = "needs" if self.mode == "bounds" else "has no"
                raise ValueError(f"`mode: {self.mode}` {need} {key}")
        names = [limit.name for limit in self.limits]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two clauses limit {name!r}; keep the stricter one")
        return self


def shortfall(taken: Exam, required: Exam) -> str | None:
    """Say in which point an evaluation falls short of a required exam; None if it satisfies it.

    More networks, more seeds and a larger split than required satisfy an exam. Another recipe does not.
    """
    networks = {network.name: network.options for network in taken.networks}
    for network in required.networks:
        if network.name not in networks:
            return f"network {network.name!r} is required; evaluated: {', '.join(networks)}"
        if networks[network.name] != network.options:
            return f"network {network.name!r} needs the options {network.options}; evaluated: {networks[network.name]}"
    if taken.seeds < required.seeds:
        return f"{required.seeds} seeds are required; evaluated: {taken.seeds}"
    if required.recipe is not None and taken.recipe is not None:
        recipe = required.recipe.model_dump(exclude={"network"})
        for key, value in taken.recipe.model_dump(exclude={"network"}).items():
            if value != recipe[key]:
                return f"recipe.{key} must be {recipe[key]!r}; evaluated: {value!r}"
    return None if required.split is None else _other_split(taken.split, required.split)


def _other_split(taken: GateSplit | None, required: GateSplit) -> str | None:
    digest, examples = (None, 0) if taken is None else (taken.sha256, taken.examples or 0)
    if required.sha256 is not None and digest != required.sha256:
        shown = "none" if digest is None else f"{digest[:12]}…"
        return f"the gate split {required.sha256[:12]}… is required; evaluated: {shown}"
    if required.examples is not None and examples < required.examples:
        return f"a gate split of at least {required.examples:,} examples is required; evaluated: {examples:,}"
    return None
